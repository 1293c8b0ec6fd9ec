"""A relay that strangers share, behind both lanes, with what belongs to Ann of acme; and whoever is after it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from uvicorn.server import ServerState

from a2a_relay.admin.administration import Administration
from a2a_relay.admin.api import AdminApi
from a2a_relay.assembly import build_app, build_authenticator
from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.keys import KeyRecord, KeySecret, digest_of, prefix_of, write_key
from a2a_relay.core.limits import Limits
from a2a_relay.core.mail_rules import MailPolicy, MailRules
from a2a_relay.core.principal import Role
from a2a_relay.core.scopes import CALLING
from a2a_relay.core.tenants import TenantRecord, TenantState
from a2a_relay.fronts.http.batching import Outbox
from a2a_relay.fronts.http.lane_protocol import LaneProtocol
from a2a_relay.fronts.http.protocol import HttpLimits
from a2a_relay.fronts.http.server import Lane, server_config
from a2a_relay.fronts.http.turnstile import Turnstile
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.settings import Settings
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.testing import TEST_SECRET, FakeClock, MemoryTransport, Playbook, make_node, make_token

ZAF, AWAY = Address("acme", "zaf"), Address("acme", "sleeper")
CANARY = "canary"
"""Stands in everything of Ann's that nobody else may read: texts, contexts, the card, the push configuration."""
TURNS = 60
"""Turns of the loop after which a request that nobody has answered is with somebody who may answer it."""


class Answer(NamedTuple):
    """What came back; status 0: nothing, as when an agent has the call."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Request(NamedTuple):
    """What is sent."""

    verb: str
    target: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class _Pipe:
    """A client's transport that keeps what is written."""

    def __init__(self, peer: str) -> None:
        self.written: list[bytes] = []
        self.is_closed = self.is_head = False
        self.protocol: Any = None
        self._peer = peer

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def writelines(self, parts: Any) -> None:
        self.written += [bytes(part) for part in parts]

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": (self._peer, 4000), "sockname": ("192.0.2.1", 80)}.get(name, default)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: object) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


@dataclass
class Belongings:
    """Ids of one party, by kind; those of a stranger to everybody stand for what does not exist."""

    tenant: str
    agent: str
    away: str
    task: str
    context: str
    letter: str
    queued_context: str
    stream: str
    key: str = "key_of_ann"

    def unknown(self, *, is_own_tenant: bool, is_same_agent: bool = False) -> Belongings:
        """What nobody has, in the same shapes."""
        kept = {"tenant"} if is_own_tenant else set()
        kept |= {"agent", "away"} if is_same_agent else set()
        return replace(self, **{name: _other(id) for name, id in vars(self).items() if name not in kept})

    def masked(self, text: bytes) -> bytes:
        """An answer without the ids that were asked for."""
        for name, id in vars(self).items():
            text = text.replace(id.encode(), b"<%b>" % name.encode())
        return text


def _other(id: str) -> str:
    """An id of the same shape that nobody has."""
    head = "rly-" if id.startswith("rly-") else ""
    return head + id.removeprefix(head)[::-1]


class NoSeal:
    """Seals nothing."""

    def seal(self, secret: bytes, key_id: str) -> bytes:
        raise AssertionError(f"a secret of {len(secret)} bytes is made for {key_id}")


