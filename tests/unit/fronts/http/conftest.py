"""The HTTP front over a real node, spoken to as an ASGI server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from a2a_relay.assembly import build_app
from a2a_relay.core.limits import Limits
from a2a_relay.core.rates import Subject
from a2a_relay.fronts.http.app import RelayApp
from a2a_relay.node.receipts import Receipts
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.settings import Settings
from a2a_relay.testing import TEST_SECRET, FakeClock, Playbook, RecordingObserver, make_node, make_token

IMPATIENT = 0.01
"""Seconds until a sign of life."""


class Response(NamedTuple):
    """What an ASGI server was given to send."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Front:
    """A relay without a socket."""

    app: RelayApp
    clock: FakeClock
    observer: RecordingObserver

    @property
    def receipts(self) -> Receipts:
        """What is told of letters."""
        assert self.app.node.mail is not None
        return self.app.node.mail.receipts

    def token(self, role: str = "", tenant: str = "acme", agent: str = "") -> str:
        """A good token; without a role it is the tenant's admin."""
        claims = {"tenant": tenant, "role": role, "agent_id": agent, "sub": "sam", "exp": self.clock.now() + 3600}
        return make_token(TEST_SECRET, claims)

    def agent(
        self, name: str = "zaf", tenant: str = "acme", card: str = '{"name":"Zaf"}', kind: str = "a2a-relay/1"
    ) -> Playbook:
        """An agent that has attached."""
        link = Playbook(self.app.node, self.clock, token=self.token("agent", tenant, name))
        link.play(f"""
            >> {{"type":"auth","token":"$token","protocol":"{kind}","agent_card":{card}}}
            << {{"type":"auth_ok", ...}}
        """)
        return link

    async def ask(
        self,
        verb: str,
        target: str,
        body: bytes = b"",
        *,
        token: str | None = None,
        gone: asyncio.Event | None = None,
        **headers: str,
    ) -> Response:
        """One request, to the end of its response. `gone` is when the client hangs up."""
        path, _, query = target.partition("?")
        raw = [(b"host", b"relay.example")] if "host" not in headers else []
        raw += [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
        if token is not None:
            raw.append((b"authorization", f"Bearer {token}".encode()))
        if body:
            raw.append((b"content-length", str(len(body)).encode()))
        scope = {
            "type": "http",
            "method": verb,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": raw,
            "client": ("192.0.2.9", 5000),
            "scheme": "http",
        }
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await asyncio.wait_for(self.app(scope, receive, send), 20)
        return _response(sent)

    async def asked(self, link: Playbook, answer: str, *question: Any, **more: Any) -> Response:
        """A call, during which the agent says the lines of `answer`."""
        asking = asyncio.ensure_future(self.ask(*question, **more))
        while not link.transport.unread and not asking.done():
            await asyncio.sleep(0)
        link.play(answer)
        return await asking


def _response(sent: list[dict[str, Any]]) -> Response:
    if not sent:
        return Response(0, {}, b"")
    assert sent[0]["type"] == "http.response.start"
    assert not sent[-1].get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message["body"] for message in sent[1:])
    if "content-length" in headers:
        assert int(headers["content-length"]) == len(body)
    return Response(sent[0]["status"], headers, body)


@pytest.fixture
def make_front() -> Callable[..., Front]:
    """A front of its own making: `pace` is seconds between signs of life, the rest are limits."""

    def make(
        *,
        public_url: str = "",
        visibility: str = "public",
        pace: float = IMPATIENT,
        elixir: str = "off",
        mailbox: Callable[[FakeClock], Mailbox] | None = None,
        quotas: Mapping[Subject, Mapping[str, float]] | None = None,
        **limits: Any,
    ) -> Front:
        clock, observer = FakeClock(), RecordingObserver()
        settings = Settings(
            public_url=public_url,
            card_visibility=visibility,
            stream_head_wait=pace,
            sse_heartbeat=pace,
            unary_keepalive=pace,
            relay_elixir_paths=elixir,
        )

        async def nothing() -> None:
            return None

        node = make_node(
            clock=clock,
            observer=observer,
            limits=Limits(**limits),
            mailbox=None if mailbox is None else mailbox(clock),
            default_limits=quotas,
        )
        return Front(build_app(settings, node, on_shutdown=nothing), clock, observer)

    return make


@pytest.fixture
def front(make_front: Callable[..., Front]) -> Front:
    return make_front()
