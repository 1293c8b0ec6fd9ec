"""The tools of `a2a_relay.testing` notice what is wrong."""

from __future__ import annotations

import pytest

from a2a_relay.core.exchange import Result
from a2a_relay.core.stream import Event
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    MemoryTransport,
    Playbook,
    RecordingSink,
    UnexpectedFrame,
    make_node,
    make_token,
)
from a2a_relay.wire import close_codes
from a2a_relay.wire.frames import NO_HEADERS

EVENT = Event(b"s.e-1", b"{}")


@pytest.fixture
def playbook() -> Playbook:
    clock = FakeClock()
    token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": clock.now() + 60})
    return Playbook(make_node(clock=clock), clock, token=token)


AUTH = '>> {"type":"auth","token":"$token"}\n'


@pytest.mark.parametrize(
    "line",
    [
        "<< nothing",
        '<< {"type":"auth_ok"}',
        '<< {"type":"auth_ok","agent_id":"zaf","tenant":"acme","more":1}',
        '<< {"type":"auth_ok","agent_id":"ann", ...}',
        '<< {"type":"error", ...}',
        "xx 4001",
    ],
)
def test_a_playbook_that_does_not_come_true_fails(playbook: Playbook, line: str) -> None:
    with pytest.raises(UnexpectedFrame):
        playbook.play(AUTH + line)


@pytest.mark.parametrize("line", ['<< {"type":"auth_ok", ...}', "<< {...}", '<< {"tenant":"acme", ...}\n<< nothing'])
def test_a_playbook_that_comes_true_does_not(playbook: Playbook, line: str) -> None:
    playbook.play("# first the handshake\n" + AUTH + line)


def test_a_playbook_has_four_kinds_of_lines(playbook: Playbook) -> None:
    with pytest.raises(ValueError, match="begins with"):
        playbook.play("?? what")


def test_a_transport_takes_nothing_after_its_close() -> None:
    transport = MemoryTransport()
    transport.close(close_codes.NORMAL)
    with pytest.raises(AssertionError):
        transport.send(b"{}")
    with pytest.raises(AssertionError):
        transport.close(close_codes.NORMAL)
    with pytest.raises(AssertionError):
        transport.take()


def test_a_sink_takes_nothing_after_the_final_call() -> None:
    for over in (RecordingSink(), RecordingSink()):
        with pytest.raises(AssertionError):
            _ = over.outcome
        with pytest.raises(AssertionError):
            _ = over.failure
        over.end(None)
        with pytest.raises(AssertionError):
            over.answer(Result(b""))
        with pytest.raises(AssertionError):
            over.event(EVENT, NO_HEADERS)
        with pytest.raises(AssertionError):
            over.gap(1, EVENT)
        with pytest.raises(AssertionError):
            over.end(None)


def test_a_sink_takes_no_answer_after_events() -> None:
    sink = RecordingSink()
    assert sink.event(EVENT, NO_HEADERS)
    with pytest.raises(AssertionError, match="must be the end"):
        sink.answer(Result(b""))


def test_a_sink_takes_as_much_as_it_has_room_for() -> None:
    sink = RecordingSink(room=2)
    assert [sink.event(EVENT, NO_HEADERS) for _ in range(2)] == [True, False]
    with pytest.raises(AssertionError, match="not asked for"):
        sink.event(EVENT, NO_HEADERS)
    sink.make_room(1)
    assert not sink.event(EVENT, NO_HEADERS)
    assert sink.offsets == [1, 1, 1]
