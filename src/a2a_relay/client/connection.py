"""The HTTP side of a command: one client with a credential for one origin, and its failures in words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import a2a_relay
from a2a_relay.a2a.problems import RELAY_DOMAIN
from a2a_relay.client.address import split_url
from a2a_relay.client.failures import ClientError, Speaker
from a2a_relay.settings import is_loopback

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 605.0
"""A little longer than the relay's own patience with an agent, so that its error arrives."""

TIMEOUT = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
STREAM_TIMEOUT = httpx.Timeout(CONNECT_SECONDS, read=None)
QUICK_TIMEOUT = httpx.Timeout(10.0, connect=CONNECT_SECONDS)
"""For what the relay answers from its own knowledge."""

# How httpx and its two parsers say that the other side has closed before or within its answer.
_WENT_AWAY = ("peer closed connection", "Server disconnected")


def trust(ca: Path | None) -> ssl.SSLContext:
    """The certificates to believe: the usual ones, or those in a PEM file. Raises ClientError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ClientError(f"the certificates in {ca} cannot be read: {error}") from error


@contextmanager
def open_http(url: str, token: str | None, *, ca: Path | None = None, insecure: bool = False) -> Iterator[httpx.Client]:
    """A client for the origin of `url`. Raises ClientError where the token would cross a network in clear (S20)."""
    parts = split_url(url)
    local = is_loopback(parts.hostname or "")
    if token and parts.scheme == "http" and not local and not insecure:
        raise ClientError(f"{parts.hostname} is reached without TLS: use https://, or --insecure if this is meant")
    headers = {"User-Agent": f"a2a-relay/{a2a_relay.__version__}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    verify = trust(ca) if parts.scheme == "https" else False
    # A proxy from the environment is no way to one's own machine.
    with httpx.Client(headers=headers, timeout=TIMEOUT, verify=verify, trust_env=not local) as client:
        yield client


@contextmanager
def failures_in_words(url: str) -> Iterator[None]:
    """Turn what httpx raises into a ClientError."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise failure_of(url, error) from error


def failure_of(url: str, error: httpx.HTTPError | httpx.InvalidURL) -> ClientError:
    """What httpx has raised, in words."""
    if isinstance(error, httpx.ConnectTimeout):
        return ClientError(f"{url} cannot be reached: no answer within {CONNECT_SECONDS:g} s")
    if isinstance(error, httpx.ConnectError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return ClientError(f"{url} is not trusted: give --ca FILE for a private certificate ({error})")
        return ClientError(f"{url} cannot be reached: {error}")
    if isinstance(error, httpx.TimeoutException):
        return ClientError(f"{url} did not answer in time")
    if isinstance(error, httpx.RemoteProtocolError) and any(words in str(error) for words in _WENT_AWAY):
        return ClientError(f"{url} went away before its answer was complete")
    return ClientError(f"the connection to {url} has failed: {str(error) or type(error).__name__}")


def refusal_of(response: httpx.Response) -> ClientError:
    """What an answer that is no success says. The body must have been read."""
    document: Any = None
    if response.headers.get("content-type", "").partition(";")[0].endswith("json"):
        try:
            document = response.json()
        except (ValueError, RecursionError):
            document = None
    error = document.get("error") if isinstance(document, dict) else None
    if error is None:
        return ClientError(f"{response.request.url} answered HTTP {response.status_code}")
    return error_of(error)


def error_of(error: Any) -> ClientError:
    """An error object of either binding: its message, and the reason in its ErrorInfo or its code."""
    if not isinstance(error, dict):
        return ClientError(str(error), said_by=Speaker.RELAY)
    message = str(error.get("message") or "an error without a message")
    details = error.get("details") or error.get("data")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            said_by = Speaker.RELAY if detail.get("domain") == RELAY_DOMAIN else Speaker.AGENT
            return ClientError(message, detail["reason"], said_by)
    return ClientError(message, str(error.get("code", "")), Speaker.AGENT)