class AttackedRelay:
    """The relay, its people, and what they have. `texts` are the credentials by name."""

    def __init__(self, lane: str) -> None:
        self.clock = FakeClock()
        self.lane = lane
        self.audit = MemoryAudit(self.clock.now)
        self.credentials = MemoryCredentials(self.audit)
        settings = Settings.default(
            jwt_secret=TEST_SECRET,
            store="memory:",
            access_log="off",
            tenants="registered",
            legacy_tenants="old,evil",
            public_url="https://relay.example",
            root_agent="acme/zaf",
            relay_elixir_paths="on",
        )
        self.mailbox = MemoryMailbox(self.clock.now)
        self.node: RelayNode = make_node(
            limits=Limits(login_failures=10**9),  # the guard is tested elsewhere, and would answer everything here
            clock=self.clock,
            mailbox=self.mailbox,
            mail_policy=MailPolicy(MailRules(sync_wait_seconds=0)),
            credentials=self.credentials,
            authenticator=build_authenticator(settings, self.credentials, TEST_SECRET),
        )

        async def nothing() -> None: ...

        async def erase(tenant: str) -> dict[str, int]:
            raise AssertionError(f"{tenant} is erased")

        admin = Administration(self.credentials, self.audit, NoSeal(), erase, is_open=False, now=self.clock.now)
        self.app = build_app(settings, self.node, on_shutdown=nothing, admin=AdminApi(admin))
        lanes = Lane(self.app.desk, self.app.exposure) if lane == "fast" else None
        self._config = server_config(self.app, HttpLimits(32768, 100, 8192, 10.0), lanes, compresses_links=False)
        self._config.load()
        self._state = ServerState()
        self.texts: dict[str, str | None] = {"nobody": None, "garbage": "rly_sender_nonsense"}
        self._made = 0

    # people

    async def key(self, name: str, tenant: str, role: Role, **fields: Any) -> str:
        """Make a key; its text."""
        self._made += 1
        text = write_key(role, bytes([self._made]) * 32)
        id = fields.pop("id", f"k{self._made}")
        bounds = {"scopes": CALLING if role in (Role.SENDER, Role.AGENT) else None} | fields
        secret = KeySecret(digest_of(text), prefix_of(text), self.clock.now())
        record = KeyRecord(id, tenant, name, role, self.clock.now(), (secret,), **bounds)
        await self.credentials.put_key(record, AuditFact(tenant, "test", "key.create", id))
        self.texts[name] = text
        return text

    async def tenant(self, name: str, **fields: Any) -> None:
        """Register a tenant."""
        record = TenantRecord(name, self.clock.now(), **fields)
        await self.credentials.put_tenant(record, AuditFact(name, "test", "tenant.put", name))

    def legacy(self, tenant: str, role: str) -> str:
        """A token of relay-go's secret."""
        claims = {"tenant": tenant, "role": role, "sub": "ann", "agent_id": "zaf", "exp": self.clock.now() + 3600}
        return make_token(TEST_SECRET, claims)

    async def populate(self) -> None:
        """Ann's belongings, and the people who are after them."""
        for name in ("acme", "evil", "shut"):
            await self.tenant(name, takes_legacy=name == "evil")
        await self.key("ann", "acme", Role.SENDER, id="key_of_ann")
        await self.key("bob", "acme", Role.SENDER)
        await self.key("zaf", "acme", Role.AGENT, agent="zaf")
        await self.key("zoe", "acme", Role.AGENT, agent="zoe")
        await self.key("elsewhere", "acme", Role.ADMIN, agents=frozenset({"zoe"}))
        await self.key("unscoped", "acme", Role.SENDER, scopes=frozenset({"nothing:much"}))
        for role in (Role.ADMIN, Role.SENDER):
            await self.key(f"evil-{role}", "evil", role)
        await self.key("evil-agent", "evil", Role.AGENT, agent="zaf")
        await self.key("operator", "", Role.OPERATOR)
        await self.key("expired", "acme", Role.ADMIN, expires_at=self.clock.now() - 1)
        await self.key("revoked", "acme", Role.ADMIN, revoked_at=self.clock.now())
        await self.key("shut-admin", "shut", Role.ADMIN)
        await self.tenant("shut", state=TenantState.DISABLED)
        self.texts |= {
            "legacy-where-off": self.legacy("acme", ""),
            "legacy-agent-where-off": self.legacy("acme", "agent"),
            "legacy-evil": self.legacy("evil", ""),
        }
        self.transport = MemoryTransport()
        self.agent = self._attached("zaf", f'{{"name":"{CANARY}","description":"{CANARY}","skills":[]}}')
        self.node.agents.expect(AWAY, f'{{"name":"{CANARY} away"}}'.encode())
        self.anns = await self._belongings("ann", CANARY)
        self.bobs = await self._belongings("bob", "bobs")
        self.transport.unread.clear()

    def _attached(self, name: str, card: str) -> Playbook:
        link = Playbook(self.node, self.clock, transport=self.transport, token=str(self.texts[name]))
        link.play(f"""
            >> {{"type":"auth","token":"$token","protocol":"a2a-relay/1","agent_card":{card}}}
            << {{"type":"auth_ok", ...}}
        """)
        return link

    async def _belongings(self, who: str, mark: str) -> Belongings:
        """A task and its context at the agent, a letter that waits, and a stream, of one sender."""
        asking = self.begin(who, rpc("SendMessage", {"message": message(mark)}))
        task = {"id": f"{mark}-task", "contextId": f"{mark}-context", "status": {"state": "TASK_STATE_WORKING"}}
        self.agent.link.receive(
            b'{"type":"a2a.response","payload":{"id":"%b","result":{"task":%b}}}'
            % (await self._frame_id(), json.dumps(task, separators=(",", ":")).encode())
        )
        assert (await self.end(asking)).status == 200
        queued = await self.send(who, rpc("SendMessage", {"message": message(mark)}, "/t/acme/a2a/sleeper/"))
        letter = json.loads(queued.body)["result"]["task"]
        streaming = self.begin(who, rpc("SendStreamingMessage", {"message": message(mark)}))
        event = {"statusUpdate": {"taskId": f"{mark}-st", "contextId": f"{mark}-sc", "status": {"message": mark}}}
        self.agent.link.receive(
            b'{"type":"a2a.event","payload":{"id":"%b","seq":1,"result":%b}}'
            % (await self._frame_id(), json.dumps(event).encode())
        )
        headers = dict((await self.end(streaming, is_stream=True)).headers)
        stream = headers["a2a-relay-stream"].rpartition("/")[2]
        return Belongings(
            "acme",
            "zaf",
            "sleeper",
            task["id"],
            task["contextId"],
            letter["id"],
            letter["contextId"],
            stream,  # type: ignore[arg-type]
        )

    async def _frame_id(self) -> bytes:
        for _ in range(TURNS):
            if self.transport.unread:
                break
            await asyncio.sleep(0)
        frame = json.loads(self.transport.unread.pop())
        return str(frame["payload"]["id"]).encode()

    # requests

    def begin(self, who: str, request: Request) -> _Pipe:
        """Send a request on a connection of its own."""
        pipe = _Pipe("192.0.2.66")
        pipe.is_head = request.verb == "HEAD"
        protocol_class = cast("type[LaneProtocol]", self._config.http_protocol_class)
        if self.lane == "fast":
            protocol_class.outbox = Outbox(lambda end_turn: end_turn())
            protocol_class.turnstile = Turnstile(lambda turn: turn())
        protocol = protocol_class(config=self._config, server_state=self._state, app_state={})
        pipe.protocol = protocol
        protocol.connection_made(cast("asyncio.Transport", pipe))
        headers = [("host", "relay.example"), *request.headers]
        text = self.texts[who]
        if text is not None:
            headers.append(("authorization", f"Bearer {text}"))
        if request.body:
            headers += [("content-type", "application/json"), ("content-length", str(len(request.body)))]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        protocol.data_received(f"{request.verb} {request.target} HTTP/1.1\r\n{lines}\r\n".encode() + request.body)
        return pipe

    async def end(self, pipe: _Pipe, *, is_stream: bool = False) -> Answer:
        """What came back."""
        for _ in range(TURNS):
            answer = _read(b"".join(pipe.written), is_stream=is_stream or pipe.is_head)
            if answer is not None:
                return answer
            await asyncio.sleep(0)
        return Answer(0, (), b"".join(pipe.written))

    async def send(self, who: str, request: Request) -> Answer:
        """One request, and what came back."""
        pipe = self.begin(who, request)
        answer = await self.end(pipe)
        self.leave(pipe)
        return answer

    def leave(self, pipe: _Pipe) -> None:
        """Hang up."""
        pipe.protocol.connection_lost(None)

    async def require_untouched(self) -> None:
        """Everything of Ann's is as it was."""
        got = await self.send("ann", Request("GET", f"/t/acme/letters/{self.anns.letter}"))
        assert json.loads(got.body)["state"] == "queued"
        read = await self.send("ann", Request("GET", f"/t/acme/a2a/zaf/streams/{self.anns.stream}"))
        assert (read.status, CANARY.encode() in read.body) == (200, True)
        assert self.node.find_session(ZAF) is not None
        view = self.node.agents.find(AWAY)
        assert view is not None
        assert CANARY.encode() in (view.record.agent_card or b"")
        boxes = await self.mailbox.mailboxes("acme")
        assert [box.is_paused for box in boxes] == [False]

    def reached(self) -> list[bytes]:
        """What has come to the agent since it was asked last."""
        frames = list(self.transport.unread)
        self.transport.unread.clear()
        return frames


def message(text: str, **fields: Any) -> dict[str, Any]:
    """A client's message."""
    return {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **fields}


def rpc(method: str, params: Any, target: str = "/t/acme/a2a/zaf/") -> Request:
    """A JSON-RPC call; `params` as a document or as its JSON text."""
    text = params if isinstance(params, str) else json.dumps(params)
    return Request("POST", target, f'{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{text}}}'.encode())


def _read(raw: bytes, *, is_stream: bool) -> Answer | None:
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank:
        return None
    lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines[1:]))
    status = int(lines[0].split(" ")[1])
    length = dict(headers).get("content-length")
    if length is not None and not is_stream:
        return Answer(status, headers, body) if len(body) >= int(length) else None
    if is_stream or status in (204, 304) or body.endswith(b"0\r\n\r\n"):
        return Answer(status, headers, body)
    return Answer(status, headers, body) if b"text/event-stream" in head else None
