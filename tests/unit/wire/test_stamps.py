"""What ties a signed assertion to one call."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from a2a_relay.wire import stamps
from a2a_relay.wire.frames import Rest

KEY = bytes(range(32))
REST = Rest("GET", ("v1", "tasks", "t"), "historyLength=2")


def test_a_mac_is_what_the_document_says() -> None:
    """The test vector of docs/senders.md."""
    found = stamps.mac(KEY, "aGVsbG8", "e-1.1", "SendMessage", b"{}")
    assert found == b"54ad968bafa226cab486924521868c41550ec81eb0f31032b05447af12f1124c"


def test_a_mac_is_hmac_sha256() -> None:
    texts = b"".join(len(text).to_bytes(4, "big") + text for text in (b"j", b"e-1.1", b"Send\xc3\xa9"))
    expected = hmac.digest(KEY, texts + hashlib.sha256(b"{}").digest(), "sha256").hex()
    assert stamps.mac(KEY, "j", "e-1.1", "Send\u00e9", b"{}").decode() == expected


@pytest.mark.parametrize(
    "other",
    [
        stamps.mac(bytes(32), "j", "e-1.1", "SendMessage", b"{}", REST),
        stamps.mac(KEY, "k", "e-1.1", "SendMessage", b"{}", REST),
        stamps.mac(KEY, "j", "e-1.2", "SendMessage", b"{}", REST),
        stamps.mac(KEY, "j", "e-1.1", "GetTask", b"{}", REST),
        stamps.mac(KEY, "j", "e-1.1", "SendMessage", b"{ }", REST),
        stamps.mac(KEY, "j", "e-1.1", "SendMessage", b"{}"),
        stamps.mac(KEY, "j", "e-1.1", "SendMessage", b"{}", Rest("POST", REST.segments, REST.query)),
        stamps.mac(KEY, "j", "e-1.1", "SendMessage", b"{}", Rest("GET", ("v1", "tasks/t"), REST.query)),
        stamps.mac(KEY, "j", "e-1.1", "SendMessage", b"{}", Rest("GET", REST.segments, "")),
        stamps.mac(KEY, "je", "-1.1", "SendMessage", b"{}", REST),
        stamps.mac(KEY, "j", "e-1.1S", "endMessage", b"{}", REST),
    ],
)
def test_a_mac_is_of_all_its_parts_and_of_where_they_end(other: bytes) -> None:
    assert other != stamps.mac(KEY, "j", "e-1.1", "SendMessage", b"{}", REST)
