"""What operators and tenants' admins do. Whoever may not is refused before anything is looked up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from secrets import token_bytes
from typing import NamedTuple, Protocol

from a2a_relay.admin.rules import (
    MAX_REASON_CHARS,
    KeyOrder,
    invalid,
    require_bounds,
    require_issuer,
    require_key,
    require_limits,
    require_name,
    require_networks,
    require_within,
)
from a2a_relay.core import access, keys
from a2a_relay.core.audit import AuditFact, AuditRecord
from a2a_relay.core.keys import KeyForm, KeyRecord, KeySecret
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.rates import Subject
from a2a_relay.core.scopes import default_scopes
from a2a_relay.core.tenants import Issuer, LegacyUse, TenantRecord, TenantState
from a2a_relay.errors import Reason, Refused
from a2a_relay.ports.audit import AuditCheck, AuditLog
from a2a_relay.ports.credentials import CredentialStore

STORE = Principal("", Role.OPERATOR, "store", manages=True)
"""Somebody with the store in hand."""
OVERLAP_SECONDS = 24 * 3600.0
MAX_OVERLAP_SECONDS = 366 * 24 * 3600.0
_ID_BYTES = 8


class Sealer(Protocol):
    """Encrypts what the relay itself must read again."""

    def seal(self, secret: bytes, key_id: str) -> bytes:
        """A secret as a store may keep it."""


class MadeKey(NamedTuple):
    """A key with its text, which is not kept: this is the only time that anybody sees it."""

    text: str
    record: KeyRecord


class FoundKey(NamedTuple):
    """What is known of a key's text. `state` is ok, typo, unknown, revoked, expired or disabled (its tenant is)."""

    state: str
    record: KeyRecord | None = None


class Erasure(NamedTuple):
    """The receipt of a deleted tenant: when, and how much of what. Wall time in seconds."""

    tenant: str
    deleted_at: float
    erased: Mapping[str, int]


