"""The states of one call."""

from __future__ import annotations

import math

import pytest

from a2a_relay.core.exchange import Exchange, Phase
from a2a_relay.core.session import Session
from a2a_relay.errors import IllegalMove
from a2a_relay.testing import make_address, make_call, make_principal
from a2a_relay.wire.dialects import NATIVE

LEGAL = {
    (Phase.PENDING, Phase.STREAMING),
    (Phase.PENDING, Phase.DONE),
    (Phase.STREAMING, Phase.STREAMING),
    (Phase.STREAMING, Phase.DONE),
}


def exchange() -> Exchange:
    session = Session("e-1", make_address(), make_principal(), NATIVE, 0.0, 1000)
    return Exchange("e-1.1", make_call(), session, 0, 1)


@pytest.mark.parametrize("start", list(Phase))
@pytest.mark.parametrize("next", list(Phase))
def test_every_move_is_in_the_table(start: Phase, next: Phase) -> None:
    found = exchange()
    found.phase = start
    if (start, next) in LEGAL:
        found.move(next)
        assert found.phase is next
        assert found.is_done == (next is Phase.DONE)
        return
    with pytest.raises(IllegalMove, match=r"exchange e-1\.1 is"):
        found.move(next)
    assert found.phase is start


def test_it_expires_when_nothing_comes_and_ends_when_it_was_told_to() -> None:
    found = Exchange("e-1.1", make_call(), exchange().session, 10, 600)
    assert (found.expires_at, found.ends_at) == (610, math.inf)
    assert Exchange("e-1.1", make_call(), exchange().session, 10, 600, 40).ends_at == 40
