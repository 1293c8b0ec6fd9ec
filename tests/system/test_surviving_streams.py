"""Streams over a bad network: a relay, an agent behind a connector, and `relay send` behind a proxy that cuts."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy, Way
from programs import RELAY, TENANT, ReachedTwice, Relay, clean_environment

TEXT = " ".join(f"word{number}" for number in range(40))
PATIENCE_SECONDS = 60.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def slow(start_agent: Callable[..., ReachedTwice]) -> ReachedTwice:
    """An agent that says one piece after the other."""
    return start_agent("slow", "--chunk", "0.7")


@pytest.fixture
def proxy(relay: Relay) -> Iterator[CuttingProxy]:
    with CuttingProxy(relay.url) as running:
        yield running


@contextmanager
def sending(relay: Relay, proxy: CuttingProxy, directory: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`relay send --stream` to the slow agent, by way of the proxy."""
    environment = clean_environment(RELAY_URL=proxy.url, RELAY_TOKEN=relay.token())
    command = [str(RELAY), "send", "--stream", f"{TENANT}/slow", TEXT, "--data-dir", str(directory), *words]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_stream_that_is_cut_three_times_is_printed_whole(
    relay: Relay, slow: ReachedTwice, proxy: CuttingProxy, tmp_path: Path
) -> None:
    with sending(relay, proxy, tmp_path) as process:
        said = printed(process, "word0")
        assert proxy.cut() >= 1
        said += printed(process, "word15")
        proxy.refuse(0.5)
        proxy.cut(reset=False)
        said += printed(process, "word25")
        proxy.cut()
        rest, complaints = (found.decode() for found in process.communicate(timeout=PATIENCE_SECONDS))
    assert said + rest == f"{TEXT}\n"
    assert process.returncode == 0, complaints
    assert complaints.count("the connection was lost") == complaints.count("\n") == 3, complaints


def printed(process: subprocess.Popen[bytes], word: str) -> str:
    """Read what it prints until a word has come."""
    assert process.stdout is not None
    found = b""
    while word.encode() not in found:
        data = process.stdout.read(4096)
        assert data, found
        found += data
    return found.decode()


# --- the proxy itself ---


@contextmanager
def echoing() -> Iterator[str]:
    """A server that says back what it is told; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(peer,), daemon=True).start()

        def echo(peer: socket.socket) -> None:
            with closing(peer):
                try:
                    while data := peer.recv(4096):
                        peer.sendall(data)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def dial(proxy: CuttingProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def told(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := connection.recv(size - len(found))):
        found += data
    return found


def test_the_proxy_carries_both_ways_and_an_end_too() -> None:
    data = bytes(range(256)) * 4000
    with echoing() as server, CuttingProxy(server) as proxy, dial(proxy) as connection:
        writing = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        writing.start()
        assert told(connection, len(data) + 1) == data
        writing.join()
        assert proxy.carried == {Way.UP: len(data), Way.DOWN: len(data)}


def test_the_proxy_cuts_by_a_reset_or_an_end() -> None:
    with echoing() as server, CuttingProxy(server) as proxy:
        for reset in (True, False):
            with dial(proxy) as connection:
                connection.sendall(b"x")
                assert told(connection, 1) == b"x"
                assert proxy.cut(reset=reset) == 1
                if reset:
                    with pytest.raises(ConnectionResetError):
                        connection.recv(1)
                else:
                    assert connection.recv(1) == b""
        assert proxy.accepted == 2


def test_the_proxy_refuses_for_a_while_and_is_there_again() -> None:
    with echoing() as server, CuttingProxy(server) as proxy:
        proxy.refuse(0.5)
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                connection = dial(proxy)
            except ConnectionRefusedError:
                time.sleep(0.05)
                continue
            break
        with connection:
            connection.sendall(b"x")
            assert told(connection, 1) == b"x"


def test_the_proxy_holds_back_and_lets_go() -> None:
    with echoing() as server, CuttingProxy(server) as proxy, dial(proxy) as connection:
        proxy.throttle(0, Way.DOWN)
        connection.sendall(b"x" * 100)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert proxy.carried == {Way.UP: 100, Way.DOWN: 0}
        proxy.throttle(None)
        connection.settimeout(10)
        assert told(connection, 100) == b"x" * 100
        proxy.throttle(200)
        proxy.delay(0.1, Way.UP)
        connection.sendall(b"y" * 50)
        assert told(connection, 50) == b"y" * 50


def test_the_proxy_ends_by_itself() -> None:
    with echoing() as server, CuttingProxy(server, life_seconds=0.2) as proxy:
        proxy._thread.join(10)
        assert not proxy._thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
