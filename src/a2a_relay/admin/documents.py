"""What the admin API takes and gives, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from a2a_relay.core.audit import AuditRecord
from a2a_relay.core.keys import KeyForm, KeyRecord
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import Issuer, TenantRecord, TenantState
from a2a_relay.fronts.http.answer import instant

Reason = Annotated[str, Meta(max_length=1000)]
Names = tuple[str, ...]
Limit = Annotated[float, Meta(ge=0)]


class Nothing(Struct, forbid_unknown_fields=True):
    """No question."""


class Why(Struct, forbid_unknown_fields=True):
    reason: Reason = ""


class Page(Struct, forbid_unknown_fields=True):
    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class AuditQuery(Struct, forbid_unknown_fields=True):
    tenant: str = ""
    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class IssuerQuery(Struct, forbid_unknown_fields=True):
    url: str
    reason: Reason = ""


class TenantOrder(Struct, forbid_unknown_fields=True):
    name: str
    networks: Names = ()
    limits: dict[str, Limit] = {}
    takes_legacy: bool = True
    on_second_session: str = ""
    takeover_hold_seconds: Limit | None = None
    reason: Reason = ""


class TenantChange(Struct, forbid_unknown_fields=True):
    state: TenantState | UnsetType = UNSET
    networks: Names | UnsetType = UNSET
    on_second_session: str | UnsetType = UNSET
    takeover_hold_seconds: Limit | UnsetType | None = UNSET
    reason: Reason = ""


class LimitsChange(Struct, forbid_unknown_fields=True):
    limits: dict[str, Limit | None]
    reason: Reason = ""


class LegacyChange(Struct, forbid_unknown_fields=True):
    takes_legacy: bool
    reason: Reason = ""


class IssuerOrder(Struct, forbid_unknown_fields=True):
    url: str
    audiences: Names
    jwks_url: str = ""
    jwks: str = ""
    algorithms: Names = ("RS256", "ES256", "EdDSA")
    roles: Names = ("sender",)
    reason: Reason = ""


class NewKey(Struct, forbid_unknown_fields=True):
    name: str
    role: Role
    agent: str = ""
    form: KeyForm = KeyForm.SECRET
    scopes: Names | None = None
    agents: Names | None = None
    networks: Names = ()
    limits: dict[str, Limit] = {}
    expires_seconds: Limit | None = None
    proof_key: bytes | None = None
    """The 32 bytes of an Ed25519 public key, in base64."""
    reason: Reason = ""


class Rotation(Struct, forbid_unknown_fields=True):
    overlap_seconds: Limit = 86400.0
    reason: Reason = ""


class KeyText(Struct, forbid_unknown_fields=True):
    key: str


class IssuerView(Struct):
    url: str
    audiences: Names
    jwks_url: str
    jwks: str
    algorithms: Names
    roles: Names


class Issuers(Struct):
    issuers: tuple[IssuerView, ...]


class TenantView(Struct):
    name: str
    state: TenantState
    created_at: str
    takes_legacy: bool
    networks: Names
    limits: dict[str, float]
    issuers: tuple[IssuerView, ...]
    on_second_session: str
    takeover_hold_seconds: float | None


class Tenants(Struct, omit_defaults=True):
    tenants: tuple[TenantView, ...]
    next: str = ""


class Erased(Struct):
    tenant: str
    deleted_at: str
    erased: dict[str, int]


class LimitsView(Struct):
    limits: dict[str, float]


class LegacyUser(Struct):
    identity: str
    role: str
    first_at: str
    last_at: str


class Legacy(Struct):
    tenant: str
    takes_legacy: bool
    uses: tuple[LegacyUser, ...]


class KeyView(Struct):
    id: str
    tenant: str
    name: str
    role: Role
    agent: str
    form: KeyForm
    prefixes: Names
    scopes: Names | None
    agents: Names | None
    networks: Names
    limits: dict[str, float]
    created_by: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    needs_proof: bool


class MadeKeyView(KeyView, kw_only=True):
    key: str


class Keys(Struct, omit_defaults=True):
    keys: tuple[KeyView, ...]
    next: str = ""


class Verdict(Struct):
    state: str
    key: KeyView | None


class AuditEntry(Struct):
    number: int
    at: str
    tenant: str
    actor: str
    action: str
    target: str
    outcome: str
    reason: str
    peer: str
    times: int
    hash: str


class AuditPage(Struct, omit_defaults=True):
    entries: tuple[AuditEntry, ...]
    next: str = ""


class AuditVerdict(Struct):
    entries: int
    head_number: int
    head_hash: str
    broken_at: int | None


class Whoami(Struct):
    tenant: str
    role: Role
    identity: str
    key: str
    issuer: str
    scopes: Names | None
    agents: Names | None
    manages: bool


def issuer_view(issuer: Issuer) -> IssuerView:
    """An issuer."""
    return IssuerView(
        issuer.url, issuer.audiences, issuer.jwks_url, issuer.jwks, tuple(issuer.algorithms), tuple(issuer.roles)
    )


def tenant_view(record: TenantRecord) -> TenantView:
    """A tenant."""
    return TenantView(
        record.name,
        record.state,
        instant(record.created_at),
        record.takes_legacy,
        record.networks,
        dict(record.limits),
        tuple(map(issuer_view, record.issuers)),
        record.on_second_session,
        record.takeover_hold_seconds,
    )


def key_fields(record: KeyRecord) -> dict[str, Any]:
    """A key without any secret."""
    return {
        **{name: getattr(record, name) for name in ("id", "tenant", "name", "role", "agent", "form", "networks")},
        "prefixes": tuple(secret.prefix for secret in record.secrets),
        "scopes": _sorted(record.scopes),
        "agents": _sorted(record.agents),
        "limits": dict(record.limits),
        "created_by": record.created_by,
        "created_at": instant(record.created_at),
        "expires_at": _instant(record.expires_at),
        "revoked_at": _instant(record.revoked_at),
        "last_used_at": _instant(record.last_used_at),
        "needs_proof": record.proof_key is not None,
    }


def audit_entry(record: AuditRecord) -> AuditEntry:
    """An entry of the audit log."""
    return AuditEntry(record.number, instant(record.at), *record.fact, record.hash)


def whoami(principal: Principal) -> Whoami:
    """Who a credential speaks for."""
    return Whoami(
        principal.tenant,
        principal.role,
        principal.identity,
        principal.key,
        principal.issuer,
        _sorted(principal.scopes),
        _sorted(principal.agents),
        principal.manages,
    )


def _sorted(names: frozenset[str] | None) -> Names | None:
    return None if names is None else tuple(sorted(names))


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else instant(seconds)
