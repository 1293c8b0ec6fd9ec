"""Which sessions live here."""

from __future__ import annotations

from a2a_relay.core.hub import Hub
from a2a_relay.core.session import Session
from a2a_relay.testing import make_address, make_principal
from a2a_relay.wire.dialects import NATIVE


def session(id: str, name: str = "acme/zaf") -> Session:
    return Session(id, make_address(name), make_principal(), NATIVE, 0.0, 1000)


def test_a_session_is_found_while_it_lives() -> None:
    hub, live = Hub(), session("1")
    assert hub.attach(live) is None
    assert hub.find(live.address) is live
    assert hub.detach(live)
    assert hub.find(live.address) is None
    assert len(hub) == 0


def test_the_newest_wins_and_the_old_one_is_told_of() -> None:
    hub, old, new = Hub(), session("1"), session("2")
    hub.attach(old)
    assert hub.attach(new) is old
    assert hub.find(new.address) is new
    assert len(hub) == 1


def test_an_old_sessions_end_never_removes_its_successor() -> None:
    hub, old, new = Hub(), session("1"), session("2")
    hub.attach(old)
    hub.attach(new)
    assert not hub.detach(old)
    assert hub.find(new.address) is new
    assert hub.of_tenant("acme") == {"zaf": new}
    assert hub.detach(new)
    assert not hub.detach(new)


def test_tenants_do_not_see_each_other() -> None:
    hub = Hub()
    a, b, c = session("1", "acme/zaf"), session("2", "acme/ann"), session("3", "other/zaf")
    for each in (a, b, c):
        hub.attach(each)
    assert hub.of_tenant("acme") == {"zaf": a, "ann": b}
    assert hub.of_tenant("other") == {"zaf": c}
    assert hub.of_tenant("nobody") == {}
    hub.detach(c)
    assert hub.of_tenant("other") == {}


def test_sessions_may_leave_while_they_are_walked_over() -> None:
    hub = Hub()
    for number in range(3):
        hub.attach(session(str(number), f"acme/{number}"))
    for each in hub:
        hub.detach(each)
    assert len(hub) == 0
