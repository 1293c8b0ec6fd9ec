"""The connector beside an agent: keeps it attached to a relay, and hands it the calls that come over the link."""

from __future__ import annotations

from a2a_relay.connector.connector import Connector
from a2a_relay.connector.handler import AgentError
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.service_headers import read_header_file
from a2a_relay.connector.tokens import MintedToken, StaticToken, TokenCommand, TokenFile, TokenUnavailable
from a2a_relay.wire.agent_side import IncomingRequest

__all__ = [
    "AgentError",
    "Connector",
    "ConnectorRefused",
    "IncomingRequest",
    "MintedToken",
    "StaticToken",
    "TokenCommand",
    "TokenFile",
    "TokenUnavailable",
    "read_header_file",
]
