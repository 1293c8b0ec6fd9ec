"""A second session for an agent that is attached, as dialogue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from a2a_relay.assembly import build_authenticator
from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.exchange import Result
from a2a_relay.core.keys import KeyRecord, KeySecret, digest_of, prefix_of, write_key
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.principal import Role
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.takeover import LIFE_SECONDS, MAX_WAITING
from a2a_relay.settings import Settings
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
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

HERE, THERE = "192.0.2.1:40000", "198.51.100.7:50000"
FACT = AuditFact("acme", "store", "tenants.create")
AUTH = '>> {"type":"auth","token":"$token","protocol":"a2a-relay/1","instance":"%s"}'
WELCOME = '<< {"type":"auth_ok", ...}'
PROBE = '<< {"type":"relay.probe", ...}'


@dataclass
class Relay:
    """A node with credentials, audit and a mailbox in memory."""

    rules: LinkRules = field(default_factory=LinkRules)
    clock: FakeClock = field(default_factory=FakeClock)
    observer: RecordingObserver = field(default_factory=RecordingObserver)

    def __post_init__(self) -> None:
        self.audit = MemoryAudit(self.clock.now)
        self.credentials = MemoryCredentials(self.audit)
        self.node = make_node(
            clock=self.clock,
            observer=self.observer,
            link_rules=self.rules,
            credentials=self.credentials,
            audit=self.audit,
            authenticator=build_authenticator(Settings.default(), self.credentials, TEST_SECRET),
        )

    def link(self, peer: str = HERE) -> Playbook:
        claims = {"tenant": "acme", "agent_id": "zaf", "role": "agent", "exp": self.clock.now() + 3600}
        token = make_token(TEST_SECRET, claims)
        return Playbook(self.node, self.clock, transport=MemoryTransport(peer), token=token)

    def comes(self, instance: str, peer: str = HERE) -> Playbook:
        """A native agent says who it is; `instance` empty: of relay-go's dialect."""
        link = self.link(peer)
        link.play(AUTH % instance if instance else '>> {"type":"auth","token":"$token"}')
        return link

    def attached(self, instance: str, peer: str = HERE) -> Playbook:
        link = self.comes(instance, peer)
        link.play(WELCOME)
        return link

    def takes_over(self, old: Playbook, instance: str, peer: str = THERE) -> Playbook:
        """Another instance comes, and the old one shows that it is alive."""
        new = self.comes(instance, peer)
        old.transport.hear()
        return new

    @property
    def alerts(self) -> list[dict[str, object]]:
        return [facts for event, facts in self.observer.notices if event == "session_taken_over"]

    @property
    def current(self) -> str | None:
        session = self.node.find_session(Address("acme", "zaf"))
        return session.id if session is not None else None

    def facts(self) -> list[tuple[str, str, str]]:
        page = asyncio.run(self.audit.page("acme"))
        return [(r.fact.action, r.fact.outcome, r.fact.peer) for r in page if r.fact.action == "session.takeover"]

    def settle_tenant(self, **settled: Any) -> None:
        """What a tenant's admin has settled."""
        asyncio.run(self.credentials.put_tenant(TenantRecord("acme", 0, **settled), FACT))


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def refusing() -> Relay:
    return Relay(LinkRules(refuses_second_session=True))


