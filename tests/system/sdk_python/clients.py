"""The official Python client (a2a-sdk 1.x) as users make it, in each of its four ways of speaking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.client.card_resolver import parse_agent_card
from a2a.helpers.proto_helpers import new_text_message
from a2a.types.a2a_pb2 import AgentCard, SendMessageRequest
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from programs import Endpoint

WAYS = ["JSONRPC 1.0", "HTTP+JSON 1.0", "JSONRPC 0.3", "HTTP+JSON 0.3"]
"""Binding and protocol version."""


@asynccontextmanager
async def connect(endpoint: Endpoint, way: str, *, streaming: bool = True) -> AsyncIterator[Client]:
    """A client made from the card that is served at the endpoint; everything but the token is the SDK's default."""
    binding, _, version = way.partition(" ")
    async with httpx.AsyncClient(headers=endpoint.headers, trust_env=False) as http:
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming)
        factory = ClientFactory(config)
        if version == "1.0":
            client = await factory.create_from_url(endpoint.url)
        else:
            client = factory.create(await _read_card_as_0_3(http, endpoint))
        yield client


async def _read_card_as_0_3(http: httpx.AsyncClient, endpoint: Endpoint) -> AgentCard:
    """The served card as a reader of 0.3 sees it: without the fields of 1.0."""
    answer = await http.get(f"{endpoint.url}.well-known/agent-card.json")
    document = answer.raise_for_status().json()
    del document["supportedInterfaces"]
    return parse_agent_card(document)


async def fetch_card(endpoint: Endpoint) -> AgentCard:
    """The card by the SDK's resolver."""
    async with httpx.AsyncClient(headers=endpoint.headers, trust_env=False) as http:
        return await A2ACardResolver(http, endpoint.url).get_agent_card()


def say(text: str, **ids: str) -> SendMessageRequest:
    """A request to send a text; `ids` may be `context_id` and `task_id`."""
    return SendMessageRequest(message=new_text_message(text, role=1, **ids))


def shown(message: Message) -> dict[str, Any]:
    """A protobuf message as JSON."""
    return MessageToDict(message)


def shown_error(error: A2AError) -> dict[str, Any]:
    """Everything about an error that a program can act on."""
    return {"type": type(error).__name__, "message": error.message, "data": error.data}
