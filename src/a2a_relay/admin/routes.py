"""The operations of the admin API in one table, from which requests are answered and the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET, Struct, structs

from a2a_relay.admin import documents as d
from a2a_relay.admin.administration import Administration, MadeKey
from a2a_relay.admin.rules import KeyOrder, invalid
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import Issuer, TenantRecord
from a2a_relay.fronts.http.answer import instant


class Ask(NamedTuple):
    """One request, read: by whom, what the template's names stand for, and the question (query or body)."""

    principal: Principal
    names: dict[str, str]
    question: Any

    @property
    def tenant(self) -> str:
        """The tenant in the path; empty where there is none."""
        return self.names.get("tenant", "")


Handler = Callable[[Administration, Ask], Awaitable[Struct]]


class Operation(NamedTuple):
    """One row. `question` is read from the body where `has_body`, else from the query."""

    verb: str
    path: str
    id: str
    scope: str
    question: type[Struct]
    answer: type[Struct]
    handler: Handler

    @property
    def has_body(self) -> bool:
        """Whether the question is in the body."""
        return self.verb in ("POST", "PATCH")


async def _whoami(_: Administration, ask: Ask) -> Struct:
    return d.whoami(ask.principal)


async def _tenants(office: Administration, ask: Ask) -> Struct:
    found, following = _page(office.tenants(ask.principal), lambda record: record.name, ask.question)
    return d.Tenants(tuple(map(d.tenant_view, found)), following)


async def _create_tenant(office: Administration, ask: Ask) -> Struct:
    fields = structs.asdict(ask.question)
    reason = fields.pop("reason")
    return d.tenant_view(await office.create_tenant(ask.principal, TenantRecord(created_at=0.0, **fields), reason))


async def _tenant(office: Administration, ask: Ask) -> Struct:
    return d.tenant_view(office.tenant(ask.principal, ask.tenant))


async def _set_tenant(office: Administration, ask: Ask) -> Struct:
    changes = {name: value for name, value in structs.asdict(ask.question).items() if value is not UNSET}
    reason = changes.pop("reason")
    state = changes.pop("state", None)
    if state is not None and changes:
        office.tenant(ask.principal, ask.tenant)
        raise invalid("state is changed by itself")
    if state is not None:
        return d.tenant_view(await office.set_state(ask.principal, ask.tenant, state, reason))
    return d.tenant_view(await office.set_tenant(ask.principal, ask.tenant, changes, reason))


async def _delete_tenant(office: Administration, ask: Ask) -> Struct:
    receipt = await office.delete_tenant(ask.principal, ask.tenant, ask.question.reason)
    return d.Erased(receipt.tenant, instant(receipt.deleted_at), dict(receipt.erased))


async def _limits(office: Administration, ask: Ask) -> Struct:
    return d.LimitsView(dict(office.tenant(ask.principal, ask.tenant, "limits:read").limits))


async def _set_limits(office: Administration, ask: Ask) -> Struct:
    asked = ask.question
    return d.LimitsView(dict((await office.set_limits(ask.principal, ask.tenant, asked.limits, asked.reason)).limits))


async def _legacy(office: Administration, ask: Ask) -> Struct:
    is_taken, uses = office.legacy(ask.principal, ask.tenant)
    users = tuple(d.LegacyUser(use.identity, use.role, instant(use.first_at), instant(use.last_at)) for use in uses)
    return d.Legacy(ask.tenant, is_taken, users)


async def _set_legacy(office: Administration, ask: Ask) -> Struct:
    asked = ask.question
    await office.set_legacy(ask.principal, ask.tenant, is_taken=asked.takes_legacy, reason=asked.reason)
    return await _legacy(office, ask)


async def _issuers(office: Administration, ask: Ask) -> Struct:
    return d.Issuers(tuple(map(d.issuer_view, office.tenant(ask.principal, ask.tenant).issuers)))


async def _put_issuer(office: Administration, ask: Ask) -> Struct:
    fields = structs.asdict(ask.question)
    reason = fields.pop("reason")
    await office.put_issuer(ask.principal, ask.tenant, Issuer(**fields), reason)
    return await _issuers(office, ask)


async def _remove_issuer(office: Administration, ask: Ask) -> Struct:
    await office.remove_issuer(ask.principal, ask.tenant, ask.question.url, ask.question.reason)
    return await _issuers(office, ask)


async def _keys(office: Administration, ask: Ask) -> Struct:
    found, following = _page(
        sorted(office.keys(ask.principal, ask.tenant), key=lambda key: key.id), lambda key: key.id, ask.question
    )
    return d.Keys(tuple(map(_view, found)), following)


async def _create_key(office: Administration, ask: Ask) -> Struct:
    fields = structs.asdict(ask.question)
    reason = fields.pop("reason")
    for name in ("scopes", "agents"):
        fields[name] = None if fields[name] is None else frozenset(fields[name])
    return _made(await office.create_key(ask.principal, ask.tenant, KeyOrder(**fields), reason))


async def _key(office: Administration, ask: Ask) -> Struct:
    return _view(office.key(ask.principal, ask.names["key"]))


