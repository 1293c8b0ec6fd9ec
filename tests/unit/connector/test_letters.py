"""Letters at the connector, told as dialogue with relays of a few lines: delivered often, run once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from small_relay import NEW_WELCOME, Link, dialogue

from a2a_relay.connector import AgentError, IncomingRequest, letters
from a2a_relay.connector.upstream import UpstreamDown

WINDOW = {"events": 4, "bytes": 1000}
FEATURES = [*NEW_WELCOME["features"], "letters"]


async def welcome(link: Link, session: str = "s-1", **more: Any) -> None:
    await link.welcome(session, **{"features": FEATURES, **more})


async def deliver(link: Link, id: str, letter: str = "rly-1", **more: Any) -> None:
    """Deliver a letter whose answer is one."""
    await link.ask(id, params={"of": letter}, meta={"letter": letter, "attempt": 1, "something": "new"}, **more)


async def deliver_stream(link: Link, id: str, letter: str = "rly-1", window: Any = WINDOW) -> None:
    """Deliver a letter as a stream."""
    await link.ask(id, "SendStreamingMessage", stream=True, window=window, meta={"letter": letter})


async def hear_accept(link: Link, id: str) -> None:
    assert await link.hear() == {"type": "a2a.accept", "payload": {"id": id}}


async def hear_answer(link: Link, id: str) -> Any:
    """The result that a frame id is answered with."""
    answer = await link.hear()
    assert (answer["type"], answer["payload"]["id"]) == ("a2a.response", id), answer
    return answer["payload"].get("result", answer["payload"].get("error"))


async def hear_events(link: Link, id: str, *numbers: int) -> None:
    """Events with these numbers in them, under frame numbers that count from 1 for a new frame id."""
    for number in numbers:
        event = await link.hear()
        assert (event["type"], event["payload"]["id"]) == ("a2a.event", id), event
        assert event["payload"]["result"] == {"n": number}


async def hear_first_events(link: Link, id: str, *numbers: int) -> None:
    """The same from the beginning of a frame id, whose own numbers begin at 1."""
    for seq, number in enumerate(numbers, 1):
        event = (await link.hear())["payload"]
        assert event == {"id": id, "seq": seq, "result": {"n": number}}


async def hear_end(link: Link, id: str) -> None:
    assert await link.hear() == {"type": "a2a.end", "payload": {"id": id}}


async def nothing_comes(link: Link) -> None:
    for _ in range(3):
        await link.say({"type": "ping"})
        assert await link.hear() == {"type": "pong"}


class Slow:
    """Answers when it may, and counts how often it was called and stopped."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __call__(self, request: IncomingRequest) -> bytes:
        self.calls += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return request.params


class Counter:
    """Streams that count to a number, as far as they may, and how often and how far they got."""

    def __init__(self, last: int, gates: tuple[int, ...] = ()) -> None:
        self.calls = 0
        self.last = last
        self.gates = {number: asyncio.Event() for number in gates}
        self.yielded = 0
        self.stopped = asyncio.Event()

    async def __call__(self, request: IncomingRequest) -> AsyncIterator[dict[str, Any]]:
        self.calls += 1
        try:
            for number in range(1, self.last + 1):
                if number in self.gates:
                    await self.gates[number].wait()
                self.yielded = number
                yield {"n": number}
        except BaseException:
            self.stopped.set()
            raise


def letters_to(agent: Any, other: Any) -> Any:
    """A handler of two: one for letters, one for all else."""
    return lambda request: agent(request) if "letter" in request.meta else other(request)


