"""Calls to one agent over JSON-RPC, in A2A 1.0, and in 0.3 for an agent that speaks nothing newer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from a2a_relay.a2a import jsonbytes, jsonrpc, versions
from a2a_relay.a2a.methods import BY_OPERATION, Operation
from a2a_relay.client.address import is_same_origin
from a2a_relay.client.connection import QUICK_TIMEOUT, STREAM_TIMEOUT, failures_in_words, refusal_of
from a2a_relay.client.failures import ClientError
from a2a_relay.client.results import document_of, result_of
from a2a_relay.client.streams import NO_HOOKS, REAL_TIME, Hooks, Pace, StreamReading


class AgentClient:
    """One agent at its base URL (without a trailing slash)."""

    def __init__(self, http: httpx.Client, base: str, pace: Pace = REAL_TIME) -> None:
        self._http = http
        self._pace = pace
        self.base = base
        self.url = f"{base}/"
        self.version = versions.V10

    def fetch_card(self) -> Any:
        """The agent's card as JSON, None where it has published none. Raises ClientError."""
        url = f"{self.base}/.well-known/agent-card.json"
        with failures_in_words(url):
            response = self._http.get(url, timeout=QUICK_TIMEOUT)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if not response.is_success:
            raise refusal_of(response)
        return document_of(response.content)

    def find_interface(self) -> None:
        """Read the card, if the agent shows one, and heed it: where there is none the call itself tells the rest."""
        with suppress(ClientError):
            self.heed(self.fetch_card())

    def heed(self, card: Any) -> None:
        """Speak the newest version that a card offers, at the URL that it names.

        A URL of another origin is not followed: the token is for this one (S2).
        """
        offers = json_rpc_interfaces(card)
        wanted = [offer for offer in offers if not versions.is_v03(offer[1])] or offers
        if not wanted:
            return
        url, version = wanted[0]
        if versions.is_v03(version):
            self.version = versions.V03
        try:
            if is_same_origin(url, self.base):
                self.url = url
        except ClientError:
            return

    def send(self, text: str) -> Any:
        """Send one message; the `result` of the answer. Raises ClientError."""
        body = self._request(Operation.SEND, self._message(text))
        return self.post(body)

    def post(self, body: bytes) -> Any:
        """One unary JSON-RPC request; its `result`. Raises ClientError."""
        with failures_in_words(self.url):
            response = self._http.post(self.url, content=body, headers=self._headers())
        return result_of(response)

    def get_task(self, id: str) -> Any:
        """One task. Raises ClientError."""
        return self.post(self._request(Operation.GET, {"id": id}))

    def stream(self, text: str, hooks: Hooks = NO_HOOKS) -> Iterator[Any]:
        """Send one message and yield the `result` of each event as it comes, each once.

        At a relay that keeps streams a lost connection is made again, and the stream read on where it was. The call
        itself is made once. Raises ClientError, and StreamGap where `hooks` do not say that a gap is to be bridged.
        """
        reading = StreamReading(self._http, self._pace, hooks)
        with self.open_stream(text) as response:
            loss = yield from reading.begin(response)
        if loss is not None:
            yield from reading.go_on(loss)

    @contextmanager
    def open_stream(self, text: str) -> Iterator[httpx.Response]:
        """The response of a streaming call, its head read and its body not. Raises ClientError."""
        body = self._request(Operation.STREAM, self._message(text))
        headers = self._headers() | {"Accept": "text/event-stream"}
        with (
            failures_in_words(self.url),
            self._http.stream("POST", self.url, content=body, headers=headers, timeout=STREAM_TIMEOUT) as response,
        ):
            yield response

    def _request(self, operation: Operation, params: Any) -> bytes:
        method = BY_OPERATION[operation]
        name = method.v03 if self.version == versions.V03 else method.v10
        return jsonrpc.request(jsonbytes.dump(uuid.uuid4().hex), name, jsonbytes.dump(params))

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "A2A-Version": self.version}

    def _message(self, text: str) -> Any:
        if self.version == versions.V03:
            part = {"kind": "text", "text": text}
            message = {"kind": "message", "messageId": uuid.uuid4().hex, "role": "user", "parts": [part]}
        else:
            message = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}]}
        return {"message": message}


def json_rpc_interfaces(card: Any) -> list[tuple[str, str]]:
    """The JSON-RPC interfaces of a card of either version: URL and protocol version, the preferred first."""
    if not isinstance(card, dict):
        return []
    found = [
        (str(offer.get("url")), str(offer.get("protocolVersion") or versions.V10))
        for offer in card.get("supportedInterfaces") or ()
        if isinstance(offer, dict) and offer.get("protocolBinding") == "JSONRPC"
    ]
    if not found and isinstance(card.get("url"), str) and card.get("preferredTransport", "JSONRPC") == "JSONRPC":
        found.append((card["url"], str(card.get("protocolVersion") or versions.V03)))
    return found
