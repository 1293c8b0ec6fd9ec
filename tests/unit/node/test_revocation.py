"""A key that is revoked takes with it whatever lives by it; everything else stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from a2a_relay.assembly import build_authenticator
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.credential import Credential
from a2a_relay.core.keys import KeyRecord, KeySecret, digest_of, prefix_of, write_key
from a2a_relay.core.mail_rules import MailPolicy, MailRules
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import TenantRecord, TenantState
from a2a_relay.errors import Reason, Refused
from a2a_relay.node import revocation
from a2a_relay.settings import Settings
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    MemoryTransport,
    Playbook,
    RecordingSink,
    make_address,
    make_call,
    make_node,
    make_token,
)

FACT = AuditFact("acme", "store", "keys.put")


class KeyedRelay:
    """A node whose agents and senders come with keys."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.credentials = MemoryCredentials(MemoryAudit(self.clock.now))
        settings = Settings.default(data_dir=path)
        self.node = make_node(
            clock=self.clock,
            credentials=self.credentials,
            authenticator=build_authenticator(settings, self.credentials, TEST_SECRET),
            mailbox=MemoryMailbox(self.clock.now),
            mail_policy=MailPolicy(MailRules(sync_wait_seconds=30)),
        )

    async def key(self, role: Role, name: str, **settled: Any) -> tuple[str, KeyRecord]:
        if self.credentials.tenant("acme") is None:
            await self.credentials.put_tenant(TenantRecord("acme", 0), FACT)
        text = write_key(role, digest_of(name))
        secret = KeySecret(digest_of(text), prefix_of(text), 0)
        record = KeyRecord(f"key_{name}", "acme", name, role, 0, (secret,))._replace(**settled)
        await self.put(record)
        return text, record

    async def put(self, record: KeyRecord) -> None:
        await self.credentials.put_key(record, FACT)

    async def revoke(self, record: KeyRecord) -> None:
        await self.put(record._replace(revoked_at=self.clock.now()))
        await self.settle()

    async def settle(self) -> None:
        """Let the node ask about everybody."""
        while self.node.revocation is not None and self.node.revocation.is_going_on:
            self.clock.advance(0)
        for _ in range(9):
            await asyncio.sleep(0)

    def principal(self, text: str) -> Principal:
        return self.node.authenticate(Credential(text))

    def link(self, token: str) -> Playbook:
        """An agent that has said who it is."""
        link = Playbook(self.node, self.clock, transport=MemoryTransport(), token=token)
        link.play('>> {"type":"auth","token":"$token","protocol":"a2a-relay/1"}')
        return link

    def legacy(self, agent: str = "zaf") -> str:
        claims = {"tenant": "acme", "agent_id": agent, "role": "agent", "exp": self.clock.now() + 3600}
        return make_token(TEST_SECRET, claims)


@pytest.fixture
def keyed(tmp_path: Path) -> KeyedRelay:
    return KeyedRelay(tmp_path)


