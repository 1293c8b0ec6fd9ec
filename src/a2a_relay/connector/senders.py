"""Who is asking, for the author of an agent: checks the `A2A-Relay-Sender` of a call, offline.

    keys = RelayKeys("https://relay.example")
    sender = await keys.verify(request.headers["a2a-relay-sender"], audience="acme/zaf")

Needs the extra `verify`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import jwt

from a2a_relay.connector.relay_url import RelayUrl
from a2a_relay.connector.relay_url import read as read_relay_url
from a2a_relay.errors import MissingExtra, RelayError
from a2a_relay.wire.stamps import ALGORITHM, KEY_SET_PATH, LETTER_TYPE, LIFE_SECONDS, SENDER_TYPE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LEEWAY_SECONDS = 60
"""How far the clocks of a relay and an agent may be apart."""
HEADER = b"a2a-relay-sender"
SCOPE_KEY = "a2a_relay.sender"
REFETCH_SECONDS = 60.0
"""An unknown key has the relay asked for its keys at most so often."""
RETRY_SECONDS = 5.0
"""The same while they could not be read."""
_MAX_STATEMENT_CHARS = 8192
_MAX_KEY_SET_BYTES = 64 * 1024
_MAX_KEYS = 32
_FETCH_SECONDS = 5.0
_CACHED = 1024


class SenderRefused(RelayError):
    """A statement about a sender is not to be believed; the message says why."""


class Sender(NamedTuple):
    """Who makes a call, as a relay has vouched for it. Instants are wall time in seconds."""

    identity: str
    role: str
    tenant: str
    key: str
    """The id of the key that it has shown; empty where it has shown a token."""
    issuer: str
    """Who has signed its token; empty where nobody but the relay has."""
    via: tuple[str, ...]
    """Relays that the call has come through before this one."""
    relay: str
    """The public URL of the relay that says so."""
    audience: str
    """`tenant/agent` that it says it to."""
    id: str
    """`jti`: of the statement, which many calls of one sender share."""
    expires_at: float
    claims: Mapping[str, Any]
    """All that was signed. Of a letter also `letter`, `accepted_at`, `delivered_at`, `method`, `params_sha256`."""

    @property
    def is_letter(self) -> bool:
        """Whether this speaks of one letter, and not of a sender for a while."""
        return "letter" in self.claims


class KeySet:
    """The public keys of a relay, by `kid`."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, kid: str) -> bool:
        return kid in self._keys

    def __getitem__(self, kid: str) -> Ed25519PublicKey:
        return self._keys[kid]

    @classmethod
    def read(cls, document: bytes | str | Mapping[str, Any]) -> KeySet:
        """The Ed25519 keys of a JWK Set. Raises `SenderRefused` for what is none, `MissingExtra`."""
        try:
            found = document if isinstance(document, Mapping) else json.loads(document)
            listed = found["keys"]
            return cls({jwk["kid"]: _public_key(jwk) for jwk in listed[:_MAX_KEYS] if _is_ed25519(jwk)})
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise SenderRefused("the relay's key set cannot be read") from error


def require_extra() -> None:
    """Raise `MissingExtra` where signatures cannot be checked."""
    if not is_available():
        raise MissingExtra("checking who the relay says is calling", "verify")


def is_available() -> bool:
    """Whether signatures can be checked here."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401  only whether it is there
    except ImportError:
        return False
    return True


def kid_of(statement: str) -> str:
    """The id of the key that has signed a statement, unchecked. Raises `SenderRefused`."""
    if len(statement) > _MAX_STATEMENT_CHARS:
        raise SenderRefused("the statement is too long")
    try:
        head = jwt.get_unverified_header(statement)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise SenderRefused("this is no signed statement") from error
    if head.get("alg") != ALGORITHM or head.get("typ") not in (SENDER_TYPE, LETTER_TYPE) or "crit" in head:
        raise SenderRefused("this is no statement about a sender")
    kid = head.get("kid")
    if not isinstance(kid, str):
        raise SenderRefused("the statement names no key")
    return kid


def verify(statement: str, keys: KeySet, audience: str, *, now: float | None = None) -> Sender:
    """Check a statement: its signature, that it is meant for `audience` (`tenant/agent`), and that it is not over.

    Raises `SenderRefused`.
    """
    kid = kid_of(statement)
    if kid not in keys:
        raise SenderRefused("the statement is signed with a key that is not the relay's")
    try:
        claims = jwt.decode(
            statement,
            keys[kid],
            algorithms=[ALGORITHM],
            audience=audience,
            options={
                "require": ["iss", "sub", "aud", "exp", "iat", "jti"],
                "strict_aud": True,
                "verify_exp": False,  # below, with the injected time
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
        raise SenderRefused(f"the statement is not good: {error}") from error
    sender = _sender(claims)
    require_fresh(sender, time.time() if now is None else now)
    is_letter = jwt.get_unverified_header(statement)["typ"] == LETTER_TYPE
    if is_letter != sender.is_letter:
        raise SenderRefused("the statement is not of its type")
    return sender


def require_fresh(sender: Sender, now: float) -> None:
    """Raise `SenderRefused` for a statement that is over, or is made for another time."""
    if now > sender.expires_at + LEEWAY_SECONDS:
        raise SenderRefused("the statement is over (is this machine's clock right?)")
    if sender.expires_at > now + LIFE_SECONDS + LEEWAY_SECONDS:
        raise SenderRefused("the statement is from a time ahead (is this machine's clock right?)")


class RelayKeys:
    """The keys of one relay, fetched when they are needed and kept; checked statements are remembered, bounded."""

    def __init__(
        self,
        relay: str | RelayUrl,
        *,
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`relay` is its URL: only its own `/.well-known/jwks.json` is asked. Raises `MissingExtra`."""
        require_extra()
        self._relay = relay if isinstance(relay, RelayUrl) else read_relay_url(relay, insecure=insecure)
        self._tls = tls
        self._transport = transport
        self._now = now
        self._monotonic = monotonic
        self._keys = KeySet({})
        self._not_before = float("-inf")
        self._fetching = asyncio.Lock()
        self._checked: OrderedDict[tuple[str, str], Sender] = OrderedDict()

    async def verify(self, statement: str, audience: str) -> Sender:
        """As `verify`; a key that is new here is fetched first. Raises `SenderRefused`."""
        sender = self._checked.get((statement, audience))
        if sender is not None:
            require_fresh(sender, self._now())
            return sender
        kid = kid_of(statement)
        if kid not in self._keys:
            await self._fetch(kid)
        sender = verify(statement, self._keys, audience, now=self._now())
        self._checked[statement, audience] = sender
        if len(self._checked) > _CACHED:
            self._checked.popitem(last=False)
        return sender

    async def _fetch(self, kid: str) -> None:
        async with self._fetching:
            if kid in self._keys or self._monotonic() < self._not_before:
                return
            self._not_before = self._monotonic() + RETRY_SECONDS
            self._keys = KeySet.read(await self._read())
            self._checked.clear()  # a key that is gone has signed nothing that is still good
            self._not_before = self._monotonic() + REFETCH_SECONDS

    async def _read(self) -> bytes:
        url = self._relay.http + KEY_SET_PATH
        try:
            async with (
                asyncio.timeout(_FETCH_SECONDS),
                httpx.AsyncClient(
                    verify=self._tls or self._relay.is_secure,  # without TLS there is nothing to set up
                    follow_redirects=False,
                    trust_env=self._relay.is_secure and not self._relay.is_loopback,
                    transport=self._transport,
                ) as client,
                client.stream("GET", url, headers={"accept": "application/json"}) as response,
            ):
                if response.status_code != 200:
                    raise SenderRefused(f"{url} answered HTTP {response.status_code}")
                return await _read_bounded(response)
        except (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError) as error:
            raise SenderRefused(f"{url} cannot be read: {str(error) or type(error).__name__}") from error


