"""What is kept of answered calls between links, and what is claimed."""

from __future__ import annotations

from a2a_relay.connector import resuming
from a2a_relay.connector.resuming import Answers, claim
from a2a_relay.wire.flow import Outgoing, Window
from a2a_relay.wire.frames import Claim


def test_the_newest_answers_stay_within_both_bounds() -> None:
    answers = Answers()
    for number in range(100):
        answers.keep(str(number), b"x", is_stream=False, is_sent=True)
    assert answers.calls == [str(number) for number in range(99, 99 - resuming.MAX_ANSWERS, -1)]
    half = b"x" * (resuming.MAX_ANSWER_BYTES // 2)
    for id in "abc":
        answers.keep(id, half, is_stream=False, is_sent=True)
    assert answers.calls == ["c", "b"]


def test_an_answer_larger_than_the_bound_stays_alone_until_the_next() -> None:
    answers = Answers()
    answers.keep("a", b"x", is_stream=False, is_sent=True)
    answers.keep("large", b"x" * (resuming.MAX_ANSWER_BYTES + 1), is_stream=False, is_sent=True)
    assert answers.calls == ["large"]
    answers.keep("b", b"x", is_stream=False, is_sent=True)
    assert answers.calls == ["b"]


def test_answers_that_could_not_be_sent_are_all_kept_until_they_are() -> None:
    answers = Answers()
    for number in range(100):
        answers.keep(str(number), b"x", is_stream=False, is_sent=False)
    assert len(answers) == 100
    for number in range(100):
        assert answers.send_again(str(number)) == b"x"
    assert len(answers) == resuming.MAX_ANSWERS
    assert answers.send_again("0") is None
    answers.forget("99")
    assert "99" not in answers
    answers.clear()
    assert len(answers) == 0


def test_streams_are_claimed_with_what_is_held_of_them_and_calls_by_their_ids() -> None:
    answers = Answers()
    answers.keep("old", b"x", is_stream=False, is_sent=True)
    answers.keep("refused", b"x", is_stream=True, is_sent=True)
    answers.keep("unsent", b"x", is_stream=False, is_sent=False)
    stream = Outgoing("s", Window())
    for _ in range(4):
        stream.event(b"x")
    stream.credit(1)
    found = claim("s-1", [stream], ["running"], answers)
    assert found.session == "s-1"
    assert found.streams == (Claim("s", 2, 4), Claim("refused", 1, 0))
    assert found.calls == ("running", "unsent", "old")


def test_claims_fit_into_an_auth_frame_whatever_is_in_flight() -> None:
    streams = [Outgoing(f"s{number}", Window()) for number in range(400)]
    found = claim("s-1", streams, [str(number) for number in range(1000)], Answers())
    assert len(found.streams) == 400
    assert len(found.streams) + len(found.calls) == resuming.MAX_CLAIMS
