"""Links at the door, and sessions that begin, follow each other and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2a_relay.core.address import Address
from a2a_relay.core.limits import Limits
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.stores.memory.directory import MemoryDirectory
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    Playbook,
    RecordingObserver,
    RecordingSink,
    make_call,
    make_node,
    make_token,
)
from a2a_relay.wire import close_codes


class TestUnauthenticatedLinks:
    def test_of_one_address_are_bounded_when_they_are_old(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(unauthenticated_per_address=3)
        for port in range(3):
            relay.link(peer=f"192.0.2.1:{port}")
        relay.link(peer="192.0.2.1:10").play("<< nothing")
        relay.clock.advance(6)
        relay.link(peer="192.0.2.1:11").play("xx 4005")
        assert relay.observer.refused_links[-1][0] is Reason.RATE_LIMITED
        for peer in ("192.0.2.2:1", "127.0.0.1:5", "[::1]:5"):
            assert not relay.link(peer=peer).transport.is_closed


class TestASecondSession:
    def test_replaces_the_first_which_is_told_and_closed(self, relay: Any) -> None:
        old = relay.attached()
        new = relay.attached()
        old.play("""
            << {"type":"relay.goaway","payload":{"reason":"session replaced","reconnect_after_ms":null}}
            << nothing
            xx 4006
        """)
        assert [replaced for _, replaced in relay.observer.attached] == [False, True]
        assert [code for _, code in relay.observer.closed] == [close_codes.SESSION_REPLACED]
        relay.node.submit(make_call(), RecordingSink())
        new.play('<< {"type":"a2a.request", ...}')

    def test_is_not_removed_by_the_end_of_the_first(self, relay: Any) -> None:
        old = relay.attached()
        relay.attached()
        old.play("xx")
        assert relay.node.snapshot().agents_attached == 1
        assert relay.node.agents.find(Address("acme", "zaf")).state == "attached"

    def test_fails_the_calls_of_the_first(self, relay: Any) -> None:
        relay.attached()
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        relay.attached()
        assert isinstance(sink.outcome, Refused)
        assert sink.outcome.reason is Reason.AGENT_DISCONNECTED

    def test_cannot_be_answered_for_by_the_first(self, relay: Any) -> None:
        old = relay.attached()
        relay.attached()
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        old.transport.take_all()
        old.play('>> {"type":"a2a.response","payload":{"id":"e-2.1","result":{"forged":true}}}')
        assert not sink.is_over

    def test_of_relay_gos_dialect_is_closed_without_a_goaway(self, relay: Any) -> None:
        old = relay.attached_old()
        relay.attached_old()
        old.play("""
            << nothing
            xx 4006
        """)


def test_session_ids_of_two_nodes_differ() -> None:
    assert make_node(epoch="").sessions._epoch != make_node(epoch="").sessions._epoch


class BrokenDirectory(MemoryDirectory):
    """A store whose disk is full."""

    is_broken = False

    def put(self, record: Any) -> None:
        if self.is_broken:
            raise StoreError("the disk is full")
        super().put(record)


class TestAStoreThatFails:
    def test_costs_no_call_its_answer(self) -> None:
        directory, clock, observer = BrokenDirectory(), FakeClock(), RecordingObserver()
        node = make_node(clock=clock, directory=directory, observer=observer, limits=Limits())
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": clock.now() + 60})
        link = Playbook(node, clock, token=token)
        link.play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"auth_ok", ...}
        """)
        sink = RecordingSink()
        node.submit(make_call(), sink)
        directory.is_broken = True
        link.play("xx")
        assert isinstance(sink.outcome, Refused)
        assert [code for _, code in observer.closed] == [None]

    def test_refuses_an_agent_for_now(self) -> None:
        directory, clock = BrokenDirectory(), FakeClock()
        directory.is_broken = True
        node = make_node(clock=clock, directory=directory)
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": clock.now() + 60})
        link = Playbook(node, clock, token=token)
        link.play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"error", ...}
        """)
        assert link.transport.close_code is not None
        assert close_codes.may_reconnect(link.transport.close_code.code)
