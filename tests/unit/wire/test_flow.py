"""Flow control of one stream: what may be sent, what is kept, and that nothing is ever stuck."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.wire.flow import Outgoing, Window

sizes = st.lists(st.integers(1, 400), max_size=60)
windows = st.builds(Window, st.integers(1, 8), st.integers(1, 300))
chances = st.randoms(use_true_random=False)


@settings(max_examples=200, deadline=None)
@given(sizes, windows, chances)
def test_every_stream_comes_through_whatever_its_sizes_and_however_often_its_link_is_cut(
    sizes: list[int], window: Window, chance: object
) -> None:
    """A relay that gives credit by the halves of the window, and links that lose what was under way."""
    assert hasattr(chance, "random")
    out, seen, granted, sent = Outgoing("s", window), 0, 0, 0
    for number, size in enumerate(sizes, 1):
        while not out.has_room(size):
            # What the relay sees is at least half a window, else the two would wait for each other.
            seen = sent
            held = sum(sizes[granted:seen])
            assert seen - granted >= window.half_events or held >= window.half_bytes
            granted = seen
            out.credit(granted)
        assert out.event(b"x" * size) == number
        if chance.random() < 0.9:
            assert out.after(sent) is not None
            sent = number
        kept = out.unacknowledged()
        assert [event.seq for event in kept] == list(range(out.through + 1, number + 1))
        assert len(kept) <= window.events
        assert sum(len(event.body) for event in kept[:-1]) <= window.bytes
        if chance.random() < 0.2:  # a cut: what the relay has not seen is sent again
            seen = chance.randint(granted, sent)  # type: ignore[attr-defined]
            granted = sent = seen
            out.credit(granted)
        while (event := out.after(sent)) is not None:
            sent += 1
            assert event.seq == sent
            assert len(event.body) == sizes[sent - 1]
    out.end()
    assert not out.is_settled
    out.credit(len(sizes) + 1)
    assert out.is_settled
    assert out.unacknowledged() == []


def test_credit_never_goes_back_and_never_beyond_what_was_sent() -> None:
    out = Outgoing("s", Window(4, 100))
    out.event(b"1")
    out.event(b"2")
    for through in (0, 3, 99, -1):
        out.credit(through)
    assert [event.seq for event in out.unacknowledged()] == [1, 2]
    out.credit(2)
    out.credit(1)
    assert (out.through, out.unacknowledged()) == (2, [])
    out.credit(3)
    assert not out.is_settled, "an end that has not come cannot be acknowledged"


def test_an_event_of_any_size_may_enter_when_half_of_the_window_is_free() -> None:
    out = Outgoing("s", Window(8, 100))
    assert out.has_room(10**9)
    out.event(b"x" * 50)
    assert out.has_room(10**9)
    out.event(b"x")
    assert not out.has_room(10**9)
    assert out.has_room(49)
    assert not out.has_room(50)


def test_without_a_window_nothing_is_held_back_and_nothing_is_kept() -> None:
    out = Outgoing("s", None)
    for _ in range(500):
        assert out.has_room(10**9)
        out.event(b"x" * 1000)
    assert (out.last, out.unacknowledged(), out.after(0), out.keeps) == (500, [], None, False)
    out.end(b"{}")
    assert out.is_settled
