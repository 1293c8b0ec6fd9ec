"""The audit log: who has done what, and who was refused, each entry chained to the one before it by its hash.

A changed, removed or inserted entry breaks the chain; a tail that was cut off is seen by the head hash that the relay
has published (S22).
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

FIRST_HASH = "0" * 64


class AuditFact(NamedTuple):
    """One act or refusal, before it has its place in the log.

    `actor` is an owner (`key:<id>`, `admin:...`), `store` for somebody with the file in hand; `target` is what it was
    done to; `outcome` is `done`, or the reason of a refusal; `peer` an address without its port. Never a secret.
    """

    tenant: str
    actor: str
    action: str
    target: str = ""
    outcome: str = "done"
    reason: str = ""
    peer: str = ""
    times: int = 1
    """How often, for refusals, of which many are one entry; how many letters, for acts on letters."""


class AuditRecord(NamedTuple):
    """One entry in its place. `at` is wall time in seconds, to the millisecond; `hash` is over all the rest."""

    number: int
    at: float
    fact: AuditFact
    previous: str
    hash: str


def chain(number: int, at: float, fact: AuditFact, previous: str) -> AuditRecord:
    """The entry that follows one whose hash is `previous`."""
    at = round(at, 3)
    text = json.dumps([number, f"{at:.3f}", *fact, previous], ensure_ascii=True, separators=(",", ":"))
    return AuditRecord(number, at, fact, previous, hashlib.sha256(text.encode()).hexdigest())


def is_chained(record: AuditRecord) -> bool:
    """Whether an entry says what it said when it was written."""
    return chain(record.number, record.at, record.fact, record.previous).hash == record.hash
