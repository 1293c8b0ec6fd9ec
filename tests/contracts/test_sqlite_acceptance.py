"""Letters that are accepted together become what they would have become one after the other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from letter_drafts import ANN, ZAF, draft, key

from a2a_relay.core.address import Address
from a2a_relay.core.letter import Draft, Room
from a2a_relay.errors import Refused
from a2a_relay.ports.mailbox import Accepted
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.stores.sqlite.acceptance import Offer, accept_many
from a2a_relay.stores.sqlite.opening import migrate, open_file

NOW = 1_000.0
TABLES = ("mailboxes", "letters", "letter_bodies", "idempotency_keys", "sqlite_sequence")

Outcome = Accepted | tuple[str, dict[str, str]]


class Wish(NamedTuple):
    """What a letter is to be like."""

    address: Address
    context: str
    is_late: bool
    key: int
    digest: bytes
    key_seconds: float
    size: int
    letters: int


wishes = st.builds(
    Wish,
    address=st.sampled_from([ZAF, ANN]),
    context=st.sampled_from(["", "", "c1", "c2"]),
    is_late=st.sampled_from([False, False, False, True]),
    key=st.sampled_from([0, 0, 1, 2]),
    digest=st.sampled_from([b"same", b"same", b"other"]),
    key_seconds=st.sampled_from([50.0, 50.0, 0.0]),
    size=st.sampled_from([10, 10, 400]),
    letters=st.sampled_from([999, 999, 4, 0]),
)


def offers_of(wanted: Sequence[Wish], prefix: str) -> list[Offer]:
    return [Offer(draft_of(f"{prefix}-{n:03}", wish), Room(wish.letters, 1_500)) for n, wish in enumerate(wanted)]


def draft_of(id: str, wish: Wish) -> Draft:
    return draft(
        wish.context,
        wish.address,
        id=id,
        params=b"x" * wish.size,
        leased_by="s1" if wish.is_late else "",
        idempotency=key(f"key {wish.key}", wish.digest, wish.key_seconds) if wish.key else None,
        is_new_context=not wish.context,
    )


def told(outcome: Accepted | Refused) -> Outcome:
    return (outcome.message, outcome.metadata) if isinstance(outcome, Refused) else outcome


@contextmanager
def store() -> Iterator[sqlite3.Connection]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "relay.db"
        connection = open_file(path)
        connection.execute("PRAGMA synchronous=OFF")
        migrate(connection, path)
        try:
            yield connection
        finally:
            connection.close()


def together(connection: sqlite3.Connection, offers: Sequence[Offer]) -> list[Outcome]:
    connection.execute("BEGIN IMMEDIATE")
    found = [told(outcome) for outcome in accept_many(connection, NOW, offers)]
    connection.execute("COMMIT")
    return found


def one_by_one(connection: sqlite3.Connection, offers: Sequence[Offer]) -> list[Outcome]:
    return [together(connection, [offer])[0] for offer in offers]


def rows(connection: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    return [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES]


def in_memory(offers: Sequence[Offer]) -> list[Outcome]:
    async def accept_all() -> list[Outcome]:
        mailbox = MemoryMailbox(lambda: NOW)
        found: list[Outcome] = []
        for offer in offers:
            try:
                found.append(await mailbox.accept(*offer))
            except Refused as refused:
                found.append(told(refused))
        return found

    return asyncio.run(accept_all())


Way = Callable[[sqlite3.Connection, Sequence[Offer]], list[Outcome]]


class TestAcceptingMany:
    @settings(max_examples=150, deadline=None)
    @given(before=st.lists(wishes, max_size=4), wanted=st.lists(wishes, min_size=1, max_size=24))
    def test_equals_accepting_one_by_one(self, before: list[Wish], wanted: list[Wish]) -> None:
        first, then = offers_of(before, "rly-before"), offers_of(wanted, "rly-then")
        ways: list[Way] = [together, one_by_one]
        found = []
        for way in ways:
            with store() as connection:
                found.append((one_by_one(connection, first) + way(connection, then), rows(connection)))
        assert found[0] == found[1]
        assert found[0][0] == in_memory([*first, *then])

    def test_of_more_than_one_statement_takes(self) -> None:
        wanted = [Wish((ZAF, ANN)[n % 2], f"c{n % 200}", False, 0, b"", 0.0, 1, 999) for n in range(300)]
        wanted += [Wish(Address("acme", f"a{n}"), "", False, n + 1, b"", 50.0, 1, 999) for n in range(212)]
        offers = [Offer(offer.draft, Room()) for offer in offers_of(wanted, "rly")]
        with store() as connection, store() as other:
            assert together(connection, offers) == one_by_one(other, offers)
            assert rows(connection) == rows(other)

    def test_gives_one_letter_to_a_key_and_the_place_of_the_refused_to_the_next(self) -> None:
        room, none = Room(letters=2), Room(letters=0)
        keyed = key()
        offers = [
            Offer(draft(id="rly-1", idempotency=keyed), none),
            Offer(draft(id="rly-2", idempotency=keyed), room),
            Offer(draft(id="rly-3", idempotency=keyed), none),
            Offer(draft("c", id="rly-4"), room),
            Offer(draft("c", id="rly-5"), room),
            Offer(draft("c", id="rly-6", leased_by="s1"), none),
            Offer(draft("c", id="rly-7"), Room()),
        ]
        with store() as connection:
            found = together(connection, offers)
            ids = [one.letter.id if isinstance(one, Accepted) else None for one in found]
            assert ids == [None, "rly-2", "rly-2", "rly-4", None, "rly-6", "rly-7"]
            heads = connection.execute("SELECT id FROM letters WHERE is_head ORDER BY number").fetchall()
            assert heads == [("rly-2",), ("rly-4",)]
