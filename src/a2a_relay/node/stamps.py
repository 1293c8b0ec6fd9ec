"""Who calls, vouched for: an assertion for each sender and session, and a MAC for each call (decision 15)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, sender_facts
from a2a_relay.core.principal import Principal
from a2a_relay.errors import RelayError
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.signer import Signer
from a2a_relay.wire import stamps

MAX_ASSERTIONS = 10_000
"""Of all sessions; an older one that is needed again is signed again."""
RENEWED_BEFORE_SECONDS = 60
"""An assertion goes with no more calls so long before its end: they take time to be read."""

_place_of = id
"""An authenticator hands out the same principal as long as its credential is good."""


class _Assertion(NamedTuple):
    principal: Principal
    """Held, so that no other has its place in memory."""
    jti: str
    head: bytes
    """The stamp's bytes up to the MAC."""
    renewed_at: float


class Stamps:
    """Opens the stampers of sessions, and keeps their assertions together, within one bound."""

    def __init__(self, signer: Signer, clock: Clock, notice: Callable[..., None]) -> None:
        self._signer = signer
        self.clock = clock
        self.assertions: dict[tuple[str, int], _Assertion] = {}
        """By session and the place of the principal, the oldest first."""
        self._notice = notice

    @property
    def key_set(self) -> bytes | None:
        """What signatures are checked with, as a JWK Set; None where nothing can be signed, which is told."""
        try:
            return self._signer.key_set
        except RelayError as error:
            self._notice("stamps_unavailable", message=str(error))
            return None

    def open(self, session: str, address: Address, base_url: str) -> SessionStamper | None:
        """The stamper of a new session; None where nothing can be signed."""
        if self.key_set is None:
            return None
        return SessionStamper(self, self._signer, session, address, base_url)

    def keep(self, key: tuple[str, int], assertion: _Assertion) -> None:
        """Remember an assertion until it is over, or too many others were made."""
        self.assertions.pop(key, None)
        self.assertions[key] = assertion
        if len(self.assertions) > MAX_ASSERTIONS:
            del self.assertions[next(iter(self.assertions))]


class SessionStamper:
    """Vouches for the senders of one session's calls, under a key of its own."""

    __slots__ = ("_audience", "_base_url", "_mac", "_session", "_signer", "_stamps", "key")

    def __init__(self, owner: Stamps, signer: Signer, session: str, address: Address, base_url: str) -> None:
        self.key = secrets.token_bytes(stamps.KEY_BYTES)
        """What its agent side checks the MACs with."""
        self._mac = stamps.Mac(self.key)
        self._stamps = owner
        self._signer = signer
        self._session = session
        self._audience = stamps.audience(*address)
        self._base_url = base_url

    def stamp(self, id: str, call: Call) -> bytes:
        """The assertion of a call's sender with a MAC over the call; a letter's whole statement."""
        letter = call.meta.letter_claims
        if letter is not None:
            return self._stamp_letter(id, call, letter)
        principal, held = call.meta.principal, self._stamps
        key = (self._session, _place_of(principal))
        found = held.assertions.get(key)
        if found is None or found.principal is not principal or held.clock.now() >= found.renewed_at:
            found = self._assert(principal)
            held.keep(key, found)
        tag = self._mac(found.jti, id, call.method, call.params, call.rest)
        return b'%b%b"}' % (found.head, tag)

    def _assert(self, principal: Principal) -> _Assertion:
        now = int(self._stamps.clock.now())
        claims = self._claims(principal, now)
        signed = self._signer.sign(stamps.SENDER_TYPE, claims)
        head = b'{"assertion":"%b","mac":"' % signed.encode()
        return _Assertion(principal, claims["jti"], head, now + stamps.LIFE_SECONDS - RENEWED_BEFORE_SECONDS)

    def _stamp_letter(self, id: str, call: Call, letter: Any) -> bytes:
        now = int(self._stamps.clock.now())
        claims = self._claims(call.meta.principal, now) | {
            **letter,
            "delivered_at": now,
            "frame": id,
            "method": call.method,
            "params_sha256": stamps.params_digest(call.params),
        }
        return b'{"assertion":"%b"}' % self._signer.sign(stamps.LETTER_TYPE, claims).encode()

    def _claims(self, principal: Principal, now: int) -> dict[str, Any]:
        facts = sender_facts(principal)
        return {
            "iss": self._base_url,
            "sub": facts.pop("identity"),
            "aud": self._audience,
            **facts,
            "iat": now,
            "exp": now + stamps.LIFE_SECONDS,
            "jti": secrets.token_urlsafe(16),
            "cnf": {"session": self._session},
        }
