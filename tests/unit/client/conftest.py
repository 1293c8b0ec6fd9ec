"""A real HTTP server on this machine that says what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import httpx
import pytest


@dataclass
class Heard:
    """One request as the server heard it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Scene(Protocol):
    """An answer that does more than to say something whole."""

    def play(self, handler: BaseHTTPRequestHandler, stopped: threading.Event) -> None:
        """Give it. `stopped` tells when the test is over."""


@dataclass
class Scripted:
    """The server: what it answers by method and path, and what it has heard."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    scenes: dict[tuple[str, str], list[Scene]] = field(default_factory=dict)
    """Answers that are given once each, before all others."""

    def say(self, method: str, path: str, body: Any, status: int = 200, content_type: str = "application/json") -> None:
        """Answer so from now on; what is not bytes goes as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[method, path] = (status, {"Content-Type": content_type}, data)

    def say_events(self, path: str, *documents: Any, name: str = "") -> None:
        """Answer a POST with a stream of events; the last one gets the name."""
        events = [b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents]
        if name:
            events[-1] = f"event: {name}\n".encode() + events[-1]
        self.streams[path] = b":\n\n" + b"".join(events)

    def answer(self, heard: Heard) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request; a stream for a client that asks for one."""
        if heard.path in self.streams and heard.headers.get("Accept") == "text/event-stream":
            return 200, {"Content-Type": "text/event-stream"}, self.streams[heard.path]
        return self.answers.get((heard.method, heard.path), (404, {"Content-Type": "text/plain"}, b"nothing here"))


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            heard = Heard(self.command, self.path, dict(self.headers), body)
            scripted.heard.append(heard)
            scenes = scripted.scenes.get((heard.method, heard.path))
            if scenes:
                scenes.pop(0).play(self, stopped)
                return
            status, headers, data = scripted.answer(heard)
            self.send_response_only(status)  # no Date of its own
            for name, value in {**headers, "Content-Length": str(len(data)), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        scripted.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield scripted
        finally:
            stopped.set()
            listening.shutdown()
            thread.join()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client
