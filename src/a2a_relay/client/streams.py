"""Reading a stream to its end, over as many connections as that takes.

A relay that keeps streams names the stream's URL in the head of its answer and numbers
the events by `id:`; whoever has lost the connection asks there for what followed. A
server that names none is read as it comes: a lost connection is the end.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import httpx

from a2a_relay.a2a import jsonbytes, sse
from a2a_relay.client.answers import read_answer
from a2a_relay.client.connection import QUICK_TIMEOUT, error_of, failure_of, refusal_of
from a2a_relay.client.failures import ClientError, Speaker
from a2a_relay.client.results import document_of, result_of, take_result
from a2a_relay.errors import Reason, Refused

STREAM_HEADER = "A2A-Relay-Stream"
MAX_EVENT_BYTES = 64 * 1024 * 1024
PATIENCE_SECONDS = 30.0
"""How long a lost connection is dialled for: as long as a relay lets an agent go on that nobody reads."""
LIVED_SECONDS = 10.0
"""A connection that was read for this long was a good one, also when the agent had nothing to say."""

_BASE_SECONDS = 0.2
_CAP_SECONDS = 3.0
_MAX_DOUBLINGS = 4
_STREAM_PATH = re.compile(r"/t/[A-Za-z0-9._~-]+/a2a/[A-Za-z0-9._~-]+/streams/[A-Za-z0-9_-]+", re.ASCII)
_LOSSES = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
# What the relay, or something before it, says while it means "not now" rather than "not any more".
_NOT_NOW = frozenset({Reason.RELAY_LEAVING, Reason.RELAY_BUSY, Reason.RATE_LIMITED})
_NOT_NOW_STATUS = frozenset({429, 502, 503, 504})
_NOT_READABLE_STATUS = frozenset({401, 403, 404, 410})


class Gap(NamedTuple):
    """Events of a stream that are lost for good, by their numbers from 1; the last one is lost too."""

    first: int
    last: int


class StreamGap(ClientError):
    """Events are lost for good."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"the stream's events {gap.first} to {gap.last} are lost")
        self.gap = gap


class Hooks(NamedTuple):
    """What the reader of a stream wants to be told or asked.

    `lost` is told of each connection that was lost and is made again. `gap` is told of lost events, after which the
    stream goes on; without it they are an error. `renew` gives a new token once the old one is no longer taken.
    """

    lost: Callable[[ClientError], None] | None = None
    gap: Callable[[Gap], None] | None = None
    renew: Callable[[], str | None] | None = None