async def _read_bounded(response: httpx.Response) -> bytes:
    found = bytearray()
    async for part in response.aiter_bytes():
        found += part
        if len(found) > _MAX_KEY_SET_BYTES:
            raise SenderRefused("the relay's key set is too large")
    return bytes(found)


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class SenderMiddleware:
    """ASGI: an agent behind this sees only `A2A-Relay-Sender` headers that are good, whoever has posted them (S11).

    The sender is `scope["a2a_relay.sender"]`, None where the call names none. A bad statement is removed; with
    `is_required` a call without a good one is answered 403. `keys` are a `RelayKeys` or a `KeySet`.
    """

    def __init__(self, app: App, keys: RelayKeys | KeySet, audience: str, *, is_required: bool = False) -> None:
        self._app = app
        self._keys = keys
        self._audience = audience
        self._is_required = is_required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        stated = [value for name, value in scope["headers"] if name.lower() == HEADER]
        sender = await self._check(stated[0].decode("latin-1")) if len(stated) == 1 else None
        if sender is None and self._is_required and not _is_public(scope):
            await _refuse(scope, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if not _is_taken_for_it(name)]
        if sender is not None:
            headers.append((HEADER, stated[0]))
        await self._app({**scope, "headers": headers, SCOPE_KEY: sender}, receive, send)

    async def _check(self, statement: str) -> Sender | None:
        try:
            if isinstance(self._keys, KeySet):
                return verify(statement, self._keys, self._audience)
            return await self._keys.verify(statement, self._audience)
        except SenderRefused:
            return None


def _is_taken_for_it(name: bytes) -> bool:
    """Whether some framework takes a header for the sender's: not all tell `_` from `-`."""
    return name.lower().replace(b"_", b"-") == HEADER


def _is_public(scope: Scope) -> bool:
    """The card, which the connector reads for itself."""
    return scope.get("method") in ("GET", "HEAD") and str(scope.get("path", "")).endswith(
        ("/.well-known/agent-card.json", "/.well-known/agent.json")
    )


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b'{"error":"no good A2A-Relay-Sender"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _sender(claims: Mapping[str, Any]) -> Sender:
    texts = {name: claims.get(name, "") for name in ("sub", "role", "tenant", "key", "issuer", "iss", "aud", "jti")}
    via, expires_at = claims.get("via", []), claims.get("exp")
    is_number = isinstance(expires_at, int | float) and not isinstance(expires_at, bool)
    are_texts = all(isinstance(text, str) for text in texts.values())
    if not is_number or not are_texts or not isinstance(via, list) or not all(isinstance(hop, str) for hop in via):
        raise SenderRefused("the statement cannot be read")
    return Sender(
        identity=texts["sub"],
        role=texts["role"],
        tenant=texts["tenant"],
        key=texts["key"],
        issuer=texts["issuer"],
        via=tuple(via),
        relay=texts["iss"],
        audience=texts["aud"],
        id=texts["jti"],
        expires_at=float(claims["exp"]),
        claims=claims,
    )


def _is_ed25519(jwk: Any) -> bool:
    return (
        isinstance(jwk, Mapping)
        and jwk.get("kty") == "OKP"
        and jwk.get("crv") == "Ed25519"
        and jwk.get("use", "sig") == "sig"
        and isinstance(jwk.get("kid"), str)
        and isinstance(jwk.get("x"), str)
    )


def _public_key(jwk: Mapping[str, Any]) -> Ed25519PublicKey:
    require_extra()
    from base64 import urlsafe_b64decode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(jwk["x"] + "=" * (-len(jwk["x"]) % 4)))
