"""What the relay itself says of a letter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mail_relay import MailRelay

from a2a_relay.a2a.agent_card import RELAY_EXTENSION
from a2a_relay.a2a.tasks import Shape
from a2a_relay.core.call import Form
from a2a_relay.core.envelope import seal
from a2a_relay.core.letter import Alias, Answer, AnswerKind, Draft, Letter, LetterState
from a2a_relay.core.mailbox_rules import first_letter
from a2a_relay.node.mail.words import LetterMeta, plain_queued, plain_state, shape_of
from a2a_relay.testing import make_address, make_call

TASK = b'{"id":"a1","contextId":"c1","status":{"state":"TASK_STATE_COMPLETED"}}'
MESSAGE = b'{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"yo"}],"contextId":"c1"}'


def letter(state: LetterState = LetterState.QUEUED, method: str = "SendMessage", **fields: Any) -> Letter:
    draft = Draft(
        id="rly-1",
        address=make_address(),
        owner="admin:x",
        task_id="rly-1",
        context="rly-2",
        context_id="rly-2",
        envelope=seal(make_call(method)),
        params=b"{}",
        ttl_seconds=60.0,
    )
    return first_letter(draft, 0.0, 1)._replace(state=state, **fields)


def answered(kind: AnswerKind, body: bytes, **fields: Any) -> Letter:
    return letter(LetterState.DONE, answer=Answer(kind, body), alias=Alias("a1", "c1"), ended_at=1.0, **fields)


def task_of(relay: MailRelay, of: Letter) -> Any:
    return json.loads(relay.room.words.task_of(of))


@pytest.mark.parametrize(
    ("state", "spelled"),
    [
        (LetterState.QUEUED, "SUBMITTED"),
        (LetterState.LEASED, "WORKING"),
        (LetterState.EXPIRED, "FAILED"),
        (LetterState.DEAD, "FAILED"),
        (LetterState.CANCELED, "CANCELED"),
    ],
)
async def test_a_letter_is_a_task_in_the_state_that_it_stands_in(
    relay: MailRelay, state: LetterState, spelled: str
) -> None:
    found = task_of(relay, letter(state))
    assert (found["id"], found["contextId"]) == ("rly-1", "rly-2")
    assert found["status"]["state"] == f"TASK_STATE_{spelled}"
    assert found["metadata"][RELAY_EXTENSION]["state"] == state.value


async def test_a_failure_says_why_to_a_person(relay: MailRelay) -> None:
    def text(of: Letter) -> str:
        return str(task_of(relay, of)["status"]["message"]["parts"][0]["text"])

    assert "expired" in text(letter(LetterState.EXPIRED))
    assert "attempts exhausted" in text(letter(LetterState.DEAD, reason="attempts_exhausted"))
    assert text(answered(AnswerKind.ERROR, b'{"code":-32603,"message":"boom"}')) == "boom"


async def test_the_agents_task_is_shown_as_it_is_but_for_its_ids(relay: MailRelay) -> None:
    found = task_of(relay, answered(AnswerKind.TASK, TASK))
    assert found == {"id": "rly-1", "contextId": "rly-2", "status": {"state": "TASK_STATE_COMPLETED"}}


async def test_a_message_is_a_completed_task_that_carries_it(relay: MailRelay) -> None:
    found = task_of(relay, answered(AnswerKind.MESSAGE, MESSAGE))
    assert found["status"]["state"] == "TASK_STATE_COMPLETED"
    assert found["status"]["message"]["parts"] == [{"text": "yo"}]
    assert found["status"]["message"]["contextId"] == "rly-2"


async def test_facts_tell_what_is_known_and_nothing_else(relay: MailRelay) -> None:
    facts = task_of(relay, letter(position=3))["metadata"][RELAY_EXTENSION]
    assert facts == {
        "letter": "rly-1",
        "state": "queued",
        "queued_at": "1970-01-01T00:00:00.000Z",
        "expires_at": "1970-01-01T00:01:00.000Z",
        "durability": "memory",
        "position": 3,
    }
    facts = task_of(relay, letter(LetterState.DEAD, attempt=5, reason="too_large"))["metadata"][RELAY_EXTENSION]
    assert (facts["attempt"], facts["reason"]) == (5, "too_large")
    assert "position" not in facts


def test_a_letter_is_written_as_its_sender_reads() -> None:
    assert shape_of(letter()) is Shape.V10
    assert shape_of(letter(method="message/send")) is Shape.V03


def test_an_agent_is_told_which_letter_and_attempt_it_is() -> None:
    told = json.loads(LetterMeta(make_call().meta, letter(attempt=2)).json)
    assert {name: told[name] for name in ("letter", "attempt", "task_id", "context_id")} == {
        "letter": "rly-1",
        "attempt": 2,
        "task_id": "rly-1",
        "context_id": "rly-2",
    }
    assert told["expires_at"] == "1970-01-01T00:01:00.000Z"
    assert "restored" not in told
    assert json.loads(LetterMeta(make_call().meta, letter(is_restored=True)).json)["restored"] is True


class TestPlainly:
    def test_a_queued_letter_has_a_status_and_a_task_id(self) -> None:
        found = json.loads(plain_queued(letter()))
        assert (found["status"], found["task_id"]) == ("queued", "rly-1")

    def test_one_that_is_at_its_agent_is_still_queued(self) -> None:
        assert json.loads(plain_state(letter(LetterState.LEASED))) == {"status": "queued", "task_id": "rly-1"}

    def test_an_answer_stands_beside_it(self) -> None:
        found = json.loads(plain_state(answered(AnswerKind.TASK, TASK)))
        assert found["status"] == "completed"
        assert found["response"]["task"]["id"] == "rly-1"
        found = json.loads(plain_state(answered(AnswerKind.TASK, TASK, method="message/send")))
        assert found["response"]["id"] == "rly-1"

    def test_so_does_an_error(self) -> None:
        found = json.loads(plain_state(answered(AnswerKind.ERROR, b'{"code":-1}')))
        assert found["error"] == {"code": -1}

    def test_what_has_failed_says_how(self) -> None:
        assert json.loads(plain_state(letter(LetterState.EXPIRED)))["status"] == "expired"


def test_a_call_is_plain_by_its_form_alone() -> None:
    assert shape_of(letter()._replace(envelope=seal(make_call(form=Form.PLAIN)))) is Shape.V10