class TestALetterInHand:
    async def test_that_comes_again_is_the_same_run_and_answers_under_the_newest_id(self) -> None:
        agent = Slow()

        async def script(link: Link) -> None:
            await welcome(link)
            for id in ("a", "b", "c"):
                await deliver(link, id)
                await hear_accept(link, id)
            agent.gate.set()
            assert await hear_answer(link, "c") == {"of": "rly-1"}
            await nothing_comes(link)

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    async def test_that_streams_goes_on_with_what_was_not_taken(self) -> None:
        agent = Counter(8, gates=(7, 8))

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver_stream(link, "a")
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2, 3, 4)
            await link.credit("a", 2)
            await hear_events(link, "a", 5, 6)
            await link.credit("a", 3)
            await deliver_stream(link, "b")
            await hear_accept(link, "b")
            await hear_first_events(link, "b", 4, 5, 6)
            agent.gates[7].set()
            await hear_events(link, "b", 7)
            await link.credit("a", 6)
            agent.gates[8].set()
            await nothing_comes(link)
            await link.credit("b", 4)
            await hear_events(link, "b", 8)
            await hear_end(link, "b")

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    async def test_that_streams_is_held_back_by_credit_like_any_stream(self) -> None:
        agent = Counter(20)

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver_stream(link, "a")
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2, 3, 4)
            await nothing_comes(link)
            assert agent.yielded == 6
            await link.cancel("a")

        await dialogue(script, handler=agent)

    async def test_that_streams_without_a_window_goes_on_with_what_was_not_sent(self) -> None:
        agent = Counter(5, gates=(3,))

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver_stream(link, "a", window=None)
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2)
            await deliver_stream(link, "b", window=None)
            await hear_accept(link, "b")
            agent.gates[3].set()
            await hear_first_events(link, "b", 3, 4, 5)
            await hear_end(link, "b")

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    @pytest.mark.parametrize("resume_seconds", [0, 30])
    async def test_goes_on_over_the_next_link(self, resume_seconds: int) -> None:
        agent = Slow()

        async def first(link: Link) -> None:
            await welcome(link, resume_seconds=resume_seconds)
            await deliver(link, "a")
            await hear_accept(link, "a")
            link.cut()

        async def second(link: Link) -> None:
            await welcome(link, "s-2", resume_seconds=resume_seconds)
            await nothing_comes(link)
            await deliver(link, "b")
            await hear_accept(link, "b")
            agent.gate.set()
            assert await hear_answer(link, "b") == {"of": "rly-1"}

        await dialogue(first, second, handler=agent)
        assert agent.calls == 1

    async def test_keeps_its_frame_id_where_the_relay_resumes_it(self) -> None:
        agent, counter = Slow(), Counter(6, gates=(5,))

        def both(request: IncomingRequest) -> Any:
            return counter(request) if request.stream else agent(request)

        async def first(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await hear_accept(link, "a")
            await deliver_stream(link, "s", "rly-2")
            await hear_accept(link, "s")
            await hear_first_events(link, "s", 1, 2, 3, 4)
            link.cut()

        async def second(link: Link) -> None:
            assert link.auth["resume"]["calls"] == ["a"]
            assert link.auth["resume"]["streams"] == [{"id": "s", "first": 1, "last": 4}]
            await welcome(link, "s-2", calls=["a"], streams=[{"id": "s", "through": 3}])
            await hear_events(link, "s", 4)
            agent.gate.set()
            assert await hear_answer(link, "a") == {"of": "rly-1"}
            counter.gates[5].set()
            await hear_events(link, "s", 5, 6)
            await hear_end(link, "s")

        await dialogue(first, second, handler=both)
        assert (agent.calls, counter.calls) == (1, 1)

    async def test_outlives_the_grace_and_waits_for_its_next_delivery(self) -> None:
        agent, other = Counter(10, gates=(5,)), Counter(2, gates=(1,))

        async def sleep(seconds: float) -> None:
            await asyncio.wait_for(other.stopped.wait(), 10)

        async def first(link: Link) -> None:
            await welcome(link, resume_seconds=1)
            await deliver_stream(link, "a")
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2, 3, 4)
            await link.credit("a", 4)
            await link.ask("x", "SendStreamingMessage", stream=True, window=WINDOW)
            await nothing_comes(link)
            link.cut()

        async def second(link: Link) -> None:
            assert "resume" not in link.auth, "the grace has passed"
            await welcome(link, "s-2")
            agent.gates[5].set()
            await nothing_comes(link)
            assert agent.yielded == 9, "as much as a window holds waits for the next delivery"
            await deliver_stream(link, "b")
            await hear_accept(link, "b")
            await hear_first_events(link, "b", 5, 6, 7, 8)
            await link.credit("b", 4)
            await hear_events(link, "b", 9, 10)
            await hear_end(link, "b")

        await dialogue(first, second, handler=letters_to(agent, other), sleep=sleep)
        assert agent.calls == 1

    async def test_is_nacked_where_it_was_given_up_while_the_relay_took_it_back(self) -> None:
        agent, other = Slow(), Counter(2, gates=(1,))

        async def first(link: Link) -> None:
            await welcome(link, resume_seconds=1)
            await deliver(link, "a")
            await hear_accept(link, "a")
            await link.ask("x", "SendStreamingMessage", stream=True, window=WINDOW)
            await nothing_comes(link)
            link.cut()

        async def second(link: Link) -> None:
            assert link.auth["resume"]["calls"] == ["a"]
            await asyncio.wait_for(other.stopped.wait(), 10)
            await welcome(link, "s-2", calls=["a"])
            nack = await link.hear()
            assert (nack["type"], nack["payload"]["id"]) == ("a2a.nack", "a")
            await deliver(link, "b")
            await hear_accept(link, "b")
            agent.gate.set()
            assert await hear_answer(link, "b") == {"of": "rly-1"}

        await dialogue(first, second, handler=letters_to(agent, other))
        assert agent.calls == 1

    async def test_that_nobody_asks_for_any_more_is_stopped_in_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters, "PATIENCE_SECONDS", 0.05)
        agent = Slow()

        async def first(link: Link) -> None:
            await welcome(link, resume_seconds=0)
            await deliver(link, "a")
            await hear_accept(link, "a")
            link.cut()

        async def second(link: Link) -> None:
            await welcome(link, "s-2")
            await asyncio.wait_for(agent.stopped.wait(), 5)
            agent.gate.set()
            await deliver(link, "b")
            await hear_accept(link, "b")
            assert await hear_answer(link, "b") == {"of": "rly-1"}

        await dialogue(first, second, handler=agent)
        assert agent.calls == 2

    async def test_has_as_long_as_the_relay_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters, "PATIENCE_SECONDS", 0.0)
        agent = Slow()

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a", timeout_ms=1)
            await hear_accept(link, "a")
            await link.ask("x", timeout_ms=1)
            assert (await hear_answer(link, "x"))["data"][0]["reason"] == "AGENT_TIMEOUT"
            agent.gate.set()
            assert await hear_answer(link, "a") == {"of": "rly-1"}

        await dialogue(script, handler=agent)

    async def test_that_is_cancelled_is_stopped_and_forgotten(self) -> None:
        agent = Slow()

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await hear_accept(link, "a")
            await link.cancel("a")
            await asyncio.wait_for(agent.stopped.wait(), 5)
            agent.gate.set()
            await deliver(link, "b")
            await hear_accept(link, "b")
            assert await hear_answer(link, "b") == {"of": "rly-1"}

        await dialogue(script, handler=agent)
        assert agent.calls == 2

    async def test_is_not_touched_by_a_cancel_of_an_earlier_delivery(self) -> None:
        agent = Slow()

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await deliver(link, "b")
            await link.cancel("a")
            await hear_accept(link, "b")
            agent.gate.set()
            assert await hear_answer(link, "b") == {"of": "rly-1"}

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    async def test_beyond_as_many_as_there_may_be_is_nacked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters, "MAX_LETTERS", 2)
        agent = Slow()

        async def script(link: Link) -> None:
            await welcome(link)
            for id in ("1", "2"):
                await deliver(link, id, f"rly-{id}")
                await hear_accept(link, id)
            await deliver(link, "3", "rly-3")
            refused = {"id": "3", "reason": "too many letters are in hand", "retry_after_ms": 1000}
            assert await link.hear() == {"type": "a2a.nack", "payload": refused}
            agent.gate.set()
            assert [await hear_answer(link, id) for id in ("1", "2")] == [{"of": "rly-1"}, {"of": "rly-2"}]

        await dialogue(script, handler=agent)
        assert agent.calls == 2

    async def test_that_streamed_may_come_again_for_one_answer(self) -> None:
        agent = Counter(9, gates=(3,))

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver_stream(link, "a")
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2)
            await deliver(link, "b")
            await hear_accept(link, "b")
            agent.gates[3].set()
            assert await hear_answer(link, "b") == {"n": 9}

        await dialogue(script, handler=agent)
        assert agent.calls == 1


