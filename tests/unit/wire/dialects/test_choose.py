"""Which dialect a link speaks."""

from __future__ import annotations

import pytest

from a2a_relay.wire.dialects import NATIVE, OPENCLAW, RELAY_GO, Dialect, choose
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