class TestTheSameInstance:
    @pytest.mark.parametrize("rules", [LinkRules(), LinkRules(refuses_second_session=True)], ids=["replace", "refuse"])
    def test_is_back_over_another_link_at_once_wherever_it_comes_from(self, rules: LinkRules) -> None:
        relay = Relay(rules)
        old = relay.attached("i-1")
        relay.attached("i-1", THERE)
        old.play("""
            << {"type":"relay.goaway","payload":{"reason":"session replaced","reconnect_after_ms":null}}
            xx 4006
        """)
        assert (relay.alerts, relay.facts(), old.transport.pings) == ([], [], 0)

    def test_without_a_name_is_known_by_its_host(self, relay: Relay) -> None:
        old = relay.attached("")
        relay.attached("", "192.0.2.1:40001")
        old.play("xx 4006")
        assert relay.alerts == []

    def test_without_a_name_is_known_by_what_it_resumes(self, relay: Relay) -> None:
        relay.link().play(f"""
            >> {{"type":"auth","token":"$token","protocol":"a2a-relay/1"}}
            {WELCOME}
        """)
        relay.link(THERE).play(f"""
            >> {{"type":"auth","token":"$token","protocol":"a2a-relay/1","resume":{{"session":"e-1"}}}}
            {WELCOME}
        """)
        assert relay.alerts == []

    def test_is_nobody_who_merely_claims_its_exchanges(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        thief = relay.link(THERE)
        thief.play("""
            >> {"type":"auth","token":"$token","protocol":"a2a-relay/1","features":["resume"],"instance":"i-2",\
                "resume":{"session":"e-1","calls":["e-1.1"]}}
            << nothing
        """)
        old.transport.hear()
        thief.play('<< {"type":"auth_ok","calls":[], ...}')
        assert isinstance(sink.outcome, Refused)
        assert len(relay.alerts) == 1


class TestAnotherInstance:
    def test_waits_until_the_one_that_is_there_has_shown_that_it_lives(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        new = relay.comes("i-2", THERE)
        new.play("<< nothing")
        assert (old.transport.pings, relay.current) == (1, "e-1")
        old.play(PROBE)
        old.transport.hear()
        new.play(WELCOME)
        assert relay.current == "e-2"

    def test_takes_a_live_one_over_which_is_told_by_whom_and_when(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        relay.takes_over(old, "i-2").play(WELCOME)
        old.transport.take()
        old.play("""
            << {"type":"relay.goaway","payload":{"reconnect_after_ms":null,\
                "reason":"session replaced by 198.51.100.7 at 2023-11-14T22:13:20.000Z"}}
            xx 4006
        """)

    def test_that_takes_a_live_one_over_is_told_of_and_written_down(self, relay: Relay) -> None:
        relay.takes_over(relay.attached("i-1"), "i-2").play(WELCOME)
        assert relay.alerts == [
            {"address": "acme/zaf", "by": THERE, "replaced": "e-1", "letters_held_seconds": 30},
        ]
        assert relay.facts() == [("session.takeover", "done", "198.51.100.7")]

    def test_gets_the_calls_from_then_on(self, relay: Relay) -> None:
        new = relay.takes_over(relay.attached("i-1"), "i-2")
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        new.play(f"""
            {WELCOME}
            << {{"type":"a2a.request", ...}}
            >> {{"type":"a2a.response","payload":{{"id":"e-2.1","result":1}}}}
        """)
        assert sink.outcome == Result(b"1")

    @pytest.mark.parametrize("rules", [LinkRules(), LinkRules(refuses_second_session=True)], ids=["replace", "refuse"])
    def test_simply_replaces_one_that_shows_no_life(self, rules: LinkRules) -> None:
        relay = Relay(rules)
        old = relay.attached("i-1")
        new = relay.comes("i-2", THERE)
        new.play(f"++ {LIFE_SECONDS - 0.1}\n<< nothing\n++ 0.2\n{WELCOME}")
        old.transport.take()
        old.play("""
            << {"type":"relay.goaway","payload":{"reason":"session replaced","reconnect_after_ms":null}}
            xx 4006
        """)
        assert (relay.alerts, relay.facts()) == ([], [])

    def test_is_refused_where_the_policy_says_so(self, refusing: Relay) -> None:
        old = refusing.attached("i-1")
        refusing.takes_over(old, "i-2").play("""
            << {"type":"error","message":"another instance of this agent is attached"}
            xx 4008
        """)
        assert not old.transport.is_closed
        assert refusing.current == "e-1"
        assert refusing.observer.refused_links[0][0] is Reason.SESSION_EXISTS
        assert refusing.facts() == [("session.takeover", "SESSION_EXISTS", "198.51.100.7")]

    def test_of_relay_gos_dialect_is_one_that_comes_from_elsewhere(self, refusing: Relay) -> None:
        old = refusing.attached("")
        refusing.takes_over(old, "").play("""
            << {"type":"error", ...}
            xx 4008
        """)

    def test_finds_one_alive_that_there_is_no_way_to_ask(self, refusing: Relay) -> None:
        old = refusing.attached("")
        old.transport.can_ping = False
        refusing.comes("", THERE).play("""
            << {"type":"error", ...}
            xx 4008
        """)

    def test_comes_in_when_the_one_that_is_there_leaves_meanwhile(self, refusing: Relay) -> None:
        old = refusing.attached("i-1")
        new = refusing.comes("i-2", THERE)
        old.play("xx")
        new.play(f"++ 0\n{WELCOME}")
        assert refusing.alerts == []

    def test_is_not_helped_by_a_new_link_of_the_one_that_is_there(self, refusing: Relay) -> None:
        refusing.attached("i-1")
        new = refusing.comes("i-2", THERE)
        refusing.attached("i-1")
        new.play("""
            ++ 0
            << {"type":"error", ...}
            xx 4008
        """)
        assert refusing.current == "e-2"

    def test_that_has_hung_up_meanwhile_replaces_nobody(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        new = relay.comes("i-2", THERE)
        new.play("xx")
        old.transport.hear()
        assert (relay.current, old.transport.is_closed) == ("e-1", False)

    def test_whose_token_has_expired_meanwhile_is_refused(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        claims = {"tenant": "acme", "agent_id": "zaf", "role": "agent", "exp": relay.clock.now() - 59}
        new = relay.link(THERE)
        new._names["token"] = make_token(TEST_SECRET, claims)
        new.play(AUTH % "i-2" + "\n++ 2")
        old.transport.hear()
        new.play("""
            << {"type":"error","message":"the token has expired"}
            xx 4001
        """)

    def test_may_speak_before_it_is_welcomed(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        new = relay.comes("i-2", THERE)
        new.play('>> {"type":"ping"}\n<< nothing')
        old.transport.hear()
        new.play(f'{WELCOME}\n<< {{"type":"pong"}}')

    def test_that_says_too_much_before_it_is_welcomed_is_refused(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        new = relay.comes("i-2", THERE)
        for _ in range(17):
            new.play('>> {"type":"ping"}')
        new.play("""
            << {"type":"error", ...}
            xx 4000
        """)
        old.transport.hear()
        assert relay.current == "e-1"


class TestSeveralNewcomers:
    def test_follow_each_other_in_the_order_in_which_they_came(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        second, third = relay.comes("i-2", THERE), relay.comes("i-3", THERE)
        old.transport.hear()
        second.play(f"{WELCOME}\n<< {{...}}\nxx 4006")
        third.play(WELCOME)
        assert (old.transport.pings, len(relay.alerts), relay.current) == (1, 2, "e-3")

    def test_of_whom_the_first_finds_a_dead_session_are_instances_beside_a_live_one(self, refusing: Relay) -> None:
        refusing.attached("i-1")
        second, third = refusing.comes("i-2", THERE), refusing.comes("i-3", THERE)
        refusing.clock.advance(LIFE_SECONDS)
        second.play(WELCOME)
        third.play('<< {"type":"error", ...}\nxx 4008')

    def test_are_not_too_many(self, relay: Relay) -> None:
        relay.attached("i-1")
        links = [relay.comes(f"i-{2 + n}", THERE) for n in range(MAX_WAITING + 1)]
        links[-1].play('<< {"type":"error", ...}\nxx 4005')
        links[0].play("xx")
        relay.comes("i-99", THERE).play("<< nothing")


class TestTwins:
    def test_that_keep_pushing_each_other_out_end_with_the_one_that_is_there(self, relay: Relay) -> None:
        link = relay.attached("i-0")
        for n in range(1, 4):
            link = relay.takes_over(link, f"i-{n}")
            link.play(f"{WELCOME}\n++ 5")
        relay.takes_over(link, "i-4").play("""
            << {"type":"error","message":"instances of this agent keep pushing each other out"}
            xx 4008
        """)
        assert (link.transport.is_closed, relay.current) == (False, "e-4")
        relay.clock.advance(60)
        relay.takes_over(link, "i-5").play(WELCOME)

    def test_do_not_keep_an_agent_out_whose_session_is_dead(self, relay: Relay) -> None:
        link = relay.attached("i-0")
        for n in range(1, 4):
            link = relay.takes_over(link, f"i-{n}")
        relay.comes("i-4", THERE).play(f"++ {LIFE_SECONDS}\n{WELCOME}")


class TestAKey:
    async def make(self, relay: Relay) -> str:
        text = write_key(Role.AGENT, bytes(32))
        secret = KeySecret(digest_of(text), prefix_of(text), relay.clock.now())
        record = KeyRecord("k1", "acme", "zaf", Role.AGENT, relay.clock.now(), (secret,), agent="zaf")
        await relay.credentials.put_tenant(TenantRecord("acme", 0), FACT)
        await relay.credentials.put_key(record, FACT)
        return text

    async def test_takes_the_place_of_a_token_of_the_shared_secret_whatever_the_policy(self, refusing: Relay) -> None:
        old, new = refusing.attached("i-1"), refusing.link(THERE)
        new._names["token"] = await self.make(refusing)
        new.play(AUTH % "i-2")
        old.transport.hear()
        new.play(WELCOME)
        assert len(refusing.alerts) == 1

    async def test_lets_nothing_else_attach_while_the_old_session_lives_on(self, relay: Relay) -> None:
        old = relay.attached("i-1")
        await self.make(relay)
        relay.comes("i-1").play('<< {"type":"error", ...}\nxx 4001')
        assert not old.transport.is_closed

    async def test_keeps_another_instance_with_the_same_key_out_where_the_policy_says_so(self, refusing: Relay) -> None:
        key = await self.make(refusing)
        first, second = refusing.link(), refusing.link(THERE)
        for number, link in enumerate((first, second)):
            link._names["token"] = key
            link.play(AUTH % f"i-{number}")
        first.transport.hear()
        second.play('<< {"type":"error", ...}\nxx 4008')


class TestATenant:
    def test_may_refuse_where_the_relay_replaces(self, relay: Relay) -> None:
        relay.settle_tenant(on_second_session="refuse")
        relay.takes_over(relay.attached("i-1"), "i-2").play('<< {"type":"error", ...}\nxx 4008')

    def test_may_replace_where_the_relay_refuses_and_say_how_long_letters_are_held(self, refusing: Relay) -> None:
        refusing.settle_tenant(on_second_session="replace", takeover_hold_seconds=5)
        refusing.takes_over(refusing.attached("i-1"), "i-2").play(WELCOME)
        assert refusing.alerts[0]["letters_held_seconds"] == 5
