"""Requests that two HTTP implementations may read in two ways: each is one request or none, in both lanes.

Behind every request stands another one. A head or a body that can be read in two ways is refused, and what stands
behind it is never served: the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from programs import Relay, running_relay

TARGET = b"POST /t/acme/a2a/nobody/ HTTP/1.1"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m"}}}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
BEHIND = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
TOKEN = b"TOKEN"
QUIET_SECONDS = 20.0
CLOSED, OPEN = "closed", "open"

Expected = tuple[list[int], str]
REFUSED: Expected = ([400], CLOSED)
SERVED: Expected = ([404, 200], OPEN)
"""There is no such agent, and the request behind is served."""
TOLD: Expected = ([400, 200], OPEN)
"""Its framing is plain, its meaning is not."""


def request(lines: bytes, body: bytes = BODY, line: bytes = TARGET, host: bytes = b"Host: x\r\n") -> bytes:
    head = b"%b\r\n%bAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\n%b\r\n" % (line, host, lines)
    return head + body + BEHIND


def chunked(body: bytes) -> bytes:
    return request(CHUNKED, body)


_SIZE = b"%x" % len(BODY)
_DIGITS = b"%d" % len(BODY)
CASES: dict[str, tuple[bytes, Expected]] = {
    "a length": (request(LENGTH), SERVED),
    "chunks": (request(CHUNKED, CHUNKS), SERVED),
    "chunks in capitals": (request(CHUNKED.upper(), CHUNKS), SERVED),
    "both, the length first": (request(LENGTH + CHUNKED, CHUNKS), REFUSED),
    "both, the chunks first": (request(CHUNKED + b"Content-Length: 4\r\n", CHUNKS), REFUSED),
    "a coding's name with a blank behind": (request(b"Transfer-Encoding : chunked\r\n", CHUNKS), REFUSED),
    "a coding's name with a tab behind": (request(b"Transfer-Encoding\t: chunked\r\n", CHUNKS), REFUSED),
    "a coding with an underscore": (request(b"Transfer_Encoding: chunked\r\n" + LENGTH), REFUSED),
    "a length with an underscore": (request(b"Content_Length: 5\r\n" + LENGTH), REFUSED),
    "a credential with an underscore": (request(b"x_forwarded_for: 127.0.0.1\r\n" + LENGTH), REFUSED),
    "a coding on the next line": (request(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS), REFUSED),
    "a folded header": (request(b"X-A: b\r\n c\r\n" + LENGTH), REFUSED),
    "a first header that is folded": (request(LENGTH, host=b" X: y\r\nHost: x\r\n"), REFUSED),
    "two codings, the first none": (request(b"Transfer-Encoding: identity\r\n" + CHUNKED, CHUNKS), REFUSED),
    "two codings, the second none": (request(CHUNKED + b"Transfer-Encoding: identity\r\n", CHUNKS), REFUSED),
    "chunks twice": (request(CHUNKED + CHUNKED, CHUNKS), REFUSED),
    "two lengths": (request(LENGTH + b"Content-Length: 5\r\n"), REFUSED),
    "one length twice": (request(LENGTH + LENGTH), REFUSED),
    "a length's name with a blank behind": (request(LENGTH.replace(b":", b" :")), REFUSED),
    "bare line feeds": (request(LENGTH).replace(b"\r\n", b"\n"), REFUSED),
    "one bare line feed": (request(b"X-A: b\n" + LENGTH), REFUSED),
    "a bare carriage return": (request(b"X-A: b\rX-B: c\r\n" + LENGTH), REFUSED),
    "a NUL in a value": (request(b"X-A: a\0b\r\n" + LENGTH), REFUSED),
    "a NUL in a name": (request(b"X\0A: b\r\n" + LENGTH), REFUSED),
    "a control character": (request(b"X-A: a\x01b\r\n" + LENGTH), REFUSED),
    "no name": (request(b": b\r\n" + LENGTH), REFUSED),
    "no colon": (request(b"nothing\r\n" + LENGTH), REFUSED),
    "a chunk with an extension": (chunked(b"%b;a=b\r\n%b\r\n0\r\n\r\n" % (_SIZE, BODY)), SERVED),
    "an extension with a line feed": (chunked(b"%b;a=b\n%b\r\n0\r\n\r\n" % (_SIZE, BODY)), REFUSED),
    "an extension with a carriage return": (chunked(b"%b;a\rb\r\n%b\r\n0\r\n\r\n" % (_SIZE, BODY)), REFUSED),
    "chunks that end in line feeds": (chunked(b"%b\n%b\n0\n\n" % (_SIZE, BODY)), REFUSED),
    "a chunk without its end": (chunked(b"%b\r\n%b0\r\n\r\n" % (_SIZE, BODY)), REFUSED),
    "a chunk that is longer than it says": (chunked(b"%b\r\n%bxx0\r\n\r\n" % (_SIZE, BODY)), REFUSED),
    "a length in the trailers": (chunked(b"%b\r\n%b\r\n0\r\nContent-Length: 3\r\n\r\n" % (_SIZE, BODY)), REFUSED),
    "another host in the target": (request(LENGTH, line=b"POST http://evil/t/acme/a2a/nobody/ HTTP/1.1"), REFUSED),
    "chunks under HTTP/1.0": (request(CHUNKED, CHUNKS, line=TARGET.replace(b"1.1", b"1.0")), REFUSED),
    "HTTP/0.9": (b"GET /livez\r\n\r\n" + BEHIND, REFUSED),
    "HTTP/2.0": (request(LENGTH, line=TARGET.replace(b"1.1", b"2.0")), REFUSED),
    "HTTP/1.2": (request(LENGTH, line=TARGET.replace(b"1.1", b"1.2")), REFUSED),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BEHIND, REFUSED),
    "a tab in the request line": (request(LENGTH, line=TARGET.replace(b" ", b"\t")), REFUSED),
    "a blank in the target": (request(LENGTH, line=TARGET.replace(b"acme", b"ac me")), REFUSED),
    "a high byte in the target": (request(LENGTH, line=TARGET.replace(b"acme", b"acm\xff")), REFUSED),
    "no host": (request(LENGTH, host=b""), REFUSED),
    "two hosts": (request(LENGTH, host=b"Host: x\r\nhost: y\r\n"), REFUSED),
    "one host twice": (request(LENGTH, host=b"Host: x\r\nhost: x\r\n"), REFUSED),
    "two credentials": (request(LENGTH + b"Authorization: Bearer other\r\n"), TOLD),
    "two credentials in two cases": (request(LENGTH + b"AUTHORIZATION: Bearer other\r\n"), TOLD),
    "one credential twice": (request(LENGTH + b"authorization: Bearer TOKEN\r\n"), SERVED),
    "an upgrade that is a call": (request(LENGTH + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), REFUSED),
}
CASES |= {
    f"coding {text!r}": (request(b"Transfer-Encoding: %b\r\n" % text, CHUNKS), REFUSED)
    for text in (
        *(b"xchunked", b"chunked, identity", b"identity", b"chunked, chunked", b"gzip, chunked", b"gzip", b'"chunked"'),
        *(b"chunked;q=1", b"\x0bchunked", b"chunked\x0b", b"chunked,", b",chunked", b""),
    )
}
CASES |= {
    f"length {text!r}": (request(b"Content-Length: %b\r\n" % text), REFUSED)
    for text in (
        *(b"+" + _DIGITS, b"-" + _DIGITS, b"0x10", _DIGITS + b" 0", _DIGITS + b", " + _DIGITS, b"8_6", b"", b"86a"),
        *(b"1e1", b"86.0", b"\xc2\xb2", b"9" * 30, b"18446744073709551702", b"86\x0b", b"86;"),
    )
}
CASES |= {
    f"chunk size {text!r}": (chunked(b"%b\r\n%b\r\n0\r\n\r\n" % (text, BODY)), REFUSED)
    for text in (b"0x" + _SIZE, b"+" + _SIZE, b" " + _SIZE, _SIZE + b" ", b"1" + _SIZE.zfill(16), b"5_6", b"-1", b"")
}


@pytest.fixture(scope="module", params=["fast", "plain"])
def lane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with running_relay(tmp_path_factory.mktemp("smuggling"), "--lane", request.param, "--offline", "reject") as relay:
        yield relay


async def outcome(relay: Relay, data: bytes, expected: Expected) -> Expected:
    """The statuses that come back, and whether the connection is closed then."""
    host, port = relay.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data.replace(TOKEN, relay.token().encode()))
    received = b""
    is_closed = False
    try:
        while not is_closed:
            # Where the connection stays open, nothing more is waited for than what is expected, and a little.
            is_all = received.count(b"HTTP/1.1 ") >= len(expected[0]) and expected[1] == OPEN
            piece = await asyncio.wait_for(reader.read(1 << 16), 0.1 if is_all else QUIET_SECONDS)
            received, is_closed = received + piece, not piece
    except TimeoutError:
        pass
    except ConnectionResetError:
        is_closed = True
    writer.close()
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    return statuses, CLOSED if is_closed else OPEN


async def test_no_request_hides_in_another(lane: Relay) -> None:
    found = await asyncio.gather(*(outcome(lane, data, expected) for data, expected in CASES.values()))
    wrong = {name: (got, CASES[name][1]) for name, got in zip(CASES, found, strict=True) if got != CASES[name][1]}
    assert not wrong
