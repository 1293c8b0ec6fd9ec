"""One attached agent: its frame ids and what is in flight."""

from __future__ import annotations

from a2a_relay.core.exchange import Exchange
from a2a_relay.core.session import Session
from a2a_relay.testing import make_address, make_call, make_principal
from a2a_relay.wire.dialects import NATIVE


def session(id: str = "e-1") -> Session:
    return Session(id, make_address(), make_principal(), NATIVE, 0.0, 1000)


def test_frame_ids_name_their_session() -> None:
    one, other = session("e-1"), session("e-2")
    assert [one.next_frame_id() for _ in range(3)] == ["e-1.1", "e-1.2", "e-1.3"]
    assert other.next_frame_id() == "e-2.1"


def test_what_is_in_flight_is_counted_by_kind_and_once() -> None:
    live = session()
    calls = [make_call("SendMessage"), make_call("SendStreamingMessage"), make_call("GetTask")]
    exchanges = [Exchange(str(n), call, live, 0, 1) for n, call in enumerate(calls)]
    for exchange in exchanges:
        live.open(exchange)
    assert (live.unary_in_flight, live.streams_in_flight, len(live.exchanges)) == (2, 1, 3)
    for exchange in [*exchanges, *exchanges]:
        live.close(exchange)
    assert (live.unary_in_flight, live.streams_in_flight, len(live.exchanges)) == (0, 0, 0)


def test_sessions_are_themselves_and_not_their_fields() -> None:
    assert session() != session()
    assert len({session(), session()}) == 2