class Administration:
    """Acts on tenants and keys. Each takes who acts and why, and is written down in the audit log with its change.

    Every method raises Refused: PERMISSION_DENIED before any look-up, then NOT_FOUND, INVALID_PARAMS or NAME_TAKEN.
    """

    def __init__(
        self,
        credentials: CredentialStore,
        audit: AuditLog,
        sealer: Sealer,
        erase: Callable[[str], Awaitable[Mapping[str, int]]],
        *,
        is_open: bool,
        now: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = token_bytes,
    ) -> None:
        """`is_open`: whether tenants exist without being registered. `now` is wall time in seconds."""
        self._credentials = credentials
        self._audit = audit
        self._sealer = sealer
        self._erase = erase
        self._is_open = is_open
        self._now = now
        self._random = random

    # tenants

    def tenants(self, principal: Principal) -> Sequence[TenantRecord]:
        """All tenants, for operators."""
        access.require_operator(principal)
        return self._credentials.tenants()

    def tenant(self, principal: Principal, name: str, scope: str = "tenant:write") -> TenantRecord:
        """One tenant."""
        access.require_management(principal, name, scope)
        found = self._credentials.tenant(name)
        if found is None:
            raise Refused(Reason.NOT_FOUND)
        return found

    async def create_tenant(self, principal: Principal, record: TenantRecord, reason: str = "") -> TenantRecord:
        """Register a tenant."""
        access.require_operator(principal)
        require_name(record.name, "tenant")
        _require_settled(record)
        if self._credentials.tenant(record.name) is not None:
            raise Refused(Reason.NAME_TAKEN)
        record = record._replace(created_at=self._now())
        await self._credentials.put_tenant(record, _fact(principal, record.name, "tenants.create", reason=reason))
        return record

    async def set_state(self, principal: Principal, name: str, state: TenantState, reason: str = "") -> TenantRecord:
        """Disable a tenant, with all its credentials, or enable it again."""
        access.require_operator(principal)
        act = "tenants.disable" if state is TenantState.DISABLED else "tenants.enable"
        return await self._change(principal, name, act, {"state": state}, reason)

    async def set_tenant(
        self, principal: Principal, name: str, changes: Mapping[str, object], reason: str = ""
    ) -> TenantRecord:
        """Change `networks`, `on_second_session` or `takeover_hold_seconds`."""
        access.require_management(principal, name, "tenant:write")
        return await self._change(principal, name, "tenants.set", changes, reason)

    async def delete_tenant(self, principal: Principal, name: str, reason: str = "") -> Erasure:
        """Disable a tenant, erase what it has, and forget it with its keys."""
        access.require_operator(principal)
        await self._change(principal, name, "tenants.disable", {"state": TenantState.DISABLED}, reason)
        count = len(self._credentials.keys_of(name))
        erased = {**await self._erase(name), "keys": count}
        await self._credentials.delete_tenant(name, _fact(principal, name, "tenants.delete", reason=reason))
        return Erasure(name, self._now(), erased)

    async def set_limits(
        self, principal: Principal, name: str, limits: Mapping[str, float | None], reason: str = ""
    ) -> TenantRecord:
        """Override limits of a tenant, which only operators do; None takes an override away."""
        access.require_operator(principal)
        require_limits(limits, Subject.TENANT)
        kept = _merged(self.tenant(principal, name).limits, limits)
        return await self._change(principal, name, "limits.set", {"limits": kept}, reason)

    async def set_key_limits(
        self, principal: Principal, id: str, limits: Mapping[str, float | None], reason: str = ""
    ) -> KeyRecord:
        """Override limits of a key; None takes an override away."""
        record = self.key(principal, id, "limits:write")
        require_limits(limits, Subject.KEY)
        record = record._replace(limits=_merged(record.limits, limits))
        await self._credentials.put_key(record, _fact(principal, record.tenant, "limits.set", id, reason))
        return record

    async def put_issuer(self, principal: Principal, name: str, issuer: Issuer, reason: str = "") -> TenantRecord:
        """Take the tokens of somebody else for a tenant, in the place of what was known of the same URL."""
        self._require_whole(principal, name)
        require_issuer(issuer)
        others = [known for known in self.tenant(principal, name).issuers if known.url != issuer.url]
        return await self._change(principal, name, "issuers.add", {"issuers": (*others, issuer)}, reason, issuer.url)

    async def remove_issuer(self, principal: Principal, name: str, url: str, reason: str = "") -> TenantRecord:
        """Take no tokens of an issuer any more."""
        self._require_whole(principal, name)
        known = self.tenant(principal, name).issuers
        left = tuple(issuer for issuer in known if issuer.url != url)
        if left == known:
            raise Refused(Reason.NOT_FOUND)
        return await self._change(principal, name, "issuers.remove", {"issuers": left}, reason, url)

    def legacy(self, principal: Principal, name: str) -> tuple[bool, Sequence[LegacyUse]]:
        """Whether tokens of the shared secret are taken for a tenant, and who has come with one lately."""
        access.require_management(principal, name, "tenant:write")
        record = self._credentials.tenant(name)
        if record is None and not self._is_open:
            raise Refused(Reason.NOT_FOUND)
        return record is None or record.takes_legacy, self._credentials.legacy_uses(name)

    async def set_legacy(self, principal: Principal, name: str, *, is_taken: bool, reason: str = "") -> TenantRecord:
        """Take tokens of the shared secret for a tenant, or do not any more."""
        access.require_management(principal, name, "tenant:write")
        await self._registered(principal, name, reason)
        act = "legacy.on" if is_taken else "legacy.off"
        return await self._change(principal, name, act, {"takes_legacy": is_taken}, reason)

    # keys

    def keys(self, principal: Principal, tenant: str) -> Sequence[KeyRecord]:
        """All keys of a tenant, or with an empty one the operators', revoked ones too."""
        self._require_keys(principal, tenant, "keys:read")
        if tenant and self._credentials.tenant(tenant) is None:
            raise Refused(Reason.NOT_FOUND)
        return self._credentials.keys_of(tenant)

    def key(self, principal: Principal, id: str, scope: str = "keys:read") -> KeyRecord:
        """One key. What is foreign is as unknown as what does not exist."""
        _require_manager(principal, scope)
        found = self._credentials.key(id)
        if found is None or not _is_seen(principal, found):
            raise Refused(Reason.NOT_FOUND)
        return found

    async def create_key(self, principal: Principal, tenant: str, order: KeyOrder, reason: str = "") -> MadeKey:
        """Make a key; an unknown tenant is registered with it where tenants are open."""
        self._require_keys(principal, tenant, "keys:write")
        require_key(order, tenant)
        if order.scopes is None:
            order = order._replace(scopes=default_scopes(order.role, is_open=self._is_open))
        require_within(principal, order, expires=order.expires_seconds is not None)
        now, maker = self._now(), self._credentials.key(principal.key)
        expires_at = None if order.expires_seconds is None else now + order.expires_seconds
        if maker is not None:  # what it does not say it has from its maker
            order = order._replace(networks=order.networks or maker.networks)
            expires_at = maker.expires_at if expires_at is None else expires_at
        require_bounds(maker, order.networks, expires_at)
        if tenant:
            await self._registered(principal, tenant, reason)
        id = f"k{self._random(_ID_BYTES).hex()}"
        text, secret = self._make_secret(id, order.role, order.form, now)
        record = KeyRecord(
            id,
            tenant,
            order.name,
            order.role,
            now,
            (secret,),
            agent=order.agent,
            form=order.form,
            scopes=order.scopes,
            agents=order.agents,
            networks=order.networks,
            limits=dict(order.limits),
            created_by=_actor(principal),
            expires_at=expires_at,
            proof_key=order.proof_key,
        )
        await self._credentials.put_key(record, _fact(principal, tenant, "keys.create", id, reason))
        return MadeKey(text, record)

    async def rotate_key(
        self, principal: Principal, id: str, overlap_seconds: float = OVERLAP_SECONDS, reason: str = ""
    ) -> MadeKey:
        """Give a key a new secret. The newest old one is good for `overlap_seconds` more; 0: not any more."""
        record = self.key(principal, id, "keys:write")
        if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
            raise invalid("overlap is not negative, and at most a year")
        require_within(principal, record, expires=record.expires_at is not None)
        require_bounds(self._credentials.key(principal.key), record.networks, record.expires_at)
        now = self._now()
        if not record.is_usable(now):
            raise invalid("the key is revoked, or has expired")
        text, fresh = self._make_secret(id, record.role, record.form, now)
        end = now + overlap_seconds
        newest = max(record.secrets, key=lambda secret: secret.created_at)
        until = end if newest.expires_at is None else min(end, newest.expires_at)
        old = (newest._replace(expires_at=until),) if overlap_seconds else ()
        record = record._replace(secrets=(fresh, *old))
        await self._credentials.put_key(record, _fact(principal, record.tenant, "keys.rotate", id, reason))
        return MadeKey(text, record)

    async def revoke_key(self, principal: Principal, id: str, reason: str = "") -> KeyRecord:
        """End a key for good, and whatever lives by it. Once more changes nothing."""
        record = self.key(principal, id, "keys:write")
        if record.revoked_at is None:
            record = record._replace(revoked_at=self._now())
            await self._credentials.put_key(record, _fact(principal, record.tenant, "keys.revoke", id, reason))
        return record

    def verify_key(self, principal: Principal, text: str) -> FoundKey:
        """What a key's text stands for. Of foreign keys nothing is told, not that they exist."""
        _require_manager(principal, "keys:read")
        if not keys.is_well_formed(text):
            return FoundKey("typo" if keys.is_key(text) else "unknown")
        found = self._credentials.find(keys.digest_of(text))
        if found is None or not _is_seen(principal, found[0]):
            return FoundKey("unknown")
        record, secret = found
        now = self._now()
        if record.revoked_at is not None:
            return FoundKey("revoked", record)
        is_over = secret.expires_at is not None and now >= secret.expires_at
        if is_over or not record.is_usable(now):
            return FoundKey("expired", record)
        tenant = self._credentials.tenant(record.tenant)
        is_disabled = tenant is not None and tenant.state is TenantState.DISABLED
        return FoundKey("disabled" if is_disabled else "ok", record)

    # audit

    async def audit(
        self, principal: Principal, tenant: str | None, before: int | None = None, limit: int = 50
    ) -> Sequence[AuditRecord]:
        """Entries of the audit log, the newest first; of one tenant, or of all for operators."""
        if tenant is None:
            access.require_operator(principal)
        else:
            access.require_management(principal, tenant, "audit:read")
        return await self._audit.page(tenant, before, limit)

    async def check_audit(self, principal: Principal) -> AuditCheck:
        """Read the whole chain, for operators."""
        access.require_operator(principal)
        return await self._audit.check()

    # how

    async def _change(
        self,
        principal: Principal,
        name: str,
        act: str,
        changes: Mapping[str, object],
        reason: str,
        target: str = "",
    ) -> TenantRecord:
        known = self._credentials.tenant(name)
        if known is None:
            raise Refused(Reason.NOT_FOUND)
        record: TenantRecord = known._replace(**changes)  # type: ignore[arg-type]
        _require_settled(record)
        await self._credentials.put_tenant(record, _fact(principal, name, act, target, reason))
        return record

    async def _registered(self, principal: Principal, name: str, reason: str) -> None:
        if self._credentials.tenant(name) is None:
            if not self._is_open:
                raise Refused(Reason.NOT_FOUND)
            require_name(name, "tenant")
            record = TenantRecord(name, self._now())
            await self._credentials.put_tenant(record, _fact(principal, name, "tenants.create", reason=reason))

    def _make_secret(self, id: str, role: Role, form: KeyForm, now: float) -> tuple[str, KeySecret]:
        text = keys.write_key(role, self._random(keys.SECRET_BYTES))
        sealed = self._sealer.seal(text.encode(), id) if form is KeyForm.HS256 else None
        return text, KeySecret(keys.digest_of(text), keys.prefix_of(text), now, sealed=sealed)

    def _require_keys(self, principal: Principal, tenant: str, scope: str) -> None:
        if tenant:
            access.require_management(principal, tenant, scope)
        else:
            access.require_operator(principal)
            access.require_scope(principal, scope)

    def _require_whole(self, principal: Principal, tenant: str) -> None:
        """Refuse those who may do less than all: an issuer's tokens could do more than they."""
        access.require_management(principal, tenant, "tenant:write")
        if principal.is_bounded:
            raise Refused(Reason.PERMISSION_DENIED)


def _require_manager(principal: Principal, scope: str) -> None:
    access.require_management(principal, principal.tenant, scope)


def _is_seen(principal: Principal, record: KeyRecord) -> bool:
    return principal.role is Role.OPERATOR or principal.tenant == record.tenant


def _require_settled(record: TenantRecord) -> None:
    require_networks(record.networks)
    require_limits(record.limits, Subject.TENANT)
    if record.on_second_session not in ("", "replace", "refuse"):
        raise invalid("on_second_session is replace or refuse, or empty for the relay's setting")
    hold = record.takeover_hold_seconds
    if hold is not None and not 0 <= hold <= MAX_OVERLAP_SECONDS:
        raise invalid("takeover_hold_seconds is not negative, and at most a year")


def _merged(known: Mapping[str, float], changes: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in {**known, **changes}.items() if value is not None}


def _actor(principal: Principal) -> str:
    return "store" if principal is STORE else principal.owner


def _fact(principal: Principal, tenant: str, act: str, target: str = "", reason: str = "") -> AuditFact:
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise invalid(f"a reason is one line of at most {MAX_REASON_CHARS} characters")
    return AuditFact(tenant, _actor(principal), act, target or tenant, reason=reason)
