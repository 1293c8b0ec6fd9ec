"""Letters over HTTP: receipts, feeds, lists, and what an operator does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.letter import (
    Alias,
    Answer,
    AnswerKind,
    DeadReason,
    Draft,
    Entry,
    LetterEvent,
    Receipt,
    Room,
)
from a2a_relay.errors import StoreError
from a2a_relay.stores.memory.mailbox import MemoryMailbox

ZAF = Address("acme", "zaf")
SECRET_WORDS = b'{"message":"nobody else\'s business"}'
ADMIN, SAM = "", "client"
"""Roles of tokens: the tenant's admin, and the sender of every letter here."""
OWNER = "sender:sam"


class Post:
    """A front with a mailbox, and letters in it."""

    def __init__(self, make_front: Callable[..., Any], **limits: Any) -> None:
        def mailbox(clock: Any) -> Any:
            self.mailbox = MemoryMailbox(clock.now)
            return self.mailbox

        self.front = make_front(mailbox=mailbox, **limits)
        self._made = 0

    async def letter(self, owner: str = OWNER, agent: str = "zaf", tenant: str = "acme") -> str:
        self._made += 1
        id = f"rly-{self._made}"
        draft = Draft(id, Address(tenant, agent), owner, id, id, "c1", b'{"method":"x"}', SECRET_WORDS, 3600)
        await self.mailbox.accept(draft, Room())
        return id

    async def dead_letter(self, agent: str = "zaf") -> str:
        id = await self.letter(agent=agent)
        await self.mailbox.lease(Address("acme", agent), "s1", 1)
        assert await self.mailbox.bury(Address("acme", agent), id, "s1", DeadReason.TOO_LARGE, 3600)
        return id

    async def ask(self, verb: str, below: str, role: str = ADMIN, body: Any = None, **more: Any) -> Any:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.front.ask(verb, f"/t/acme/{below}", data, token=self.front.token(role), **more)

    def tell(self, id: str, event: LetterEvent = LetterEvent.LEASED, owner: str = OWNER) -> None:
        self.front.receipts.publish(Receipt(id, ZAF, owner, Entry(self.front.clock.now(), event)))


@pytest.fixture
def post(make_front: Callable[..., Any]) -> Post:
    return Post(make_front)


# receipts


async def test_a_receipt_tells_where_a_letter_stands_and_nothing_of_its_body(post: Post) -> None:
    id = await post.dead_letter()
    found = await post.ask("GET", f"letters/{id}", SAM)
    at = "2023-11-14T22:13:20.000Z"
    assert found.status == 200
    assert found.json == {
        "id": id,
        "agent": "zaf",
        "task_id": id,
        "context_id": "c1",
        "state": "dead",
        "attempt": 1,
        "accepted_at": at,
        "expires_at": "2023-11-14T23:13:20.000Z",
        "ended_at": at,
        "reason": "too_large",
        "durability": "memory",
        "history": [
            {"at": at, "event": "accepted"},
            {"at": at, "event": "leased", "attempt": 1},
            {"at": at, "event": "dead", "attempt": 1, "reason": "too_large"},
        ],
    }


async def test_only_the_admin_is_told_whose_a_letter_is(post: Post) -> None:
    id = await post.letter()
    assert (await post.ask("GET", f"letters/{id}")).json["owner"] == OWNER
    assert [letter["owner"] for letter in (await post.ask("GET", "letters")).json["letters"]] == [OWNER]
    assert b"owner" not in (await post.ask("GET", f"letters/{id}", SAM)).body
    assert b"owner" not in (await post.ask("GET", "letters", SAM)).body


async def test_what_is_anothers_and_what_is_not_there_cannot_be_told_apart(post: Post) -> None:
    id = await post.letter("sender:ann")
    front = post.front
    told = []
    for target, token in (
        (f"/t/acme/letters/{id}", front.token("client")),
        ("/t/acme/letters/rly-none", front.token("client")),
        ("/t/acme/letters/rly-none", front.token()),
        (f"/t/acme/letters/{id}", front.token(tenant="other")),
        (f"/t/other/letters/{id}", front.token(tenant="other")),
    ):
        for below in ("", "/events"):
            found = await front.ask("GET", target + below, token=token)
            told.append((found.status, found.body))
    assert told == [(404, b'{"error":"no such letter","reason":"LETTER_NOT_FOUND"}')] * 10
    assert len(front.receipts) == 0


