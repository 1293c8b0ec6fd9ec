"""JSON-RPC responses as a client takes them: the result, or the error as a ClientError."""

from __future__ import annotations

from typing import Any

import httpx

from a2a_relay.a2a import jsonbytes
from a2a_relay.client.connection import error_of, refusal_of
from a2a_relay.client.failures import ClientError
from a2a_relay.errors import Refused


def result_of(response: httpx.Response) -> Any:
    """The `result` of an answer that was read. Raises ClientError."""
    try:
        document = document_of(response.content)
    except ClientError:
        raise refusal_of(response) from None
    if not response.is_success and "error" not in document:
        raise refusal_of(response)
    return take_result(document)


def take_result(document: dict[str, Any]) -> Any:
    """The `result` of a response. Raises ClientError, with the response's own error where it has one."""
    if "error" in document:
        raise error_of(document["error"])
    if "result" not in document:
        raise ClientError("the answer is no JSON-RPC response")
    return document["result"]


def document_of(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ClientError."""
    try:
        found = jsonbytes.value(data.strip())
    except Refused as error:
        raise ClientError("the answer is not JSON") from error
    if not isinstance(found, dict):
        raise ClientError("the answer is no JSON object")
    return found
