"""Close codes: each says whether the agent should come back."""

from __future__ import annotations

import pytest

from a2a_relay.wire import close_codes
from a2a_relay.wire.close_codes import BY_CODE, may_reconnect


def test_every_code_is_in_the_table_once() -> None:
    named = [code for code in vars(close_codes).values() if isinstance(code, close_codes.CloseCode)]
    assert sorted(code.code for code in named) == sorted(BY_CODE)


@pytest.mark.parametrize("code", BY_CODE.values())
def test_codes_are_fit_for_the_wire(code: close_codes.CloseCode) -> None:
    assert code.code in (1000, 1001, 1009, 1011) or 4000 <= code.code <= 4999
    assert len(code.reason.encode()) <= 123


@pytest.mark.parametrize("code", [close_codes.AUTH_FAILED, close_codes.SESSION_REPLACED, close_codes.PROTOCOL_ERROR])
def test_who_cannot_be_helped_by_retrying_stays_away(code: close_codes.CloseCode) -> None:
    assert not may_reconnect(code.code)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 4002, 4003, 4005, 4007, 4999, 3000])
def test_everybody_else_comes_back(code: int | None) -> None:
    assert may_reconnect(code)
