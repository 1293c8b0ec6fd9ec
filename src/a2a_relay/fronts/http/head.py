"""The head of an HTTP request, as every lane reads it: target, headers, credential."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from functools import cached_property

from a2a_relay.a2a import versions
from a2a_relay.core.call import NO_OPTIONS, Meta, Options
from a2a_relay.core.credential import Credential
from a2a_relay.core.position import Position
from a2a_relay.core.principal import Principal
from a2a_relay.errors import Reason, Refused
from a2a_relay.wire.codec import is_service_header

_SINGLE = frozenset({"authorization", "content-type", "content-length", "host", "last-event-id", "idempotency-key"})
_NEVER_WITH_UNDERSCORES = frozenset(
    {
        *(b"authorization", b"content-length", b"host", b"transfer-encoding"),
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"),
    }
)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?", re.ASCII)
TIMEOUT_HEADER = "a2a-relay-timeout"
TTL_HEADER = "a2a-relay-ttl"
KEY_HEADER = "idempotency-key"
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_OPTION_NAMES = frozenset({TIMEOUT_HEADER, TTL_HEADER, KEY_HEADER, "last-event-id", "prefer"})
_RELAYS_OWN = ("a2a-relay-", "x-a2a-relay-")
MAX_WAIT_SECONDS = 60.0
_LENGTH = re.compile(r"[0-9]+")
_HARMLESS_ID = re.compile(r"(?=[_-]*[A-Za-z0-9])[A-Za-z0-9_-]{1,64}")

RawHeaders = Iterable[tuple[bytes, bytes]]


class HeaderBlock:
    """The headers of a request, read once; a client that repeats them byte for byte is spared the reading.

    `by_name` has lower-case names; repeated lines are joined by a comma. Raises
    `Refused` (INVALID_HTTP) for headers that can be read in two ways.
    """

    def __init__(self, headers: RawHeaders) -> None:
        self.by_name = read_headers(headers)
        self._meta: Meta | None = None

    @cached_property
    def credential(self) -> Credential:
        """The bearer token, or the whole header as relay-go takes it. Raises UNAUTHENTICATED when there is none."""
        return Credential(bearer(self.by_name))

    @cached_property
    def given_id(self) -> str | None:
        """The client's X-Request-ID, when it is harmless."""
        given = self.by_name.get("x-request-id")
        return given if given is not None and _HARMLESS_ID.fullmatch(given) else None

    @cached_property
    def ends_connection(self) -> bool:
        """Whether an answer before the body must be the connection's last.

        A client that waits for `100 Continue` may or may not send its body after
        the answer (RFC 9110 section 10.1.1); a body without a length may never end.
        Any other body is read and dropped, so that its sender gets to see the answer.
        """
        return "expect" in self.by_name or "transfer-encoding" in self.by_name

    @cached_property
    def version(self) -> str | None:
        """The A2A version that the client asks for."""
        return self.by_name.get(versions.VERSION_HEADER) or None

    @cached_property
    def service_headers(self) -> dict[str, str]:
        """A2A's own headers, which pass through; names that the relay stamps are not among them."""
        return {
            name: text
            for name, text in self.by_name.items()
            if name.startswith(("a2a-", "x-a2a-")) and is_service_header(name)
        }

    @cached_property
    def stripped(self) -> tuple[str, ...]:
        """Names that only the relay may set (`A2A-Relay-...`), and that are none of its options."""
        return tuple(
            name
            for name in self.by_name
            if name.replace("_", "-").startswith(_RELAYS_OWN) and name not in _OPTION_NAMES
        )

    def meta(self, principal: Principal, version: str | None) -> Meta:
        """What the agent is told beside the body of a call with these headers."""
        meta = self._meta
        if meta is None or meta.principal is not principal or meta.version != version:
            meta = self._meta = Meta(principal, version, self.service_headers, self.by_name.get("traceparent"))
        return meta

    @cached_property
    def options(self) -> Options:
        """What the client asks of the relay itself.

        `A2A-Relay-Timeout` and `A2A-Relay-TTL` in seconds, `Prefer` (RFC 7240: `wait`, `respond-async`),
        `Idempotency-Key`, `Last-Event-ID`. Raises INVALID_REQUEST for what cannot be meant so, STREAM_GONE for a
        position that is none of ours.
        """
        return read_options(self.by_name) if not _OPTION_NAMES.isdisjoint(self.by_name) else NO_OPTIONS

    def require_json(self) -> None:
        """Refuse multipart; any other content type is taken when the body is JSON (decision 27)."""
        if self.by_name.get("content-type", "").strip().lower().startswith("multipart/"):
            raise Refused(Reason.CONTENT_TYPE_NOT_SUPPORTED)
        if self.by_name.get("content-encoding", "identity").lower() != "identity":
            raise Refused(Reason.CONTENT_TYPE_NOT_SUPPORTED, "a compressed body is not supported")

    def require_length(self, limit: int) -> None:
        """Refuse a body whose length is too large before it costs."""
        length = self.by_name.get("content-length", "0")
        if _LENGTH.fullmatch(length) and (len(length) > 18 or int(length) > limit):
            raise Refused(Reason.TOO_LARGE, metadata={"limit": str(limit)})