class TestASession:
    async def test_ends_with_its_key_and_no_other(self, keyed: KeyedRelay) -> None:
        text, record = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        other, _ = await keyed.key(Role.AGENT, "bob", agent="bob")
        link, bystander = keyed.link(text), keyed.link(other)
        await keyed.revoke(record)
        link.play('<< {"type":"auth_ok", ...}\n<< {"type":"relay.goaway", ...}\nxx 4001')
        assert keyed.node.find_session(make_address("acme/zaf")) is None
        assert not bystander.transport.is_closed

    async def test_fails_its_calls_at_once_for_its_agent_cannot_come_back(self, keyed: KeyedRelay) -> None:
        text, record = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        keyed.link(text)
        sink = RecordingSink()
        keyed.node.submit(make_call("GetTask", b'{"id":"t"}'), sink)
        await keyed.revoke(record)
        assert isinstance(sink.outcome, Refused)
        assert sink.outcome.reason is Reason.AGENT_DISCONNECTED

    async def test_ends_with_its_tenant(self, keyed: KeyedRelay) -> None:
        text, _ = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        keyed_link, legacy_link = keyed.link(text), keyed.link(keyed.legacy("bob"))
        await keyed.credentials.put_tenant(TenantRecord("acme", 0, TenantState.DISABLED), FACT)
        await keyed.settle()
        keyed_link.play("xx 4001")
        legacy_link.play("xx 4001")

    async def test_of_the_shared_secret_ends_when_that_is_not_taken_any_more(self, keyed: KeyedRelay) -> None:
        text, _ = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        keyed_link, legacy_link = keyed.link(text), keyed.link(keyed.legacy("bob"))
        await keyed.credentials.put_tenant(TenantRecord("acme", 0, takes_legacy=False), FACT)
        await keyed.settle()
        legacy_link.play("xx 4001")
        assert not keyed_link.transport.is_closed

    async def test_goes_on_as_what_its_key_says_today(self, keyed: KeyedRelay) -> None:
        text, record = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        keyed.link(text)
        ends_at = keyed.clock.now() + 60
        old = record.secrets[0]._replace(expires_at=ends_at)
        new = KeySecret(digest_of("new"), "rly_agent_n", 1)
        await keyed.put(record._replace(secrets=(new, old), scopes=frozenset({"tasks:read"})))
        await keyed.settle()
        session = keyed.node.find_session(make_address("acme/zaf"))
        assert session is not None
        assert (session.principal.expires_at, session.principal.scopes) == (ends_at, {"tasks:read"})

    async def test_that_is_one_of_very_many_has_its_turn(
        self, keyed: KeyedRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(revocation, "AT_A_TIME", 2)
        pairs = [await keyed.key(Role.AGENT, f"a{number}", agent=f"a{number}") for number in range(9)]
        links = [keyed.link(text) for text, _ in pairs]
        await keyed.put(pairs[-1][1]._replace(revoked_at=1.0))
        await keyed.put(pairs[0][1]._replace(revoked_at=1.0))  # while the first round is going on
        turns: list[float] = []
        call_later = keyed.clock.call_later
        monkeypatch.setattr(keyed.clock, "call_later", lambda *asked: turns.append(asked[0]) or call_later(*asked))
        await keyed.settle()
        assert [link.transport.is_closed for link in links] == [True, *[False] * 7, True]
        assert turns.count(0) == 4  # behind the first, for nine sessions


class TestAnAgentWithAKey:
    async def test_is_attached_as_by_nothing_else(self, keyed: KeyedRelay) -> None:
        text, record = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        keyed.link(keyed.legacy()).play('<< {"type":"error", ...}\nxx 4001')
        keyed.link(keyed.legacy("bob")).play('<< {"type":"auth_ok", ...}')
        keyed.link(text).play('<< {"type":"auth_ok", ...}')
        await keyed.revoke(record)
        keyed.link(keyed.legacy()).play('<< {"type":"error", ...}\nxx 4001')

    async def test_keeps_its_session_of_before_until_it_comes_with_the_key(self, keyed: KeyedRelay) -> None:
        before = keyed.link(keyed.legacy())
        text, _ = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        await keyed.settle()
        assert not before.transport.is_closed
        keyed.link(text).play('<< {"type":"auth_ok", ...}')
        before.play("xx 4006")


class TestAReader:
    async def test_of_a_stream_is_told_and_reads_no_more(self, keyed: KeyedRelay) -> None:
        agent, _ = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        text, record = await keyed.key(Role.SENDER, "zoe")
        other, _ = await keyed.key(Role.SENDER, "eve")
        link = keyed.link(agent)
        sink, bystander = RecordingSink(), RecordingSink()
        for sender, reader in ((text, sink), (other, bystander)):
            keyed.node.stream(make_call("SendStreamingMessage", principal=keyed.principal(sender)), reader)
        for number in (1, 2):
            link.play(f'>> {{"type":"a2a.event","payload":{{"id":"e-1.{number}","seq":1,"result":{{}}}}}}')
        await keyed.revoke(record)
        assert isinstance(sink.failure, Refused)
        assert (sink.failure.reason, sink.failure.message) == (Reason.UNAUTHENTICATED, "the key is revoked")
        assert not bystander.is_over
        keyed.clock.advance(31)  # nobody may read it any more, so its agent is told to stop
        assert any(frame["type"] == "a2a.cancel" for frame in link.transport.take_all())

    async def test_who_has_come_back_with_another_secret_reads_on(self, keyed: KeyedRelay) -> None:
        agent, _ = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        text, record = await keyed.key(Role.SENDER, "zoe")
        keyed.link(agent)
        sink = RecordingSink()
        keyed.node.stream(make_call("SendStreamingMessage", principal=keyed.principal(text)), sink)
        await keyed.put(record._replace(agents=frozenset({"zaf"})))
        await keyed.settle()
        assert not sink.is_over

    async def test_of_receipts_is_told_and_reads_no_more(self, keyed: KeyedRelay) -> None:
        text, record = await keyed.key(Role.SENDER, "zoe")
        other, _ = await keyed.key(Role.ADMIN, "boss")
        assert keyed.node.mail is not None
        receipts = keyed.node.mail.receipts
        feed = receipts.follow(keyed.principal(text), "acme")
        bystander = receipts.follow(keyed.principal(other), "acme")
        await keyed.revoke(record)
        assert feed.failure is not None
        assert feed.failure.reason is Reason.UNAUTHENTICATED
        assert (bystander.failure, len(receipts)) == (None, 1)


class TestACallThatWaitsForItsAgent:
    async def test_is_refused_and_queues_nothing(self, keyed: KeyedRelay) -> None:
        agent, _ = await keyed.key(Role.AGENT, "zaf", agent="zaf")
        keyed.node.link_ended(keyed.link(agent).link)
        text, record = await keyed.key(Role.SENDER, "zoe")
        sink = RecordingSink()
        keyed.node.submit(make_call(principal=keyed.principal(text)), sink)
        await asyncio.sleep(0)
        await keyed.revoke(record)
        assert isinstance(sink.outcome, Refused)
        assert sink.outcome.reason is Reason.UNAUTHENTICATED
        keyed.clock.advance(31)
        await keyed.settle()
        assert keyed.node.mail is not None
        assert (keyed.node.mail.waiting, len(keyed.node.mail.held)) == (0, 0)