@pytest.mark.parametrize(
    "verb, below",
    [
        ("GET", "letters"),
        ("GET", "letters/x"),
        ("GET", "letters/x/events"),
        ("GET", "letters/events"),
        ("GET", "letters:audit"),
        ("GET", "mailboxes"),
        ("POST", "letters:redrive"),
        ("POST", "letters:purge"),
        ("POST", "agents/zaf/mailbox:pause"),
        ("POST", "agents/zaf/mailbox:resume"),
    ],
)
async def test_nothing_about_letters_is_told_without_a_credential(post: Post, verb: str, below: str) -> None:
    assert (await post.front.ask(verb, f"/t/acme/{below}")).status == 401
    stranger = await post.front.ask(verb, f"/t/acme/{below}", token=post.front.token(tenant="other"))
    assert stranger.status in (403, 404)


async def test_a_relay_without_a_mailbox_serves_nothing_about_letters(front: Any) -> None:
    assert (await front.ask("GET", "/t/acme/letters", token=front.token())).status == 404


async def test_a_store_that_has_failed_is_an_error_of_its_own(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(post.mailbox, "find", fail)
    found = await post.ask("GET", "letters/rly-1")
    assert (found.status, found.json["reason"]) == (503, "STORE_FAILED")
    assert b"disk" not in found.body
    assert post.front.observer.notices == [("store_trouble", {"message": "the disk is full"})]


# lists


async def test_a_list_is_read_page_by_page_the_newest_first(post: Post) -> None:
    ids = [await post.letter() for _ in range(5)]
    await post.letter("sender:ann")
    found, more = [], ""
    while True:
        page = (await post.ask("GET", f"letters?limit=2{more}", SAM)).json
        assert page["total"] == 5
        found += [letter["id"] for letter in page["letters"]]
        if "next" not in page:
            break
        more = f"&after={page['next']}"
    assert found == ids[::-1]


async def test_a_list_is_chosen_by_its_filter(post: Post) -> None:
    dead, other = await post.dead_letter(), await post.letter("sender:ann", "zoe")
    at = "2023-11-14T22:13:20Z"
    for query, ids in (
        ("state=dead", [dead]),
        ("state=dead&reason=too_large&agent=zaf", [dead]),
        ("agent=zoe", [other]),
        ("owner=sender:ann", [other]),
        ("context_id=c1", [other, dead]),
        (f"id={dead}", [dead]),
        (f"before={at}", []),
        ("before=2023-11-14T23:13:21%2B01:00", [other, dead]),
        ("reason=attempts_exhausted", []),
    ):
        assert [letter["id"] for letter in (await post.ask("GET", f"letters?{query}")).json["letters"]] == ids, query


@pytest.mark.parametrize(
    "query",
    [
        "stat=dead",
        "state=deaf",
        "state=",
        "agent=a&agent=b",
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "after=x",
        "after=" + "9" * 19,
        "before=yesterday",
        "before=2023-11-14",
        "before=2023-11-14T22:13:20",
        "reason=" + "x" * 257,
    ],
)
async def test_a_question_that_could_mean_something_else_is_refused(post: Post, query: str) -> None:
    assert (await post.ask("GET", f"letters?{query}")).status == 400


# feeds


def events_of(response: Any) -> list[dict[str, Any]]:
    """The receipts of a stream, whose every event is one."""
    blocks = [block for block in response.body.decode().split("\n\n") if block and block != ":"]
    assert all(block.startswith("event: receipt\ndata: ") for block in blocks), blocks
    return [json.loads(block.partition("data: ")[2]) for block in blocks]


async def test_the_feed_of_a_letter_that_has_ended_is_its_history(post: Post) -> None:
    id = await post.dead_letter()
    found = await post.ask("GET", f"letters/{id}/events", SAM)
    assert (found.status, found.headers["content-type"]) == (200, "text/event-stream")
    assert [(event["id"], event["agent"], event["event"]) for event in events_of(found)] == [
        (id, "zaf", "accepted"),
        (id, "zaf", "leased"),
        (id, "zaf", "dead"),
    ]
    assert len(post.front.receipts) == 0


async def test_the_feed_of_a_letter_follows_it_to_its_end_and_shows_signs_of_life(post: Post) -> None:
    id = await post.letter()
    following = asyncio.ensure_future(post.ask("GET", f"letters/{id}/events", SAM))
    while not len(post.front.receipts):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    await post.mailbox.lease(ZAF, "s1", 1)
    post.tell(id)
    post.tell(id)  # twice the same, told once
    await asyncio.sleep(0.03)
    assert not following.done()
    await post.mailbox.ack(ZAF, id, "s1", Answer(AnswerKind.MESSAGE, b"{}"), Alias(), 60)
    post.tell(id, LetterEvent.DONE)
    found = await following
    events = [event["event"] for event in events_of(found)]
    assert events[:2] == ["accepted", "leased"]
    assert events.count("leased") == 1
    assert events[-1] == "done"
    assert b"\n:\n" in found.body
    assert len(post.front.receipts) == 0


async def test_what_another_process_did_to_a_letter_is_noticed_and_a_purged_one_ends(post: Post) -> None:
    id = await post.letter()
    following = asyncio.ensure_future(post.ask("GET", f"letters/{id}/events", SAM))
    while not len(post.front.receipts):
        await asyncio.sleep(0)
    purge = {"reason": "r", "filter": {"id": id}}
    assert (await post.ask("POST", "letters:purge", body=purge)).json == {"purged": 1}
    assert [event["event"] for event in events_of(await following)] == ["accepted"]


async def test_the_feed_of_all_letters_is_of_the_senders_own_or_all_the_tenants(post: Post) -> None:
    gone = asyncio.Event()
    feeds = {
        role: asyncio.ensure_future(post.ask("GET", "letters/events?agent=zaf", role, gone=gone))
        for role in (ADMIN, SAM)
    }
    while len(post.front.receipts) < 2:
        await asyncio.sleep(0)
    sent = await record_sent(post, feeds, gone)
    assert sent == {ADMIN: ["rly-1", "rly-2"], SAM: ["rly-1"]}
    assert len(post.front.receipts) == 0


async def record_sent(post: Post, feeds: dict[str, Any], gone: asyncio.Event) -> dict[str, list[str]]:
    """What was told of two letters, of which sam sent the first; the clients leave after it."""
    post.tell("rly-1")
    post.tell("rly-2", owner="sender:ann")
    post.front.receipts.publish(Receipt("rly-3", Address("acme", "zoe"), OWNER, Entry(0.0, LetterEvent.ACCEPTED)))
    await asyncio.sleep(0.05)
    post.front.app.node.is_leaving = True
    return {role: told_before_the_end(await feed) for role, feed in feeds.items()}


def told_before_the_end(response: Any) -> list[str]:
    body, _, error = response.body.partition(b"event: error\n")
    assert b"RELAY_LEAVING" in error
    return [event["id"] for event in events_of(response._replace(body=body))]


async def test_a_client_that_leaves_frees_its_feed(post: Post) -> None:
    gone = asyncio.Event()
    following = asyncio.ensure_future(post.ask("GET", "letters/events", SAM, gone=gone))
    while not len(post.front.receipts):
        await asyncio.sleep(0)
    gone.set()
    with pytest.raises(AssertionError):  # the response has no end
        await following
    assert len(post.front.receipts) == 0


async def test_a_feed_that_is_read_too_slowly_ends_with_its_reason(make_front: Callable[..., Any]) -> None:
    post = Post(make_front, receipt_buffer=2)
    following = asyncio.ensure_future(post.ask("GET", "letters/events"))
    while not len(post.front.receipts):
        await asyncio.sleep(0)
    for number in range(3):
        post.tell(f"rly-{number}")
    found = await following
    assert found.body.endswith(
        b'event: error\ndata: {"error":"the stream was read too slowly","reason":"STREAM_TOO_SLOW"}\n\n'
    )
    assert b"rly-1" in found.body


async def test_a_party_reads_so_many_feeds_at_a_time(make_front: Callable[..., Any]) -> None:
    post = Post(make_front, receipt_feeds=1)
    gone = asyncio.Event()
    following = asyncio.ensure_future(post.ask("GET", "letters/events", SAM, gone=gone))
    while not len(post.front.receipts):
        await asyncio.sleep(0)
    refused = await post.ask("GET", "letters/events", SAM)
    assert (refused.status, refused.json["reason"]) == (429, "RATE_LIMITED")
    assert "retry-after" in refused.headers
    gone.set()
    with pytest.raises(AssertionError):
        await following


async def test_a_feed_has_no_head_alone(post: Post) -> None:
    id = await post.letter()
    for below in ("letters/events", f"letters/{id}/events"):
        assert (await post.ask("HEAD", below)).status == 405
    assert (await post.ask("HEAD", f"letters/{id}")).status == 200


# operators


async def test_dead_letters_are_redriven(post: Post) -> None:
    ids = [await post.dead_letter(), await post.dead_letter("zoe")]
    order = {"reason": "mended", "filter": {"state": "dead", "agent": "zaf"}}
    assert (await post.ask("POST", "letters:redrive", body=order)).json == {"redriven": 1}
    assert [(await post.ask("GET", f"letters/{id}")).json["state"] for id in ids] == ["queued", "dead"]
    assert (await post.ask("POST", "letters:redrive", body={"reason": "r", "all": True})).json == {"redriven": 1}


async def test_letters_are_purged(post: Post) -> None:
    for _ in range(3):
        await post.letter()
    post.front.clock.advance(60)
    await post.letter()
    order = {"reason": "tests", "filter": {"before": "2023-11-14T22:14:00Z"}}
    assert (await post.ask("POST", "letters:purge", body=order)).json == {"purged": 3}
    assert (await post.ask("GET", "letters")).json["total"] == 1


@pytest.mark.parametrize("action", ["redrive", "purge"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        {},
        {"reason": ""},
        {"reason": "r"},
        {"reason": "r", "filter": {}},
        {"reason": "r", "filter": {}, "all": False},
        {"reason": "r", "all": "yes"},
        {"reason": "r", "filter": []},
        {"reason": "r", "filter": {"stat": "dead"}},
        {"reason": "r", "filter": {"state": ""}},
        {"reason": "r", "filter": {"agent": 1}},
        {"reason": "r", "filter": {"limit": "1"}},
        {"reason": 1, "all": True},
        {"reason": "x" * 501, "all": True},
        {"reason": "r", "all": True, "agent": "zaf"},
        b'{"reason":"r","all":true,"all":true}',
        b'{"reason":"r","filter":{"agent":"zoe","agent":"zaf"}}',
        b'{"reason":"\xff","all":true}',
        b'{"reason":"\\ud800","all":true}',
        {"reason": "r", "filter": {"agent": "\ud800"}},
    ],
)
async def test_an_order_that_is_not_clear_changes_nothing(post: Post, action: str, body: Any) -> None:
    await post.dead_letter()
    assert (await post.ask("POST", f"letters:{action}", body=body)).status == 400
    assert [letter["state"] for letter in (await post.ask("GET", "letters")).json["letters"]] == ["dead"]


async def test_operators_alone_give_orders_and_before_their_body_is_read(post: Post) -> None:
    await post.dead_letter()
    for verb, below in (
        ("POST", "letters:redrive"),
        ("POST", "letters:purge"),
        ("POST", "agents/zaf/mailbox:pause"),
        ("POST", "agents/zaf/mailbox:resume"),
        ("GET", "letters:audit"),
        ("GET", "mailboxes"),
    ):
        refused = await post.ask(verb, below, SAM, b"{" if verb == "POST" else None)
        assert (refused.status, refused.json["reason"]) == (403, "PERMISSION_DENIED")


async def test_a_mailbox_is_paused_and_resumed_and_the_operator_sees_it(post: Post) -> None:
    post.front.agent()
    await post.dead_letter()
    await post.letter()
    paused = await post.ask("POST", "agents/zaf/mailbox:pause", body={"reason": "it is sick"})
    assert paused.json == {"agent": "zaf", "paused": True}
    (shown,) = (await post.ask("GET", "mailboxes")).json["mailboxes"]
    assert (shown["agent"], shown["paused"]) == ("zaf", True)
    assert shown["queued"] + shown["leased"] + shown["dead"] == 2
    assert shown["oldest_at"] == "2023-11-14T22:13:20.000Z"
    assert (await post.ask("POST", "agents/zaf/mailbox:resume", body={"reason": "it is well"})).json["paused"] is False
    entries = (await post.ask("GET", "letters:audit?limit=1")).json["entries"]
    assert [(entry["actor"], entry["action"], entry["reason"]) for entry in entries] == [
        ("admin:admin:sam", "resume", "it is well")
    ]
    assert (await post.ask("GET", "letters:audit?limit=0")).status == 400
    assert (await post.ask("POST", "agents/nobody/mailbox:pause", body={"reason": "r"})).status == 404
    assert (await post.ask("POST", "agents/zaf/mailbox:pause", body={"reason": "r", "x": 1})).status == 400
