"""Failed logins are slowed, by where they come from and as whom (S23).

Only failures are: whoever has shown a credential that was good goes on from the same address, and nobody is kept
waiting on an open socket.
"""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode
from collections import OrderedDict

from a2a_relay.core.credential import Credential
from a2a_relay.core.keys import HEAD
from a2a_relay.core.networks import Networks, contains, network_of
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.clock import Clock

ALL_AT_ONCE = 10
"""As many times the allowance of one claim may fail from one network under all claims together."""
MAX_TRACKED = 20_000
"""Sources of failures, and good credentials, that are remembered; the oldest go."""
_MINUTE_SECONDS = 60.0
_TINY_SECONDS = 1e-6
_PREFIX_DIGITS = 6
_MAX_CLAIM_CHARS = 200
_Source = tuple[str, str]


class LoginGuard:
    """Counts failures by network (an IPv4 address, an IPv6 /64) and claim: a key's first characters, a token's names.

    Each may fail `allowance` times at once, and gets as many back over a minute. Over that it is refused unseen.
    """

    def __init__(self, clock: Clock, allowance: int, exempt: Networks) -> None:
        """`allowance` 0: nothing is counted. `exempt` are addresses from which nothing is."""
        self._clock = clock
        self._allowance = allowance
        self._exempt = exempt
        self.known: OrderedDict[bytes, None] = OrderedDict()
        """Digests of credentials that were good."""
        self.failures: OrderedDict[_Source, float] = OrderedDict()
        """When all failures of each source will be forgotten; while there are none, nobody has to wait."""

    def require_patience(self, credential: Credential, host: str) -> None:
        """Refuse an unknown credential from where too many have failed. Raises RATE_LIMITED."""
        if credential.digest in self.known:
            return
        now = self._clock.monotonic()
        self._forget(now)
        if not self.failures or not (network := self._network(host)):
            return
        for source, allowance in self._sources(network, credential.text):
            step = _MINUTE_SECONDS / allowance
            wait = self.failures.get(source, now) - now - _MINUTE_SECONDS + step
            if wait > _TINY_SECONDS:
                raise Refused(
                    Reason.RATE_LIMITED, "too many failed logins", retry_after_seconds=max(1, math.ceil(wait))
                )

    def note_failure(self, credential: Credential, host: str) -> None:
        """A credential was not good."""
        self.known.pop(credential.digest, None)
        network = self._network(host) if self._allowance else ""
        if not network:
            return
        now = self._clock.monotonic()
        for source, allowance in self._sources(network, credential.text):
            self.failures[source] = max(self.failures.get(source, now), now) + _MINUTE_SECONDS / allowance
            self.failures.move_to_end(source)
        while len(self.failures) > MAX_TRACKED:
            self.failures.popitem(last=False)

    def note_success(self, credential: Credential) -> None:
        """A credential was good."""
        self.known[credential.digest] = None
        if len(self.known) > MAX_TRACKED:
            self.known.popitem(last=False)

    def _forget(self, now: float) -> None:
        """Those that were touched longest ago are over first, within a minute of order."""
        while self.failures and next(iter(self.failures.values())) <= now:
            self.failures.popitem(last=False)

    def _sources(self, network: str, text: str) -> tuple[tuple[_Source, int], ...]:
        return ((network, _claim(text)), self._allowance), ((network, ""), self._allowance * ALL_AT_ONCE)

    def _network(self, host: str) -> str:
        """The network that an address stands for; empty when it is exempt, or none."""
        return "" if contains(self._exempt, host) else network_of(host)


def _claim(text: str) -> str:
    """As whom somebody wants to log in, as far as it says so."""
    if text.startswith(HEAD):
        return text[: text.find("_", len(HEAD)) + 1 + _PREFIX_DIGITS]
    try:
        payload = text.split(".", 2)[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        names = [claims.get(name, "") for name in ("tenant", "agent_id", "iss", "sub")]
    except (ValueError, IndexError, AttributeError, RecursionError):
        return "?"
    return "/".join(str(name)[:_MAX_CLAIM_CHARS] for name in names) or "?"
