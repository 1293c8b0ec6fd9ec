"""A head that is known is known byte for byte, but for the digits of the body's length."""

from __future__ import annotations

import pytest

from a2a_relay.core.target import read_target
from a2a_relay.fronts.http.head import HeaderBlock
from a2a_relay.fronts.http.repeats import KnownHeaders, KnownLines, RequestLine

HEADERS = b"\r\nHost: h\r\nContent-Length: %b\r\nX-A: b\r\n\r\n"
LINE = b"POST /t/acme/a2a/zaf/ HTTP/1.1"


def block(*pairs: tuple[bytes, bytes]) -> HeaderBlock:
    return HeaderBlock(pairs or ((b"content-length", b"12"),))


def known(raw: bytes = HEADERS % b"12") -> KnownHeaders:
    found = KnownHeaders.learn(raw, block())
    assert found is not None
    return found


@pytest.mark.parametrize("digits, size", [(b"12", 12), (b"0", 0), (b"12345678", 12345678), (b"007", 7)])
def test_only_the_length_may_differ(digits: bytes, size: int) -> None:
    head = LINE + HEADERS % digits
    assert known().match(head + b"body", len(LINE)) == (len(head), size)


@pytest.mark.parametrize("digits", [b"", b"-1", b"+1", b"1_0", b" 1", b"1 ", b"123456789", b"1,1", b"\xc2\xb2", b"x"])
def test_a_length_that_is_no_plain_number_is_for_the_parser(digits: bytes) -> None:
    assert known().match(LINE + HEADERS % digits, len(LINE)) is None


@pytest.mark.parametrize("end", range(len(LINE), len(LINE + HEADERS % b"12")))
def test_a_head_that_is_not_whole_is_for_the_parser(end: int) -> None:
    assert known().match((LINE + HEADERS % b"12")[:end], len(LINE)) is None


@pytest.mark.parametrize(
    "change", [(b"Host", b"host"), (b": h", b": i"), (b"X-A: b", b"X-A: b\r\nX-B: c"), (b"\r\n\r", b"\n\r")]
)
def test_another_byte_is_for_the_parser(change: tuple[bytes, bytes]) -> None:
    assert known().match((LINE + HEADERS % b"12").replace(*change), len(LINE)) is None


@pytest.mark.parametrize(
    "raw, headers",
    [
        (b"\r\nHost: h\r\n\r\n", block((b"host", b"h"))),
        (b"\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n", block((b"transfer-encoding", b"chunked"))),
        (b"\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n", block((b"expect", b"100-continue"))),
        (b"\r\nContent-Length: 12\r\nContent-Length: 12\r\n\r\n", block()),
        (b"\r\nContent-Length: 12\r\n 3\r\n\r\n", block((b"content-length", b"12 3"))),
    ],
)
def test_what_has_no_one_plain_length_is_not_learnt(raw: bytes, headers: HeaderBlock) -> None:
    assert KnownHeaders.learn(raw, headers) is None


def test_known_lines_are_bounded() -> None:
    lines = KnownLines()
    for number in range(40_000):
        raw = b"%d" % number
        lines.learn(raw, RequestLine("POST", raw, read_target("POST", b"/t/acme/a2a/zaf/")))
    assert b"39999" in lines
    assert len(lines) <= 16384
