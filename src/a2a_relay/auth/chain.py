"""Every kind of credential at one door: which kind it is follows from its text, and each kind has its own keys."""

from __future__ import annotations

from collections import OrderedDict

from a2a_relay.auth.api_keys import ApiKeys
from a2a_relay.auth.issuers import Issuers
from a2a_relay.auth.legacy import LegacyTokens
from a2a_relay.auth.signing_keys import SigningKeys
from a2a_relay.auth.tokens import read_token
from a2a_relay.auth.verified import Verified, unauthenticated
from a2a_relay.core.credential import Credential
from a2a_relay.core.keys import is_key
from a2a_relay.core.principal import Principal
from a2a_relay.ports.credentials import CredentialStore

MAX_CACHED = 10_000
GOOD_SECONDS = 60.0
"""For so long a credential is good without another look, unless a tenant or a key changes; so long is also as exact
as it is kept when it was last used."""


class AuthenticatorChain:
    """The authenticator of a relay.

    A text that begins as keys do is a key. Any other is a token: signed with a secret, it is tried with the keys of
    the tenant that it names, then with relay-go's secret; signed with anything else, it is its issuer's or nobody's.
    So no key is ever asked to verify what it was not made for.
    """

    def __init__(
        self,
        credentials: CredentialStore,
        api_keys: ApiKeys,
        signing_keys: SigningKeys,
        issuers: Issuers,
        legacy: LegacyTokens,
    ) -> None:
        self._credentials = credentials
        self._api_keys = api_keys
        self._signing_keys = signing_keys
        self._issuers = issuers
        self._legacy = legacy
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        credentials.watch(self._changed)
        issuers.watch(self.forget)

    def authenticate(self, credential: Credential, now: float) -> Principal:
        """Who a credential speaks for. Raises UNAUTHENTICATED."""
        known = self._known.get(credential.digest)
        if known is not None and now < known[1]:
            return known[0]
        self._known.pop(credential.digest, None)
        principal, good_until = self._verify(credential, now)
        self._known[credential.digest] = (principal, min(good_until, now + GOOD_SECONDS))
        if len(self._known) > MAX_CACHED:
            self._known.popitem(last=False)
        return principal

    def recheck(self, principal: Principal, now: float) -> Principal:
        """The principal as it would be authenticated now: what it may do, and until when, as its key says today.

        Raises UNAUTHENTICATED when its key, its issuer or its tenant is not good any more.
        """
        if principal.is_legacy:
            return self._legacy.principal(principal)
        if not principal.key:
            return self._issuers.principal(principal)
        found = self._credentials.find(principal.credential)
        if found is None:
            raise unauthenticated("unknown key")
        if principal.issuer:
            return self._signing_keys.principal(*found, principal, now)
        return self._api_keys.principal(*found, now)

    def load(self) -> None:
        """Have the keys of all issuers at hand. Call it on the running loop."""
        self._issuers.load()

    def forget(self) -> None:
        """Nothing that was found before counts any more (S25)."""
        self._known.clear()
        self._signing_keys.forget()

    def _changed(self) -> None:
        self.forget()
        self._issuers.load()

    def _verify(self, credential: Credential, now: float) -> Verified:
        if is_key(credential.text):
            return self._api_keys.authenticate(credential, now)
        token = read_token(credential.text)
        if token is not None:
            if not token.algorithm.startswith("HS"):
                return self._issuers.authenticate(token, now)
            found = self._signing_keys.authenticate(token, now)
            if found is not None:
                return found
        return self._legacy.authenticate(credential, now)
