"""The stream log's contract (`ports/stream_log.py`), kept by every log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_processes import ZAF, Process, event, extend, found, head, ignore, numbers

from a2a_relay.core.stream import Event, StreamWindow
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.stores.memory.stream_log import MemoryStreamLog


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest) -> StreamLog:
    if request.param == "memory":
        return MemoryStreamLog()
    found: Process = request.getfixturevalue("process")
    return found.log


class TestEveryLog:
    def test_opens_an_empty_window(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        assert (window.first, window.last, window.size, window.committed) == (1, 0, 0, 0)
        assert numbers(window) == []

    def test_keeps_events_in_order_and_whole(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        events = [event(ZAF, number, body) for number, body in enumerate((b"{}", b"", b"\0\xff" * 9, b"x" * 70_000), 1)]
        for each in events:
            window.append(each)
        assert list(window.after(0, 10)) == events
        assert (window.first, window.last, window.size) == (1, 4, 70_020)

    def test_gives_what_follows_an_offset_and_no_more_than_was_asked_for(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        extend(window, ZAF, 10)
        assert numbers(window, 4, 3) == [5, 6, 7]
        assert numbers(window, 9, 3) == [10]
        assert numbers(window, 10, 3) == []
        assert numbers(window, 4, 0) == []

    def test_forgets_the_oldest_until_it_is_within_bounds(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        for number in range(1, 11):
            window.append(event(ZAF, number, b"x" * 10))
        assert window.forget(10, 7, 1_000) == 30
        assert (window.first, window.last, window.size) == (4, 10, 70)
        assert window.forget(10, 100, 45) == 30
        assert numbers(window) == [7, 8, 9, 10]

    def test_forgets_nothing_that_is_still_needed(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        extend(window, ZAF, 10)
        window.forget(3, 0, 0)
        assert numbers(window) == list(range(4, 11))

    def test_goes_on_after_everything_was_forgotten(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        extend(window, ZAF, 5)
        window.forget(5, 0, 0)
        assert (window.first, window.last, window.size) == (6, 5, 0)
        extend(window, ZAF, 2)
        assert numbers(window) == [6, 7]

    def test_has_nothing_left_of_a_dropped_window(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        extend(window, ZAF, 5)
        window.drop()
        assert (window.first, window.size, numbers(window)) == (6, 0, [])
        assert log.find(ZAF.id, ignore) is None
        assert log.find_exchanges(ZAF.address, [ZAF.exchange_id]) == {}

    def test_keeps_streams_apart(self, log: StreamLog) -> None:
        windows = {name: log.open(head(name), ignore) for name in ("a", "b", "c")}
        for turn in range(1, 6):
            for name, window in windows.items():
                window.append(event(head(name), turn, name.encode() * turn))
        for name, window in windows.items():
            assert [found.body for found in window.after(0, 9)] == [name.encode() * turn for turn in range(1, 6)]

    def test_gives_back_only_what_an_earlier_process_has_left(self, log: StreamLog) -> None:
        window = log.open(ZAF, ignore)
        extend(window, ZAF, 3)
        assert log.find(ZAF.id, ignore) is None
        assert log.find_exchanges(ZAF.address, [ZAF.exchange_id]) == {}
        assert log.find("nobody", ignore) is None
        assert log.purge(2_000.0) == 0
        extend(window, ZAF, 1)
        assert numbers(window) == [1, 2, 3, 4]


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(max_size=40)),
        st.tuples(st.just("forget"), st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(0, 300))),
        st.tuples(st.just("after"), st.tuples(st.integers(0, 60), st.integers(0, 20))),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=60,
)


class Model:
    """A window as a plain list."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last = 0

    @property
    def first(self) -> int:
        return self.last - len(self.events) + 1

    @property
    def size(self) -> int:
        return sum(len(each.body) for each in self.events)

    def append(self, body: bytes) -> Event:
        self.last += 1
        self.events.append(event(ZAF, self.last, body))
        return self.events[-1]

    def forget(self, through: int, max_events: int, max_bytes: int) -> int:
        before = self.size
        while self.events and self.first <= through and (len(self.events) > max_events or self.size > max_bytes):
            self.events = self.events[1:]
        return before - self.size

    def after(self, offset: int, limit: int) -> list[Event]:
        skipped = max(offset - self.first + 1, 0)
        return self.events[skipped : skipped + limit]


def replay(window: StreamWindow, moves: list[tuple[str, object]], settle: Callable[[], None]) -> Model:
    """Make the same moves in a window and in the model, and compare what can be seen."""
    model = Model()
    for name, argument in moves:
        if name == "append":
            window.append(model.append(argument))  # type: ignore[arg-type]
        elif name == "forget":
            assert window.forget(*argument) == model.forget(*argument)  # type: ignore[misc]
        elif name == "after":
            assert list(window.after(*argument)) == model.after(*argument)  # type: ignore[misc]
        else:
            settle()
        assert (window.first, window.last, window.size) == (model.first, model.last, model.size)
        assert window.committed <= window.last
    assert list(window.after(0, 1_000)) == model.events
    return model


@given(MOVES)
def test_a_window_in_memory_is_a_list(moves: list[tuple[str, object]]) -> None:
    window = MemoryStreamLog().open(ZAF, ignore)
    replay(window, moves, ignore)
    assert window.committed == window.last


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_a_window_in_sqlite_is_a_list_in_this_process_and_the_next(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "relay.db"
    first = Process(path)
    model = replay(first.log.open(ZAF, ignore), moves, first.settle)
    first.close()
    second = Process(path)
    window = found(second, ZAF).window
    assert (window.last, window.committed) == (model.last, model.last)
    assert window.first <= model.first
    assert list(window.after(model.first - 1, 1_000)) == model.events
    second.close()
