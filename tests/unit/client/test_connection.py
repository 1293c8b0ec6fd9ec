"""What a person is told of a connection that has failed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from a2a_relay.client.connection import failure_of


@contextmanager
def server_that_says(data: bytes) -> Iterator[str]:
    """A server that reads one request, says so much, and is gone; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    ],
    ids=["before its answer", "within a stream", "within a body"],
)
def test_a_server_that_goes_away_is_said_to_have_gone_away(said: bytes) -> None:
    with server_that_says(said) as url, pytest.raises(httpx.RemoteProtocolError) as caught:
        httpx.get(url, trust_env=False, timeout=5)
    assert str(failure_of(url, caught.value)) == f"{url} went away before its answer was complete"


def test_an_answer_that_is_no_http_is_another_matter() -> None:
    with server_that_says(b"SSH-2.0-x\r\n\r\n") as url, pytest.raises(httpx.RemoteProtocolError) as caught:
        httpx.get(url, trust_env=False, timeout=5)
    assert str(failure_of(url, caught.value)).startswith(f"the connection to {url} has failed: ")