class Pace(NamedTuple):
    """Time and chance. A relay's stream that is silent for `silence_seconds` is lost: it sends a comment every 3 s."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251 - a command has no event loop to stop
    chance: Callable[[], float] = random.random
    silence_seconds: float = 45.0


NO_HOOKS = Hooks()
REAL_TIME = Pace()


class StreamReading:
    """One stream: `begin` with the answer of the call, `go_on` with the loss that it returns."""

    def __init__(self, http: httpx.Client, pace: Pace, hooks: Hooks) -> None:
        self._http = http
        self._pace = pace
        self._hooks = hooks
        self._url: httpx.URL | None = None
        self._position = ""
        self._received = 0
        self._task_id = ""
        self._is_good = False
        """Whether the connection has brought anything, or has lived for a while."""
        self._is_renewed = False

    def begin(self, response: httpx.Response) -> Generator[Any, None, ClientError | None]:
        """Yield the results of the first connection; the loss that has ended it. Raises ClientError."""
        if not _is_event_stream(response):
            response.read()
            yield result_of(response)  # an agent that does not stream may answer at once
            return None
        self._url = stream_url(response)
        if self._url is not None:
            _limit_silence(response, self._pace.silence_seconds)
        return (yield from self._take(response))

    def go_on(self, loss: ClientError | None) -> Iterator[Any]:
        """Yield what is left behind a loss. Raises ClientError when the stream cannot be read on."""
        since, tries = 0.0, 0
        self._is_good = True
        while loss is not None:
            if self._is_good:
                since, tries, self._is_good, self._is_renewed = self._pace.monotonic(), 0, False, False
                if self._hooks.lost is not None:
                    self._hooks.lost(loss)
            elif self._pace.monotonic() - since >= PATIENCE_SECONDS:
                raise self._broken_off(loss)
            span = min(_CAP_SECONDS, _BASE_SECONDS * (1 << min(tries, _MAX_DOUBLINGS)))
            tries += 1
            self._pace.sleep(span * self._pace.chance())
            loss = yield from self._dial()

    def _dial(self) -> Generator[Any, None, ClientError | None]:
        if self._url is None:
            return None
        headers = {"Accept": "text/event-stream"}
        if self._position:
            headers["Last-Event-ID"] = self._position
        try:
            with self._http.stream("GET", self._url, headers=headers, timeout=QUICK_TIMEOUT) as response:
                if response.is_success and _is_event_stream(response):
                    _limit_silence(response, self._pace.silence_seconds)
                    return (yield from self._take(response))
                response.read()
        except _LOSSES as error:
            return failure_of(str(self._url), error)
        except httpx.HTTPError as error:
            raise self._broken_off(failure_of(str(self._url), error)) from error
        return self._judge(response)

    def _judge(self, response: httpx.Response) -> ClientError:
        """Why there is no stream now, when that may pass. Raises ClientError when it will not."""
        status = response.status_code
        refusal = _refusal_in(response)
        is_relays = refusal.said_by is Speaker.RELAY and bool(refusal.reason)
        if refusal.reason in _NOT_NOW if is_relays else status in _NOT_NOW_STATUS:
            return refusal
        if status == httpx.codes.UNAUTHORIZED and self._renew_token():
            return refusal
        if response.is_success or (is_relays and status not in _NOT_READABLE_STATUS):
            raise refusal  # the stream has failed while nobody read it
        raise self._broken_off(refusal)

    def _renew_token(self) -> bool:
        """Whether there is a new token to try; asked for once for each loss."""
        if self._hooks.renew is None or self._is_renewed:
            return False
        self._is_renewed = True
        token = self._hooks.renew()
        if token is None:
            return False
        self._http.headers["Authorization"] = f"Bearer {token}"
        return True

    def _take(self, response: httpx.Response) -> Generator[Any, None, ClientError | None]:
        """Yield the results of one connection; the loss that has ended it, None at the stream's own end."""
        reader = sse.Reader(MAX_EVENT_BYTES)
        began = self._pace.monotonic()
        try:
            for data in response.iter_bytes():
                for event in reader.feed(data):
                    failure = _failure_in(event)
                    if failure is not None:
                        return self._require_passing(failure)
                    yield from self._results(event)
        except ValueError as error:
            raise ClientError(f"the stream cannot be read: {error}") from error
        except _LOSSES as error:
            if self._url is None:
                raise
            return failure_of(str(response.request.url), error)
        finally:
            self._is_good = self._is_good or self._pace.monotonic() - began >= LIVED_SECONDS
        if reader.is_within_event and self._url is not None:
            return ClientError("the stream ended within an event")
        return None

    def _results(self, event: sse.Event) -> Iterator[Any]:
        document = document_of(event.data)
        if event.name == "gap" and self._url is not None:
            self._tell_gap(_gap_in(document))
            self._position = event.id
        else:
            result = take_result(document)
            self._position, self._received, self._is_good = event.id, self._received + 1, True
            self._task_id = read_answer(result).task_id or self._task_id
            yield result

    def _tell_gap(self, gap: Gap) -> None:
        if self._hooks.gap is None:
            raise StreamGap(gap)
        self._hooks.gap(gap)

    def _require_passing(self, failure: ClientError) -> ClientError:
        """The stream's own error as a loss, when the relay leaves and another may go on. Raises it otherwise."""
        if self._url is not None and failure.said_by is Speaker.RELAY and failure.reason == Reason.RELAY_LEAVING:
            return failure
        raise failure

    def _broken_off(self, failure: ClientError) -> ClientError:
        """The end of all tries: why, what was received, and where the rest may be found."""
        count = "no event" if not self._received else f"{self._received} event{'s' if self._received > 1 else ''}"
        where = f"ask for task {self._task_id} (SubscribeToTask or GetTask), or " if self._task_id else ""
        message = f"the stream broke off and cannot be read on: {failure.message}; {count} received; {where}send again"
        return ClientError(message, failure.reason, failure.said_by)


def stream_url(response: httpx.Response) -> httpx.URL | None:
    """Where a stream can be read on, at the origin that was called and nowhere else; None where that is not said."""
    path = response.headers.get(STREAM_HEADER, "")
    if not _STREAM_PATH.fullmatch(path):
        return None
    called = response.request.url
    prefix = called.path.partition("/t/")[0].rstrip("/")
    return called.copy_with(path=prefix + path, query=None)


def _is_event_stream(response: httpx.Response) -> bool:
    return bool(response.headers.get("content-type", "").startswith("text/event-stream"))


def _limit_silence(response: httpx.Response, seconds: float) -> None:
    """A bound on silence from now on: only the head tells that the server says something now and then."""
    response.request.extensions["timeout"]["read"] = seconds


def _failure_in(event: sse.Event) -> ClientError | None:
    """The error that an event carries."""
    if event.name != "error" and b'"error"' not in event.data:
        return None
    document = document_of(event.data)
    if "error" in document:
        return error_of(document["error"])
    return error_of(document) if event.name == "error" else None


def _gap_in(document: dict[str, Any]) -> Gap:
    lost = document.get("lost")
    if not isinstance(lost, dict) or not all(isinstance(lost.get(name), int) for name in Gap._fields):
        raise ClientError("the stream has a gap of unknown size")
    return Gap(lost["first"], lost["last"])


def _refusal_in(response: httpx.Response) -> ClientError:
    """What an answer says that is no stream. The body must have been read."""
    try:
        found = jsonbytes.value(response.content.strip())
    except Refused:
        return refusal_of(response)
    if isinstance(found, dict) and "error" in found:
        return error_of(found["error"])
    return ClientError(f"{response.request.url} answered HTTP {response.status_code} and no stream")
