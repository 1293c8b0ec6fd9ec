"""The state and the arithmetic of one stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.core.principal import Role
from a2a_relay.core.stream import Event, ReplayWindow, Stream, StreamHead, offset_of
from a2a_relay.testing import make_address, make_principal
from a2a_relay.wire.flow import Window

HEAD = StreamHead("s" * 22, "e", "e-1.1", make_address(), "admin:admin:test", "SendStreamingMessage", b"7", 0.0)


def event(number: int, size: int = 1) -> Event:
    return Event(HEAD.prefix + b"%d" % number, b"x" * size)


def window_of(*sizes: int) -> ReplayWindow:
    window = ReplayWindow(HEAD.prefix)
    for number, size in enumerate(sizes, 1):
        window.append(event(number, size))
    return window


def stream(credit: Window | None = None, *sizes: int, window: ReplayWindow | None = None) -> Stream:
    """A stream to which events of these sizes have come."""
    found = Stream(HEAD, window or ReplayWindow(HEAD.prefix), credit, None)
    for number, size in enumerate(sizes, 1):
        found.window.append(event(number, size))
    found.last, found.last_bytes = len(sizes), sum(sizes)
    return found


def test_a_position_names_its_stream_its_life_and_its_number() -> None:
    assert HEAD.prefix == b"s" * 22 + b".e-"
    assert offset_of(event(1234)) == 1234
    assert offset_of(Event(b"-" * 22 + b".e-7", b"")) == 7


class TestAReplayWindow:
    def test_is_empty_at_first(self) -> None:
        window = ReplayWindow(HEAD.prefix)
        assert (window.first, window.last, window.size, window.committed) == (1, 0, 0, 0)
        assert list(window.after(0, 10)) == []

    def test_gives_what_follows_a_number(self) -> None:
        window = window_of(1, 2, 3, 4)
        assert [offset_of(found) for found in window.after(0, 10)] == [1, 2, 3, 4]
        assert [offset_of(found) for found in window.after(1, 2)] == [2, 3]
        assert list(window.after(4, 10)) == list(window.after(9, 10)) == []
        assert (window.first, window.last, window.size) == (1, 4, 10)

    def test_lets_the_oldest_go_until_it_is_within_bounds(self) -> None:
        window = window_of(1, 2, 3, 4)
        assert window.forget(through=4, max_events=3, max_bytes=100) == 1
        assert window.forget(through=4, max_events=3, max_bytes=7) == 2
        assert (window.first, window.last, window.size) == (3, 4, 7)
        assert [offset_of(found) for found in window.after(0, 10)] == [3, 4]

    def test_lets_nothing_go_that_was_not_read(self) -> None:
        window = window_of(5, 5, 5)
        assert window.forget(through=1, max_events=0, max_bytes=0) == 5
        assert (window.first, window.last, window.size) == (2, 3, 10)

    def test_forgets_events_without_a_body_too(self) -> None:
        window = window_of(0, 0)
        assert window.forget(through=2, max_events=0, max_bytes=0) == 0
        assert (window.first, window.last, window.size) == (3, 2, 0)
        window.append(event(3))
        assert [offset_of(found) for found in window.after(0, 10)] == [3]

    def test_may_begin_with_what_another_has_kept(self) -> None:
        window = ReplayWindow(HEAD.prefix, 7, [b"x" * 2, b"x" * 3])
        assert (window.first, window.last, window.size) == (6, 7, 5)

    def test_that_is_dropped_holds_nothing(self) -> None:
        window = window_of(5, 5)
        window.drop()
        assert (window.first, window.last, window.size) == (3, 2, 0)

    @given(st.lists(st.one_of(st.integers(0, 9), st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(0, 20)))))
    def test_counts_what_it_holds(self, steps: list[int | tuple[int, int, int]]) -> None:
        window, last = ReplayWindow(HEAD.prefix), 0
        for step in steps:
            if isinstance(step, int):
                last += 1
                window.append(event(last, step))
            else:
                before = window.size
                assert before - window.forget(*step) == window.size
            held = list(window.after(0, 1_000))
            assert [offset_of(found) for found in held] == list(range(window.first, window.last + 1))
            assert window.size == sum(len(found.body) for found in held)


class TestAStream:
    def test_belongs_to_who_opened_it_at_its_address(self) -> None:
        found = stream()
        assert found.may_be_read_by(make_principal(), make_address())
        assert not found.may_be_read_by(make_principal(), make_address("acme/ann"))
        assert not found.may_be_read_by(make_principal(), make_address("other/zaf"))
        assert not found.may_be_read_by(make_principal(identity="admin:other"), make_address())
        assert not found.may_be_read_by(make_principal(role=Role.SENDER), make_address())

    def test_belongs_to_a_party_and_not_to_a_token(self) -> None:
        assert make_principal(identity="sam", role=Role.SENDER).owner == "sender:sam"

    @pytest.mark.parametrize("taken, size, due", [(0, 0, None), (3, 3, None), (4, 4, 4), (1, 50, 1), (1, 49, None)])
    def test_owes_credit_when_half_of_its_window_is_taken(self, taken: int, size: int, due: int | None) -> None:
        found = stream(Window(8, 100), *[1] * taken)
        found.taken, found.taken_bytes = taken, size
        assert found.credit_due() == due

    def test_owes_none_to_an_agent_that_heeds_none(self) -> None:
        found = stream(None, *[1] * 100)
        found.take()
        assert found.credit_due() is None

    def test_owes_none_twice(self) -> None:
        found = stream(Window(2, 100), 1, 1, 1)
        found.take()
        assert found.credit_due() == 3
        found.grant(3)
        assert found.credit_due() is None
        assert (found.granted, found.granted_bytes) == (3, 3)

    def test_grants_no_more_than_what_survives(self) -> None:
        class Durable(ReplayWindow):
            @property
            def committed(self) -> int:
                return min(self.last, 2)

        found = stream(Window(2, 1_000), 10, 20, 30, 40, window=Durable(HEAD.prefix))
        found.take()
        assert (found.grantable, found.credit_due()) == (2, 2)
        found.grant(2)
        assert (found.granted, found.granted_bytes) == (2, 30)
        assert found.credit_due() is None

    def test_that_an_earlier_process_has_left_begins_where_that_was(self) -> None:
        found = stream(Window(2, 100), window=ReplayWindow(HEAD.prefix, 7, [event(7).body]))
        assert (found.taken, found.granted, found.cursor, found.grantable) == (7, 7, 7, 7)
