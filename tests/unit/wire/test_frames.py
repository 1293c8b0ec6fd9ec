"""Frames as values."""

from __future__ import annotations

import pytest

from a2a_relay.wire.frames import NO_HEADERS, Request, Response


def test_no_headers_stay_none() -> None:
    with pytest.raises(TypeError):
        NO_HEADERS["a2a-version"] = "1.0"  # type: ignore[index]
    assert Response("1", b"{}").headers is NO_HEADERS


def test_requests_do_not_share_their_meta() -> None:
    assert Request("1", "x", b"{}", 1).meta is not Request("2", "x", b"{}", 1).meta