class TestAnAnsweredLetter:
    async def test_is_answered_again_over_whichever_link(self) -> None:
        agent = Slow()
        agent.gate.set()

        async def first(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await hear_accept(link, "a")
            assert await hear_answer(link, "a") == {"of": "rly-1"}
            await deliver(link, "b")
            assert await hear_answer(link, "b") == {"of": "rly-1"}
            link.cut()

        async def second(link: Link) -> None:
            await welcome(link, "another-relay-1")
            await deliver(link, "c")
            assert await hear_answer(link, "c") == {"of": "rly-1"}
            await deliver_stream(link, "d")
            assert await hear_answer(link, "d") == {"of": "rly-1"}, "a stream of one event"

        await dialogue(first, second, handler=agent)
        assert agent.calls == 1

    async def test_whose_answer_was_given_while_there_was_no_link_has_it_kept(self) -> None:
        agent = Slow()
        cut, answered = asyncio.Event(), asyncio.Event()

        async def answering(request: IncomingRequest) -> bytes:
            body = await agent(request)
            answered.set()
            return body

        async def sleep(seconds: float) -> None:
            agent.gate.set()
            await asyncio.wait_for(answered.wait(), 5)

        async def first(link: Link) -> None:
            await welcome(link, resume_seconds=0)
            await deliver(link, "a")
            await hear_accept(link, "a")
            link.cut()
            cut.set()

        async def second(link: Link) -> None:
            await welcome(link, "s-2", resume_seconds=0)
            await deliver(link, "b")
            assert await hear_answer(link, "b") == {"of": "rly-1"}

        await dialogue(first, second, handler=answering, sleep=sleep)
        assert agent.calls == 1

    async def test_that_failed_fails_again(self) -> None:
        calls = 0

        async def agent(request: IncomingRequest) -> bytes:
            nonlocal calls
            calls += 1
            raise AgentError(-32004, "no")

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await hear_accept(link, "a")
            assert await hear_answer(link, "a") == {"code": -32004, "message": "no"}
            await deliver_stream(link, "b")
            assert await hear_answer(link, "b") == {"code": -32004, "message": "no"}

        await dialogue(script, handler=agent)
        assert calls == 1

    async def test_is_forgotten_for_newer_errors_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters, "MAX_ANSWER_BYTES", 40)
        calls = 0

        async def agent(request: IncomingRequest) -> bytes:
            nonlocal calls
            calls += 1
            raise AgentError(-32004, "no")

        async def script(link: Link) -> None:
            await welcome(link)
            for number, letter in enumerate(("rly-1", "rly-2", "rly-1")):
                await deliver(link, str(number), letter)
                await hear_accept(link, str(number))
                assert await hear_answer(link, str(number)) == {"code": -32004, "message": "no"}

        await dialogue(script, handler=agent)
        assert calls == 3

    async def test_whose_stream_broke_has_its_events_and_its_error_again(self) -> None:
        async def agent(request: IncomingRequest) -> AsyncIterator[dict[str, int]]:
            yield {"n": 1}
            raise AgentError(-32004, "no further")

        async def script(link: Link) -> None:
            await welcome(link)
            for id, is_accepted in (("a", True), ("b", False)):
                await deliver_stream(link, id)
                if is_accepted:
                    await hear_accept(link, id)
                await hear_first_events(link, id, 1)
                ended = await link.hear()
                assert (ended["type"], ended["payload"]["error"]["code"]) == ("a2a.end", -32004)

        await dialogue(script, handler=agent)

    async def test_that_streamed_little_is_streamed_again_in_whole_however_much_was_taken(self) -> None:
        agent = Counter(6)

        async def script(link: Link) -> None:
            await welcome(link)
            for id in ("a", "b"):
                await deliver_stream(link, id)
                if id == "a":
                    await hear_accept(link, id)
                await hear_first_events(link, id, 1, 2, 3, 4)
                await nothing_comes(link)
                await link.credit(id, 4)
                await hear_events(link, id, 5, 6)
                await hear_end(link, id)
                await link.credit(id, 7)

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    async def test_that_streamed_much_has_its_end_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters, "MAX_RECORD_BYTES", 20)
        agent = Counter(9)

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver_stream(link, "a")
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2, 3, 4)
            await link.credit("a", 4)
            await hear_events(link, "a", 5, 6, 7, 8)
            await link.credit("a", 8)
            await hear_events(link, "a", 9)
            await hear_end(link, "a")
            await link.credit("a", 10)
            await deliver_stream(link, "b")
            await hear_first_events(link, "b", 5, 6, 7, 8)
            await link.credit("b", 4)
            await hear_events(link, "b", 9)
            await hear_end(link, "b")

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    async def test_survives_a_cancel_of_its_delivery(self) -> None:
        agent = Counter(6)

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver_stream(link, "a", window={"events": 10, "bytes": 1000})
            await hear_accept(link, "a")
            await hear_first_events(link, "a", 1, 2, 3, 4, 5, 6)
            await hear_end(link, "a")
            await link.cancel("a")
            await deliver_stream(link, "b")
            await hear_first_events(link, "b", 1, 2, 3, 4)

        await dialogue(script, handler=agent)
        assert agent.calls == 1

    @pytest.mark.parametrize("bound, size", [("MAX_LETTERS", 2), ("MAX_ANSWER_BYTES", 32)])
    async def test_is_forgotten_when_newer_ones_fill_the_memory(
        self, monkeypatch: pytest.MonkeyPatch, bound: str, size: int
    ) -> None:
        monkeypatch.setattr(letters, bound, size)
        agent = Slow()
        agent.gate.set()

        async def script(link: Link) -> None:
            await welcome(link)
            for number in (1, 2, 3):
                await deliver(link, str(number), f"rly-{number}")
                await hear_accept(link, str(number))
                assert await hear_answer(link, str(number)) == {"of": f"rly-{number}"}
            for number in (2, 3):
                await deliver(link, f"again-{number}", f"rly-{number}")
                await hear_answer(link, f"again-{number}")
            assert agent.calls == 3
            await deliver(link, "again-1", "rly-1")
            await hear_accept(link, "again-1")
            await hear_answer(link, "again-1")

        await dialogue(script, handler=agent)
        assert agent.calls == 4