class RequestHead:
    """Method, raw target and headers of a request, and the id under which it is logged."""

    def __init__(self, verb: str, target: bytes, block: HeaderBlock, scheme: str, client: str) -> None:
        self.verb = verb
        self.target = target
        self.block = block
        self.scheme = scheme
        self.client = client
        self.host = client.rpartition(":")[0]
        """The numeric address of whoever asks; behind a trusted proxy it is not the peer's."""
        self.id = block.given_id or new_request_id()

    @property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name."""
        return self.block.by_name

    @property
    def credential(self) -> Credential:
        """As `HeaderBlock.credential`."""
        return self.block.credential


def read_headers(headers: RawHeaders) -> dict[str, str]:
    """Headers by lower-case name. One that must be single and is not makes the request ambiguous."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        if name not in found:
            found[name] = value
        elif name in _SINGLE:
            if found[name] != value:
                raise Refused(Reason.INVALID_HTTP, f"the header {name} is given twice")
        else:
            found[name] = f"{found[name]}, {value}"
    return found


def require_plain_head(version: str, headers: RawHeaders) -> None:
    """Refuse a head that the next HTTP implementation on the way may read otherwise. Raises INVALID_HTTP.

    `headers` with lower-case names. A transfer coding other than `chunked` alone, one under HTTP/1.0, names that
    become others' when underscores are taken for hyphens, and no Host or two of them (RFC 9112 sections 3.2, 6.1).
    """
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            if version != "1.1" or value.strip().lower() != b"chunked":
                raise Refused(Reason.INVALID_HTTP, "this transfer coding is not taken")
        elif b"_" in name and name.replace(b"_", b"-") in _NEVER_WITH_UNDERSCORES:
            raise Refused(Reason.INVALID_HTTP, "a header's name is not acceptable")
    if hosts > 1 or (not hosts and version == "1.1"):
        raise Refused(Reason.INVALID_HTTP, "one Host header is needed")


def read_options(headers: Mapping[str, str]) -> Options:
    """The options in a head. Raises INVALID_REQUEST or STREAM_GONE."""
    timeout, ttl = headers.get(TIMEOUT_HEADER), headers.get(TTL_HEADER)
    last_event_id, key = headers.get("last-event-id"), headers.get(KEY_HEADER, "")
    if timeout is not None and (not _SECONDS.fullmatch(timeout) or not float(timeout)):
        raise Refused(Reason.INVALID_REQUEST, "A2A-Relay-Timeout is a number of seconds")
    if ttl is not None and (not _LENGTH.fullmatch(ttl) or not 0 < len(ttl) <= 9 or not int(ttl)):
        raise Refused(Reason.INVALID_REQUEST, "A2A-Relay-TTL is a whole number of seconds")
    if KEY_HEADER in headers and not _KEY.fullmatch(key):
        raise Refused(Reason.INVALID_REQUEST, "Idempotency-Key is 1 to 255 printable characters")
    position = Position.parse(last_event_id) if last_event_id else None
    if last_event_id and position is None:
        raise Refused(Reason.STREAM_GONE)
    preferences = _preferences(headers.get("prefer", ""))
    wait = preferences.get("wait", "")
    return Options(
        timeout_seconds=None if timeout is None else float(timeout),
        position=position,
        wait_seconds=min(float(wait), MAX_WAIT_SECONDS) if _SECONDS.fullmatch(wait) else None,
        ttl_seconds=None if ttl is None else int(ttl),
        idempotency_key=key,
        respond_async="respond-async" in preferences,
    )


def _preferences(text: str) -> dict[str, str]:
    """The preferences of `Prefer` (RFC 7240), the first of each name; what is not understood is not meant."""
    found: dict[str, str] = {}
    for item in text.split(","):
        name, _, value = item.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def bearer(headers: Mapping[str, str]) -> str:
    """The credential of a request. Raises UNAUTHENTICATED."""
    text = headers.get("authorization", "")
    scheme, _, rest = text.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else text
    if not token:
        raise Refused(Reason.UNAUTHENTICATED)
    return token


_EPOCH = secrets.token_hex(4)
_next_number = itertools.count(1).__next__


def new_request_id() -> str:
    """An id of our own: this process's epoch and a number."""
    return f"{_EPOCH}{_next_number() & 0xFFFFFFFF:08x}"
