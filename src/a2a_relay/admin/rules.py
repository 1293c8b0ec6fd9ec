"""What tenants and keys may be made of. Everything here raises INVALID_PARAMS or PERMISSION_DENIED."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple
from urllib.parse import urlsplit

from a2a_relay.auth.jwks import read_key_set
from a2a_relay.core import scopes as known_scopes
from a2a_relay.core.address import is_name
from a2a_relay.core.keys import KeyForm, KeyRecord
from a2a_relay.core.networks import Network, read_networks
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.rates import Subject, check_limit
from a2a_relay.core.tenants import Issuer
from a2a_relay.errors import Reason, Refused
from a2a_relay.settings import is_loopback

MAX_REASON_CHARS = 1000
PROOF_KEY_BYTES = 32
MAX_LIFE_SECONDS = 100 * 366 * 24 * 3600.0
ALGORITHMS = ("RS256", "ES256", "EdDSA")
_ISSUER_ROLES = ("sender", "agent", "admin")


class KeyOrder(NamedTuple):
    """A key as it is asked for. Durations are in seconds; None stands for what the role has by default."""

    name: str
    role: Role
    agent: str = ""
    form: KeyForm = KeyForm.SECRET
    scopes: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    networks: tuple[str, ...] = ()
    limits: Mapping[str, float] = {}
    expires_seconds: float | None = None
    proof_key: bytes | None = None


def invalid(message: str) -> Refused:
    """What was asked for makes no sense."""
    return Refused(Reason.INVALID_PARAMS, message)


def require_name(text: str, what: str) -> None:
    """Refuse what cannot be the name of a new thing."""
    if not is_name(text):
        raise invalid(f"the {what} is no name: 1 to 63 letters, digits, - and _, and no - or _ first")


def require_networks(texts: Iterable[str]) -> None:
    """Refuse what is neither an address nor a CIDR range."""
    try:
        read_networks(texts)
    except ValueError as error:
        raise invalid("networks are addresses and CIDR ranges") from error


def require_limits(limits: Mapping[str, float | None], subject: Subject) -> None:
    """Refuse overrides that are no limits of a tenant's or a key's."""
    for name, value in limits.items():
        try:
            check_limit(name, 0 if value is None else value, subject)
        except ValueError as error:
            raise invalid(str(error)) from error


def require_key(order: KeyOrder, tenant: str) -> None:
    """Refuse a key that contradicts itself."""
    require_name(order.name, "key's name")
    if (order.role is Role.OPERATOR) != (tenant == ""):
        raise invalid("operators' keys belong to no tenant, and all others to one")
    if (order.role is Role.AGENT) != bool(order.agent):
        raise invalid("an agent's key names its agent, and no other key does")
    for agent in (*(order.agents or ()), *([order.agent] if order.agent else [])):
        require_name(agent, "agent")
    if order.form is KeyForm.HS256 and order.role is not Role.AGENT:
        raise invalid("keys of the form hs256 are for agents, which sign their own tokens")
    if not all(map(known_scopes.is_known, order.scopes or ())):
        raise invalid(f"known scopes are {', '.join(sorted(known_scopes.KNOWN))} and method:<name>")
    if order.expires_seconds is not None and not 0 < order.expires_seconds <= MAX_LIFE_SECONDS:
        raise invalid("a key expires after some time, and within a hundred years")
    if order.proof_key is not None and (order.role is not Role.AGENT or len(order.proof_key) != PROOF_KEY_BYTES):
        raise invalid("a proof key is for agents: the 32 bytes of an Ed25519 public key")
    require_networks(order.networks)
    require_limits(order.limits, Subject.KEY)


def require_within(principal: Principal, key: KeyOrder | KeyRecord, *, expires: bool) -> None:
    """Refuse to hand out more than the maker has: nobody climbs by a key of its own making.

    Bodies are for the tenant's own admins to show, and only for a while (S17).
    """
    scopes, agents = key.scopes, key.agents
    is_more = principal.scopes is not None and (scopes is None or not scopes <= principal.scopes)
    if principal.agents is not None:
        is_more = is_more or agents is None or not agents | ({key.agent} - {""}) <= principal.agents
    if principal.role is not Role.OPERATOR and key.role is Role.OPERATOR:
        is_more = True
    if scopes is not None and known_scopes.BODIES in scopes and (principal.role is Role.OPERATOR or not expires):
        is_more = True
    if is_more:
        raise Refused(Reason.PERMISSION_DENIED, "a key may not do more than its maker")


def require_bounds(maker: KeyRecord | None, networks: Iterable[str], expires_at: float | None) -> None:
    """Refuse a key that is good in more places, or for longer, than the key of its maker.

    None: its maker has shown none, and is bound to neither.
    """
    if maker is None:
        return
    allowed, asked = read_networks(maker.networks), read_networks(networks)
    is_more = bool(allowed) and not (asked and all(any(_is_within(one, of) for of in allowed) for one in asked))
    if maker.expires_at is not None:
        is_more = is_more or expires_at is None or expires_at > maker.expires_at
    if is_more:
        raise Refused(Reason.PERMISSION_DENIED, "a key is good nowhere, and at no time, where its maker's is not")


def _is_within(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.subnet_of(other)
    return isinstance(other, IPv6Network) and one.subnet_of(other)


def require_issuer(issuer: Issuer) -> None:
    """Refuse an issuer that could never be believed, or too easily."""
    if not issuer.url or not issuer.audiences or not all(issuer.audiences):
        raise invalid("an issuer has a URL and at least one audience")
    if bool(issuer.jwks_url) == bool(issuer.jwks):
        raise invalid("an issuer has either jwks_url or jwks")
    if issuer.jwks_url and not _is_safe(issuer.jwks_url):
        raise invalid("jwks_url is an https:// URL")
    if issuer.jwks:
        _require_key_set(issuer.jwks)
    if not issuer.algorithms or not set(issuer.algorithms) <= set(ALGORITHMS):
        raise invalid(f"algorithms are of {', '.join(ALGORITHMS)}")
    if not issuer.roles or not set(issuer.roles) <= set(_ISSUER_ROLES):
        raise invalid(f"roles are of {', '.join(_ISSUER_ROLES)}")


def _require_key_set(text: str) -> None:
    """Refuse a set without any key that can be used, and one that gives away what signs."""
    try:
        found = read_key_set(text.encode())
    except ValueError as error:
        raise invalid(f"jwks is no set of keys: {error}") from error
    if not found:
        raise invalid("jwks has no RS256, ES256 or EdDSA key that can be used")
    if any(isinstance(key, dict) and "d" in key for key in json.loads(text)["keys"]):
        raise invalid("jwks holds a private key: give the public ones alone")


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
