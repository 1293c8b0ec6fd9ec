"""A node with a mailbox, whose jobs run when a test says so, and what agents and clients say to it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from a2a_relay.a2a import spans
from a2a_relay.a2a.methods import Operation
from a2a_relay.a2a.spans import Spans
from a2a_relay.core.call import Call
from a2a_relay.core.letter import Letter
from a2a_relay.core.limits import Limits
from a2a_relay.core.mail_rules import MailPolicy, MailRules
from a2a_relay.errors import StoreError
from a2a_relay.node.mail.mailroom import Mailroom
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.ports.signer import Signer
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    MemoryTransport,
    Playbook,
    RecordingObserver,
    RecordingSink,
    make_call,
    make_node,
    make_token,
)

AT_ONCE = MailRules(sync_wait_seconds=0)
STREAMING_CARD = '"agent_card":{"name":"zaf","capabilities":{"streaming":true}}'


def message(text: str = "hi", **fields: Any) -> bytes:
    """The params of a send in 1.0."""
    said = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": text}], **fields}
    return json.dumps({"message": said}).encode()


class BrittleMailbox(MemoryMailbox):
    """A mailbox in memory whose steps fail when a test says so."""

    def fail_next(self, name: str, *, is_taken: bool) -> None:
        """The next step of this name raises StoreError: before it is taken, or after."""
        step = getattr(self, name)

        async def fail(*args: Any, **fields: Any) -> None:
            delattr(self, name)
            if is_taken:
                await step(*args, **fields)
            raise StoreError("the disk is away")

        setattr(self, name, fail)


@dataclass
class MailRelay:
    """One node on a mailbox in memory."""

    limits: Limits = field(default_factory=Limits)
    rules: MailRules = AT_ONCE
    clock: FakeClock = field(default_factory=FakeClock)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    mailbox: BrittleMailbox | None = None
    epoch: str = "e"
    signer: Signer | None = None

    def __post_init__(self) -> None:
        self.mailbox = self.mailbox or BrittleMailbox(self.clock.now)
        self.node: RelayNode = make_node(
            clock=self.clock,
            observer=self.observer,
            limits=self.limits,
            mailbox=self.mailbox,
            mail_policy=MailPolicy(self.rules),
            epoch=self.epoch,
            signer=self.signer,
        )

    @property
    def store(self) -> BrittleMailbox:
        """The mailbox, to be broken."""
        assert self.mailbox is not None
        return self.mailbox

    def restarted(self) -> MailRelay:
        """Another process on the same store; this one was killed."""
        return MailRelay(self.limits, self.rules, self.clock, mailbox=self.mailbox, epoch=self.epoch + "f")

    def token(self, agent: str = "zaf", tenant: str = "acme") -> str:
        """A good token for an hour."""
        claims = {"tenant": tenant, "agent_id": agent, "role": "agent", "exp": self.clock.now() + 3600}
        return make_token(TEST_SECRET, claims)

    async def attach(
        self, agent: str = "zaf", more: str = "", protocol: str = "a2a-relay/1", features: str = '"letters","credit"'
    ) -> Playbook:
        """An agent that has been welcomed; by default it remembers letters and answers once."""
        play = Playbook(self.node, self.clock, transport=MemoryTransport("192.0.2.1:40000"), token=self.token(agent))
        more = f",{more}" if more else ""
        play.play(f"""
            >> {{"type":"auth","token":"$token","protocol":"{protocol}","features":[{features}]{more}}}
            << {{"type":"auth_ok", ...}}
        """)
        await self.settled()
        return play

    async def known(self, agent: str = "zaf", more: str = "") -> None:
        """An agent that has attached once, and is away."""
        (await self.attach(agent, more)).play("xx")
        await self.settled()

    async def settled(self) -> None:
        """Everything that can go on has gone on."""
        for _ in range(200):
            await asyncio.sleep(0)
            if not len(self.room.jobs):
                break
        for _ in range(3):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Time passes, in steps in which everything goes on that can."""
        while seconds > 0:
            self.clock.advance(min(seconds, 1.0))
            seconds -= 1.0
            await self.settled()

    @property
    def room(self) -> Mailroom:
        """The node's mail."""
        assert self.node.mail is not None
        return self.node.mail

    async def queued(self, text: str = "hi", fields: dict[str, Any] | None = None, **options: Any) -> str:
        """A message that was queued; the id of its Task."""
        found = await self.send(send_call(text, fields, **options))
        assert found["task"]["status"]["state"] == "TASK_STATE_SUBMITTED", found
        return str(found["task"]["id"])

    async def streamed(self, text: str = "hi", **options: Any) -> RecordingSink:
        """A streaming message, and its reader."""
        reader = RecordingSink()
        self.node.stream(make_call("SendStreamingMessage", message(text), **options), reader)
        await self.settled()
        return reader

    async def letter(self, id: str) -> Letter:
        """How a letter stands in the store."""
        found = await self.store.find("acme", id)
        assert found is not None
        return found

    async def reply(self, link: Playbook, frame: str = "a2a.response", to: str = "", **payload: Any) -> dict[str, Any]:
        """The agent says something to the next request, or to the one that it has taken `to`; the request."""
        request = {"id": to} if to else next_request(link)
        link.link.receive(json.dumps({"type": frame, "payload": {"id": request["id"], **payload}}).encode())
        await self.settled()
        return request

    async def send(self, call: Call) -> Any:
        """Submit a call and let it go on; the document that it was answered with, or the refusal."""
        sink = RecordingSink()
        self.node.submit(call, sink)
        await self.settled()
        return said(sink)

    async def ask(self, method: str, id: str, **fields: Any) -> Any:
        """Ask for something of a task."""
        return await self.send(make_call(method, json.dumps({"id": id}).encode(), spans=task(id), **fields))


def next_request(link: Playbook) -> dict[str, Any]:
    """What the agent is asked next; what else the relay tells it is passed over."""
    while (frame := link.transport.take())["type"] != "a2a.request":
        pass
    return dict(frame["payload"])


def is_asked(link: Playbook) -> bool:
    """Whether a request waits for the agent."""
    return any(b'"a2a.request"' in frame for frame in link.transport.unread)


def agents_task(state: str = "COMPLETED", id: str = "a1", context: str = "c1") -> dict[str, Any]:
    """A Task under the agent's own ids."""
    return {"id": id, "contextId": context, "status": {"state": f"TASK_STATE_{state}"}}


def send_call(text: str = "hi", fields: dict[str, Any] | None = None, **options: Any) -> Call:
    """A unary send with these fields of its message, read as a front reads it."""
    params = message(text, **(fields or {}))
    return make_call("SendMessage", params, spans=spans.read(Operation.SEND, params), **options)


def task(id: str) -> Spans:
    """What a call says that names this task."""
    return Spans(task_id=id)


def said(sink: RecordingSink) -> Any:
    """What a sink was answered, as a document; None when nothing."""
    if not sink.answers:
        return None
    outcome = sink.outcome
    return json.loads(outcome.body) if hasattr(outcome, "body") else outcome
