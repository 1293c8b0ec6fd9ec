"""permessage-deflate for agent links (RFC 7692): off unless set, because it costs memory and time on every link."""

from __future__ import annotations

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

COMPRESSED_FROM_BYTES = 1024
"""A smaller frame is sent as it is: it hardly shrinks."""


def offers(*, is_on: bool) -> list[ServerPerMessageDeflateFactory]:
    """What a link may agree on. Without context takeover: a link that is idle holds no window."""
    if not is_on:
        return []
    return [
        ServerPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=12,
            client_max_window_bits=12,
            compress_settings={"memLevel": 5},
        )
    ]
