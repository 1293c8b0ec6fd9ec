"""The relay's ASGI application under hypercorn: `python hypercorn_server.py PORT_FILE`, settings from the environment.

The port it got is written to the file. SIGTERM ends it in order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config

from a2a_relay.assembly import create_app
from a2a_relay.settings import load

PING_SECONDS = 30


async def main(port_file: Path) -> None:
    """Serve until SIGTERM."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    port = listener.getsockname()[1]
    settings = load({"host": "127.0.0.1", "port": str(port)}, os.environ)
    app = create_app(settings)

    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.websocket_max_message_size = max(app.node.limits.max_frame, settings.older_dialect_max_frame)
    config.websocket_ping_interval = PING_SECONDS
    config.h11_max_incomplete_size = settings.max_header_bytes + settings.max_target
    config.keep_alive_timeout = settings.keep_alive
    config.accesslog = None

    leave = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
    port_file.write_text(f"{port}\n")
    await serve(app, config, shutdown_trigger=leave.wait)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
