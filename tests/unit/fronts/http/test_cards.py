"""Agent cards over HTTP: conditional requests, and who may keep one."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import Answer
from a2a_relay.fronts.http.cards import card_answer, original_answer
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.ports.directory import AgentRecord

CHANGED_AT = 1_700_000_000.75
CARD = b'{"name":"Zaf","url":"http://192.168.1.7:9999"}'


def record(card: bytes | None = CARD) -> AgentRecord:
    return AgentRecord(Address("acme", "zaf"), card, "native", 1.0, 2.0, card_changed_at=CHANGED_AT)


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def ask(*headers: tuple[bytes, bytes], card: bytes | None = CARD, is_shared: bool = True) -> Answer:
    request = HttpRequest({"method": "GET", "raw_path": b"/", "headers": list(headers)}, nothing)
    return card_answer(
        request,
        record(card),
        "https://relay.example",
        legacy_version="1.0",
        max_age_seconds=60,
        is_shared=is_shared,
    )


def header(answer: Answer, name: str) -> str:
    return dict(answer.headers)[name]


def test_a_card_has_what_caches_need() -> None:
    answer = ask()
    assert answer.status == 200
    assert header(answer, "cache-control") == "public, max-age=60"
    assert header(answer, "last-modified") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert header(answer, "etag").startswith('"')
    assert "vary" not in dict(answer.headers)


def test_a_card_that_is_not_for_everyone_says_so() -> None:
    answer = ask(is_shared=False)
    assert header(answer, "cache-control").startswith("private")
    assert header(answer, "vary") == "Authorization"


def test_the_tag_is_that_of_the_served_bytes() -> None:
    assert header(ask(), "etag") == header(ask(), "etag")
    assert header(ask(), "etag") != header(ask(card=b'{"name":"Other"}'), "etag")


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"x", {tag}', "*", " {tag} ", '"a",W/{tag},"b"'])
def test_a_card_that_is_known_by_its_tag_is_not_sent_again(form: str) -> None:
    tag = header(ask(), "etag")
    answer = ask((b"if-none-match", form.format(tag=tag).encode()))
    assert (answer.status, answer.body) == (304, b"")
    assert header(answer, "etag") == tag


@pytest.mark.parametrize("form", ['"x"', "", "{bare}", '"{bare}x"'])
def test_a_card_of_another_tag_is(form: str) -> None:
    bare = header(ask(), "etag").strip('"')
    assert ask((b"if-none-match", form.format(bare=bare).encode())).status == 200


@pytest.mark.parametrize(
    "since, status",
    [
        (b"Tue, 14 Nov 2023 22:13:20 GMT", 304),
        (b"Tue, 14 Nov 2023 22:13:21 GMT", 304),
        (b"Tue, 14 Nov 2023 22:13:19 GMT", 200),
        (b"yesterday", 200),
        (b"", 200),
        (b"Mon, 01 Jan 0001 00:00:00 GMT", 200),
        (b"Mon, 01 Jan 0001 00:00:00", 200),
        (b"Mon, 01 Jan 0001 00:00:00 +2359", 200),
        (b"Mon, 01 Jan 99999 00:00:00 GMT", 200),
        (b"Fri, 31 Dec 9999 23:59:59 -2359", 304),
        (b"Fri, 31 Dec 9999 23:59:59", 304),
        (b"Tue, 99 Nov 2023 99:99:99 GMT", 200),
        (b"Tue, 14 Nov 2023 22:13:20 +999999999999", 200),
    ],
)
def test_a_card_that_did_not_change_is_not_sent_again(since: bytes, status: int) -> None:
    assert ask((b"if-modified-since", since)).status == status


def test_the_tag_counts_before_the_date() -> None:
    new = (b"if-modified-since", b"Fri, 31 Dec 2100 00:00:00 GMT")
    assert ask((b"if-none-match", b'"x"'), new).status == 200


def test_the_original_is_the_agents_own_bytes_and_never_kept() -> None:
    answer = original_answer(record())
    assert (answer.body, header(answer, "cache-control")) == (CARD, "no-store")
    assert b"192.168" not in ask().body


def test_no_card_is_a_404_of_its_own() -> None:
    for give in (lambda: ask(card=None), lambda: original_answer(record(None))):
        with pytest.raises(Refused) as refused:
            give()
        assert refused.value.reason is Reason.CARD_NOT_PUBLISHED
