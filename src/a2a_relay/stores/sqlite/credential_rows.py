"""Tenants and keys as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from a2a_relay.core.keys import KeyForm, KeyRecord, KeySecret
from a2a_relay.core.principal import Role
from a2a_relay.core.tenants import Issuer, TenantRecord, TenantState


def tenant_row(record: TenantRecord) -> tuple[Any, ...]:
    return (
        record.name,
        record.created_at,
        str(record.state),
        int(record.takes_legacy),
        _text(record.networks),
        _text(dict(record.limits)),
        _text(record.issuers),
        record.on_second_session,
        record.takeover_hold_seconds,
    )


def read_tenant(row: Sequence[Any]) -> TenantRecord:
    name, created_at, state, takes_legacy, networks, limits, issuers, *rest = row
    return TenantRecord(
        name,
        created_at,
        TenantState(state),
        bool(takes_legacy),
        tuple(json.loads(networks)),
        json.loads(limits),
        tuple(map(_issuer, json.loads(issuers))),
        *rest,
    )


def key_row(record: KeyRecord) -> tuple[Any, ...]:
    """Without its secrets, which have rows of their own."""
    return (
        record.id,
        record.tenant,
        record.name,
        str(record.role),
        record.created_at,
        record.agent,
        str(record.form),
        _set_text(record.scopes),
        _set_text(record.agents),
        _text(record.networks),
        _text(dict(record.limits)),
        record.created_by,
        record.expires_at,
        record.revoked_at,
        record.last_used_at,
        record.proof_key,
    )


def secret_rows(record: KeyRecord) -> list[tuple[Any, ...]]:
    return [(record.id, place, *secret) for place, secret in enumerate(record.secrets)]


def read_key(row: Sequence[Any], secrets: Iterable[KeySecret]) -> KeyRecord:
    id, tenant, name, role, created_at, agent, form, scopes, agents, networks, limits, *rest = row
    return KeyRecord(
        id,
        tenant,
        name,
        Role(role),
        created_at,
        tuple(secrets),
        agent,
        KeyForm(form),
        _set(scopes),
        _set(agents),
        tuple(json.loads(networks)),
        json.loads(limits),
        *rest,
    )


def _issuer(parts: Sequence[Any]) -> Issuer:
    url, audiences, jwks_url, jwks, algorithms, roles = parts
    return Issuer(url, tuple(audiences), jwks_url, jwks, tuple(algorithms), tuple(roles))


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _set_text(names: frozenset[str] | None) -> str | None:
    return None if names is None else _text(sorted(names))


def _set(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(json.loads(text))
