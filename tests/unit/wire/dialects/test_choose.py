"""Which dialect a link speaks."""

from __future__ import annotations

import pytest

from a2a_relay.wire.dialects import (
    A2A_V1,
    BY_SUBPROTOCOL,
    NATIVE,
    OPENCLAW,
    RELAY_ELIXIR,
    RELAY_GO,
    Dialect,
    choose,
)
from a2a_relay.wire.frames import Auth

OPENCLAW_CARD = b'{"name":"x","url":"a2a-relay://acme/zaf"}'


@pytest.mark.parametrize(
    "auth, dialect",
    [
        (Auth("t"), RELAY_GO),
        (Auth("t", b'{"url":"https://x"}'), RELAY_GO),
        (Auth("t", dialect="a2a-relay/1"), NATIVE),
        (Auth("t", dialect="native"), NATIVE),
        (Auth("t", dialect="relay-go"), RELAY_GO),
        (Auth("t", dialect="openclaw"), OPENCLAW),
        (Auth("t", dialect="something new"), RELAY_GO),
        (Auth("t", OPENCLAW_CARD), OPENCLAW),
        (Auth("t", OPENCLAW_CARD, "something new"), OPENCLAW),
        (Auth("t", OPENCLAW_CARD, "a2a-relay/1"), NATIVE),
    ],
)
def test_is_what_the_agent_asked_for_then_what_its_card_shows_then_relay_gos(auth: Auth, dialect: Dialect) -> None:
    assert choose(auth) is dialect


@pytest.mark.parametrize("settled", [RELAY_ELIXIR, A2A_V1])
@pytest.mark.parametrize("auth", [Auth("t"), Auth("t", dialect="a2a-relay/1"), Auth("t", OPENCLAW_CARD)])
def test_is_what_the_upgrade_has_settled_whatever_the_frame_says(auth: Auth, settled: Dialect) -> None:
    assert choose(auth, settled) is settled


@pytest.mark.parametrize("name", ["relay-elixir", "a2a.v1"])
def test_is_not_asked_for_in_a_frame_where_it_has_a_way_of_its_own(name: str) -> None:
    assert choose(Auth("t", dialect=name)) is RELAY_GO


def test_subprotocols_have_theirs() -> None:
    assert BY_SUBPROTOCOL == {"a2a.v1": A2A_V1}
