"""The whole relay as an ASGI application in a program of your own.

    RELAY_JWT_SECRET=$(openssl rand -hex 32) python examples/embedded_relay.py 8080
    RELAY_JWT_SECRET=... hypercorn --bind 127.0.0.1:8080 'examples.embedded_relay:make_app()'

`create_app` without settings reads the environment and `relay.toml`, as `relay serve` does. The relay wants a server of
its own (it reads the request target as it was sent), so that it is not mounted below another application's path.
"""

import sys

import uvicorn

from a2a_relay.assembly import create_app
from a2a_relay.fronts.http.app import RelayApp
from a2a_relay.settings import Settings


def make_app() -> RelayApp:
    """A relay that keeps nothing on disk."""
    settings = Settings.load({"store": "memory:", "request_timeout": "2m"})
    return create_app(settings)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    uvicorn.run(make_app(), host="127.0.0.1", port=port, log_level="warning", ws="websockets-sansio")