class TestALetter:
    async def test_that_did_not_reach_its_agent_is_nacked_and_comes_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = 0

        async def agent(request: IncomingRequest) -> bytes:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise UpstreamDown("not yet")
            return b'"now"'

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await hear_accept(link, "a")
            heard = [await link.hear() for _ in range(2)]
            nack = next(frame for frame in heard if frame["type"] == "a2a.nack")
            assert nack["payload"]["id"] == "a"
            assert {frame["type"] for frame in heard} == {"a2a.nack", "agent.state"}
            await deliver(link, "b")
            await hear_accept(link, "b")
            assert await hear_answer(link, "b") == "now"

        await dialogue(script, handler=agent)

    async def test_that_breaks_the_connector_fails_alone(self) -> None:
        async def agent(request: IncomingRequest) -> Any:
            return {"not JSON": object()} if request.meta else "fine"

        async def script(link: Link) -> None:
            await welcome(link)
            await deliver(link, "a")
            await hear_accept(link, "a")
            assert (await hear_answer(link, "a"))["code"] == -32603
            await link.ask("x")
            assert await hear_answer(link, "x") == "fine"

        await dialogue(script, handler=agent)

    @pytest.mark.parametrize("letter", [None, "", 7, ["rly-1"], "x" * 257])
    async def test_needs_an_id_to_be_one(self, letter: Any) -> None:
        agent = Slow()
        agent.gate.set()

        async def script(link: Link) -> None:
            await welcome(link)
            for id in ("a", "b"):
                await link.ask(id, meta={"letter": letter})
                assert await hear_answer(link, id) == {}

        await dialogue(script, handler=agent)
        assert agent.calls == 2

    async def test_is_none_for_a_relay_that_knows_no_letters(self) -> None:
        agent = Slow()
        agent.gate.set()

        async def script(link: Link) -> None:
            await link.welcome("s-1")
            for id in ("a", "b"):
                await deliver(link, id)
                assert await hear_answer(link, id) == {"of": "rly-1"}

        await dialogue(script, handler=agent)
        assert agent.calls == 2
