"""Letters for the tests of mailboxes."""

from __future__ import annotations

from itertools import count
from typing import Any

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Act, Answer, AnswerKind, Draft, Filter, IdempotencyKey, Letter, LetterEvent, Room
from a2a_relay.ports.mailbox import Mailbox

ZAF = Address("acme", "zaf")
ANN = Address("acme", "ann")
ROOM = Room()
EVERY = Filter()
ACT = Act("key:ops", "a drill")
ANSWER = Answer(AnswerKind.TASK, b'{"id":"t-1"}')
KEEP_SECONDS = 100.0
TTL_SECONDS = 1_000.0

_NUMBERS = count(1)


def draft(context: str = "", address: Address = ZAF, **fields: Any) -> Draft:
    """A letter in a context of its own, where none is named."""
    id = fields.pop("id", f"rly-{next(_NUMBERS)}")
    values = {
        "owner": "user:bob",
        "task_id": id,
        "context_id": f"ctx-{context or id}",
        "envelope": b'{"method":"SendMessage"}',
        "params": b'{ "n":1.50, "s":"\\ud800" }',
        "ttl_seconds": TTL_SECONDS,
    }
    return Draft(id=id, address=address, context=context or id, **(values | fields))


def key(scope: str = "acme/bob/1", digest: bytes = b"same", seconds: float = 50.0) -> IdempotencyKey:
    return IdempotencyKey(scope, digest, seconds)


async def accepted(mailbox: Mailbox, context: str = "", address: Address = ZAF, **fields: Any) -> Letter:
    return (await mailbox.accept(draft(context, address, **fields), ROOM)).letter


async def leased(mailbox: Mailbox, lease: str = "s1", limit: int = 10, address: Address = ZAF) -> list[str]:
    """The ids of what is leased now."""
    return [letter.id for letter in await mailbox.lease(address, lease, limit)]


async def known(mailbox: Mailbox, id: str) -> Letter:
    letter = await mailbox.find("acme", id)
    assert letter is not None
    return letter


async def events(mailbox: Mailbox, id: str) -> list[LetterEvent]:
    return [entry.event for entry in (await known(mailbox, id)).history]
