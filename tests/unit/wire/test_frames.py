"""Frames as values."""

from __future__ import annotations

import pytest

from a2a_relay.wire.frames import NO_HEADERS, Response


def test_no_headers_stay_none() -> None:
    with pytest.raises(TypeError):
        NO_HEADERS["a2a-version"] = "1.0"  # type: ignore[index]
    assert Response("1", b"{}").headers is NO_HEADERS
