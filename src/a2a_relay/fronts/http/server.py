"""Our subclass of uvicorn's server: it leaves in the relay's order and exits with 0 (decision 24)."""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, NamedTuple

import uvicorn

from a2a_relay.errors import SettingsError
from a2a_relay.fronts.http.app import RelayApp
from a2a_relay.fronts.http.batching import Outbox
from a2a_relay.fronts.http.crowding import Crowding
from a2a_relay.fronts.http.desk import CallDesk
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.lane_protocol import LaneProtocol, StatusLines
from a2a_relay.fronts.http.protocol import HttpLimits, RelayHttpProtocol, RelayWebSocketProtocol
from a2a_relay.fronts.http.repeats import KnownLines
from a2a_relay.fronts.http.turnstile import Turnstile

TESTED_UVICORN = ("0.54",)


class RelayServer(uvicorn.Server):
    """Serves one relay: on a first signal it leaves in order, on a second at once."""

    def __init__(self, config: uvicorn.Config, leave: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._leave = leave

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn forces only on a second SIGINT and raises the signal again at the end; neither is wanted."""
        if self.should_exit:
            self.force_exit = True
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell the garbage collector that what is there now stays: a full collection stalls the loop."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let the node leave (goaway, calls in flight, links), then close what is left."""
        for server in self.servers:
            server.close()
        await self._leave()
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Raises SettingsError with one clear line when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


class Lane(NamedTuple):
    """What the fast lane needs beyond the app; without it everything goes the plain way."""

    desk: CallDesk
    exposure: Exposure


def server_config(
    app: RelayApp,
    limits: HttpLimits,
    lane: Lane | None,
    *,
    compresses_links: bool,
    crowding: Crowding | None = None,
    hsts_seconds: int = 0,
    **options: Any,
) -> uvicorn.Config:
    """uvicorn's configuration for a relay; plain ASGI protocols when this uvicorn is not one that was tested."""
    protocols: dict[str, Any] = {}
    if uvicorn.__version__.startswith(TESTED_UVICORN):
        members: dict[str, Any] = {
            "http_limits": limits,
            "on_refused": staticmethod(app.report_refusal),
            "outbox": Outbox(),
            "crowding": Crowding(0, ()) if crowding is None else crowding,
        }
        base = RelayHttpProtocol
        if lane is not None:
            base = LaneProtocol
            members |= {
                "desk": lane.desk,
                "exposure": lane.exposure,
                "status_lines": StatusLines(),
                "known_lines": KnownLines(),
                "turnstile": Turnstile(),
                "compresses_links": compresses_links,
            }
        protocols = {
            "http": type("ConfiguredProtocol", (base,), members),
            "ws": type("ConfiguredWebSocket", (RelayWebSocketProtocol,), {"compresses_links": compresses_links}),
        }
    else:
        logging.getLogger("a2a_relay").warning(
            "uvicorn %s was not tested with this release: serving without limits on heads and without the fast lane",
            uvicorn.__version__,
        )
    headers = [("x-content-type-options", "nosniff")]
    if hsts_seconds:
        headers.append(("strict-transport-security", f"max-age={hsts_seconds}"))
    return uvicorn.Config(
        app,
        headers=headers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_per_message_deflate=False,
        lifespan="on",
        **protocols,
        **options,
    )
