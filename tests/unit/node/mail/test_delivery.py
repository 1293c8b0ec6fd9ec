"""What an answer, an end or a failure means for the letter that was delivered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from a2a_relay.a2a import jsonrpc
from a2a_relay.core.address import Address
from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.core.letter import Alias, AnswerKind, DeadReason, Draft, Letter
from a2a_relay.core.mailbox_rules import first_letter
from a2a_relay.core.stream import Event
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.mail.delivery import Delivery, Fate, Verdict, code_of
from a2a_relay.wire.frames import NO_HEADERS

TASK = b'{"task":{"id":"a1","contextId":"c1","status":{"state":"TASK_STATE_COMPLETED"}}}'
STATUS = b'{"statusUpdate":{"taskId":"a1","contextId":"c1","status":{"state":"TASK_STATE_WORKING"}}}'


def letter() -> Letter:
    draft = Draft("rly-1", Address("acme", "zaf"), "admin:x", "rly-1", "ctx", "ctx", b"{}", b"{}", 60.0)
    return first_letter(draft, 0.0, 1)


class Told:
    """A delivery to an agent of a kind, and what it has said."""

    def __init__(self, *, remembers: bool = False, is_idempotent: bool = False) -> None:
        self.verdicts: list[Verdict] = []
        self.bound: list[Alias] = []
        self.bodies: list[bytes] = []
        session: Any = SimpleNamespace(remembers_letters=remembers, is_idempotent=is_idempotent)
        self.delivery = Delivery(
            letter(),
            session,
            100_000,
            lambda _, body: self.bodies.append(body),
            lambda delivery: self.bound.append(delivery.alias),
            lambda _, verdict: self.verdicts.append(verdict),
        )

    @property
    def verdict(self) -> Verdict:
        assert len(self.verdicts) == 1
        return self.verdicts[0]


def test_a_task_is_the_answer_and_tells_the_agents_ids() -> None:
    told = Told()
    told.delivery.answer(Result(TASK))
    assert told.verdict.fate is Fate.ACK
    assert told.verdict.answer is not None
    assert told.verdict.answer.kind is AnswerKind.TASK
    assert told.bound == [Alias("a1", "c1")]


def test_the_end_of_a_stream_makes_its_events_the_answer() -> None:
    told = Told()
    told.delivery.event(Event(b"s-1", STATUS), NO_HEADERS)
    told.delivery.event(Event(b"s-2", TASK), NO_HEADERS)
    assert not told.verdicts
    told.delivery.end(None)
    assert told.verdict.fate is Fate.ACK
    assert told.bodies == [STATUS, TASK]
    assert told.bound == [Alias("a1", "c1")]  # once


def test_a_stream_without_a_word_is_no_answer() -> None:
    told = Told(remembers=True)
    told.delivery.end(None)
    assert told.verdict.fate is Fate.AGAIN


def test_an_error_of_the_agents_own_is_its_answer() -> None:
    told = Told()
    told.delivery.answer(AgentError(b'{"code":-32603,"message":"boom"}'))
    assert told.verdict.answer is not None
    assert told.verdict.answer.kind is AnswerKind.ERROR


def test_only_the_first_end_counts() -> None:
    told = Told()
    told.delivery.answer(Result(TASK))
    told.delivery.end(Refused(Reason.AGENT_TIMEOUT))
    assert told.verdict.fate is Fate.ACK


@pytest.mark.parametrize(
    ("reason", "remembers", "fate"),
    [
        (Reason.AGENT_OFFLINE, False, Fate.AGAIN),  # it never reached the agent
        (Reason.AGENT_TIMEOUT, True, Fate.AGAIN),
        (Reason.AGENT_TIMEOUT, False, Fate.BURY),  # it may have been run
        (Reason.AGENT_DISCONNECTED, False, Fate.BURY),
    ],
)
def test_a_connector_that_got_no_answer_is_asked_again_where_that_runs_nothing_twice(
    reason: Reason, remembers: bool, fate: Fate
) -> None:
    told = Told(remembers=remembers)
    told.delivery.answer(AgentError(jsonrpc.refusal(Refused(reason))))
    assert told.verdict.fate is fate


@pytest.mark.parametrize(
    ("reason", "fate", "dead"),
    [
        (Reason.AGENT_OFFLINE, Fate.NOT_TAKEN, None),
        (Reason.AGENT_BUSY, Fate.NOT_TAKEN, None),
        (Reason.AGENT_FRAME_LIMIT, Fate.BURY, DeadReason.TOO_LARGE),
        (Reason.BINDING_NOT_SERVED, Fate.BURY, DeadReason.NOT_SERVED),
        (Reason.RELAY_LEAVING, Fate.LEAVE, None),
        (Reason.AGENT_DISCONNECTED, Fate.BURY, DeadReason.DELIVERED_UNKNOWN),
        (Reason.AGENT_TIMEOUT, Fate.BURY, DeadReason.DELIVERED_UNKNOWN),
    ],
)
def test_what_a_refusal_means_for_an_agent_that_forgets(reason: Reason, fate: Fate, dead: DeadReason | None) -> None:
    told = Told()
    told.delivery.answer(Refused(reason))
    assert (told.verdict.fate, told.verdict.dead) == (fate, dead)


@pytest.mark.parametrize("kind", [{"remembers": True}, {"is_idempotent": True}])
def test_an_agent_that_may_run_it_again_gets_it_again(kind: dict[str, bool]) -> None:
    told = Told(**kind)
    told.delivery.answer(Refused(Reason.AGENT_DISCONNECTED))
    assert told.verdict.fate is Fate.AGAIN


def test_a_letter_whose_task_is_known_waits_for_the_agents_next_session() -> None:
    told = Told()
    told.delivery.event(Event(b"s-1", STATUS), NO_HEADERS)
    told.delivery.end(Refused(Reason.AGENT_DISCONNECTED))
    assert told.verdict.fate is Fate.LEAVE


def test_a_delivery_goes_on_after_an_end_that_was_in_doubt() -> None:
    told = Told()
    told.delivery.answer(AgentError(b'{"code":-32004,"message":"ended"}'))
    told.delivery.go_on(Alias("rly-1", "ctx"))
    told.delivery.answer(Result(TASK))
    assert [verdict.fate for verdict in told.verdicts] == [Fate.ACK, Fate.ACK]
    assert told.delivery.alias == Alias("rly-1", "ctx")


@pytest.mark.parametrize(("error", "code"), [(b'{"code":-7}', -7), (b'{"code":"x"}', 0), (b"[]", 0), (b"{}", 0)])
def test_the_code_of_an_error(error: bytes, code: int) -> None:
    assert code_of(error) == code
