"""A node with a mailbox, whose jobs run when a test says so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from a2a_relay.core.call import Call
from a2a_relay.core.limits import Limits
from a2a_relay.core.mail_rules import MailPolicy, MailRules
from a2a_relay.node.relay_node import RelayNode
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


@dataclass
class MailRelay:
    """One node on a mailbox in memory."""

    limits: Limits = field(default_factory=Limits)
    rules: MailRules = AT_ONCE
    clock: FakeClock = field(default_factory=FakeClock)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    mailbox: MemoryMailbox | None = None
    epoch: str = "e"

    def __post_init__(self) -> None:
        self.mailbox = self.mailbox or MemoryMailbox(self.clock.now)
        self.node: RelayNode = make_node(
            clock=self.clock,
            observer=self.observer,
            limits=self.limits,
            mailbox=self.mailbox,
            mail_policy=MailPolicy(self.rules),
            epoch=self.epoch,
        )

    def restarted(self) -> MailRelay:
        """Another process on the same store; this one was killed."""
        return MailRelay(self.limits, self.rules, self.clock, mailbox=self.mailbox, epoch=self.epoch + "f")

    def token(self, agent: str = "zaf", tenant: str = "acme") -> str:
        """A good token for an hour."""
        claims = {"tenant": tenant, "agent_id": agent, "role": "agent", "exp": self.clock.now() + 3600}
        return make_token(TEST_SECRET, claims)

    async def attach(self, agent: str = "zaf", more: str = "", protocol: str = "a2a-relay/1") -> Playbook:
        """An agent that has been welcomed; by default it remembers letters and answers once."""
        play = Playbook(self.node, self.clock, transport=MemoryTransport("192.0.2.1:40000"), token=self.token(agent))
        features = '"features":["letters","credit"]'
        play.play(f"""
            >> {{"type":"auth","token":"$token","protocol":"{protocol}",{features}{"," + more if more else ""}}}
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
            if not len(self.node.mail.jobs):  # type: ignore[union-attr, arg-type]
                break
        for _ in range(3):
            await asyncio.sleep(0)

    async def send(self, call: Call) -> Any:
        """Submit a call and let it go on; the document that it was answered with, or the refusal."""
        sink = RecordingSink()
        self.node.submit(call, sink)
        await self.settled()
        return said(sink)

    async def ask(self, method: str, id: str, **fields: Any) -> Any:
        """Ask for something of a task."""
        return await self.send(make_call(method, json.dumps({"id": id}).encode(), spans=task(id), **fields))


def task(id: str) -> Any:
    from a2a_relay.a2a.spans import Spans

    return Spans(task_id=id)


def said(sink: RecordingSink) -> Any:
    """What a sink was answered, as a document; None when nothing."""
    if not sink.answers:
        return None
    outcome = sink.outcome
    return json.loads(outcome.body) if hasattr(outcome, "body") else outcome


@pytest.fixture
def relay() -> MailRelay:
    return MailRelay()