async def _rotate(office: Administration, ask: Ask) -> Struct:
    asked = ask.question
    return _made(await office.rotate_key(ask.principal, ask.names["key"], asked.overlap_seconds, asked.reason))


async def _revoke(office: Administration, ask: Ask) -> Struct:
    return _view(await office.revoke_key(ask.principal, ask.names["key"], ask.question.reason))


async def _set_key_limits(office: Administration, ask: Ask) -> Struct:
    asked = ask.question
    return _view(await office.set_key_limits(ask.principal, ask.names["key"], asked.limits, asked.reason))


async def _verify(office: Administration, ask: Ask) -> Struct:
    found = office.verify_key(ask.principal, ask.question.key)
    return d.Verdict(found.state, None if found.record is None else _view(found.record))


async def _audit(office: Administration, ask: Ask) -> Struct:
    asked = ask.question
    tenant = asked.tenant or (None if ask.principal.role is Role.OPERATOR else ask.principal.tenant)
    entries = await office.audit(ask.principal, tenant, asked.after or None, asked.limit)
    is_more = len(entries) == asked.limit and entries[-1].number > 1
    return d.AuditPage(tuple(map(d.audit_entry, entries)), str(entries[-1].number) if is_more else "")


async def _check_audit(office: Administration, ask: Ask) -> Struct:
    check = await office.check_audit(ask.principal)
    return d.AuditVerdict(check.entries, check.head.number, check.head.hash, check.broken_at)


def _page(items: Sequence[Any], place: Callable[[Any], str], asked: d.Page) -> tuple[Sequence[Any], str]:
    left = [item for item in items if place(item) > asked.after]
    found = left[: asked.limit]
    return found, place(found[-1]) if len(left) > len(found) else ""


def _view(record: KeyRecord) -> d.KeyView:
    return d.KeyView(**d.key_fields(record))


def _made(made: MadeKey) -> d.MadeKeyView:
    return d.MadeKeyView(key=made.text, **d.key_fields(made.record))


_TENANT = "tenants/{tenant}"
OPERATIONS = (
    Operation("GET", "whoami", "whoami", "", d.Nothing, d.Whoami, _whoami),
    Operation("GET", "tenants", "listTenants", "", d.Page, d.Tenants, _tenants),
    Operation("POST", "tenants", "createTenant", "", d.TenantOrder, d.TenantView, _create_tenant),
    Operation("GET", _TENANT, "showTenant", "tenant:write", d.Nothing, d.TenantView, _tenant),
    Operation("PATCH", _TENANT, "setTenant", "tenant:write", d.TenantChange, d.TenantView, _set_tenant),
    Operation("DELETE", _TENANT, "deleteTenant", "", d.Why, d.Erased, _delete_tenant),
    Operation("GET", f"{_TENANT}/limits", "showLimits", "limits:read", d.Nothing, d.LimitsView, _limits),
    Operation("PATCH", f"{_TENANT}/limits", "setLimits", "", d.LimitsChange, d.LimitsView, _set_limits),
    Operation("GET", f"{_TENANT}/legacy", "showLegacy", "tenant:write", d.Nothing, d.Legacy, _legacy),
    Operation("PATCH", f"{_TENANT}/legacy", "setLegacy", "tenant:write", d.LegacyChange, d.Legacy, _set_legacy),
    Operation("GET", f"{_TENANT}/issuers", "listIssuers", "tenant:write", d.Nothing, d.Issuers, _issuers),
    Operation("POST", f"{_TENANT}/issuers", "putIssuer", "tenant:write", d.IssuerOrder, d.Issuers, _put_issuer),
    Operation("DELETE", f"{_TENANT}/issuers", "removeIssuer", "tenant:write", d.IssuerQuery, d.Issuers, _remove_issuer),
    Operation("GET", f"{_TENANT}/keys", "listKeys", "keys:read", d.Page, d.Keys, _keys),
    Operation("POST", f"{_TENANT}/keys", "createKey", "keys:write", d.NewKey, d.MadeKeyView, _create_key),
    Operation("GET", "keys", "listOperatorKeys", "keys:read", d.Page, d.Keys, _keys),
    Operation("POST", "keys", "createOperatorKey", "keys:write", d.NewKey, d.MadeKeyView, _create_key),
    Operation("POST", "keys:verify", "verifyKey", "keys:read", d.KeyText, d.Verdict, _verify),
    Operation("GET", "keys/{key}", "showKey", "keys:read", d.Nothing, d.KeyView, _key),
    Operation("POST", "keys/{key}:rotate", "rotateKey", "keys:write", d.Rotation, d.MadeKeyView, _rotate),
    Operation("POST", "keys/{key}:revoke", "revokeKey", "keys:write", d.Why, d.KeyView, _revoke),
    Operation("PATCH", "keys/{key}/limits", "setKeyLimits", "limits:write", d.LimitsChange, d.KeyView, _set_key_limits),
    Operation("GET", "audit", "listAudit", "audit:read", d.AuditQuery, d.AuditPage, _audit),
    Operation("GET", "audit:verify", "verifyAudit", "", d.Nothing, d.AuditVerdict, _check_audit),
)
