"""Our subclass of uvicorn's server: it leaves in the relay's order and exits with 0 (decision 24)."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn

from a2a_relay.errors import Refused, SettingsError
from a2a_relay.fronts.http.protocol import HttpLimits, RelayHttpProtocol, RelayWebSocketProtocol

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


def server_config(
    app: Any, limits: HttpLimits, on_refused: Callable[[Refused, tuple[str, int] | None], None], **options: Any
) -> uvicorn.Config:
    """uvicorn's configuration for a relay; plain ASGI protocols when this uvicorn is not one that was tested."""
    protocols: dict[str, Any] = {}
    if uvicorn.__version__.startswith(TESTED_UVICORN):
        members = {"http_limits": limits, "on_refused": staticmethod(on_refused)}
        limited = type("LimitedHttpProtocol", (RelayHttpProtocol,), members)
        protocols = {"http": limited, "ws": RelayWebSocketProtocol}
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_per_message_deflate=False,
        lifespan="on",
        **protocols,
        **options,
    )
