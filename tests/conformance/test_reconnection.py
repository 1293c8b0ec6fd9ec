"""Agents come and go: the one that is here serves, and who has gone takes nobody with it."""

from __future__ import annotations

import asyncio

import pytest

from agents import Agent, Attach
from behaviours import answering, echo, message, silent
from clients import Client, error_of, result_of


async def test_an_agent_that_comes_back_serves_again(attach: Attach, client: Client) -> None:
    first = await attach(id="phoenix")
    result_of(await client.rpc("phoenix", "SendMessage", message("one")))
    await first.close()
    await client.until_away("phoenix")
    second = await attach(answering({"by": "second"}), id="phoenix")
    assert result_of(await client.rpc("phoenix", "SendMessage", message("two"))) == {"by": "second"}
    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_an_agent_may_come_and_go_many_times(attach: Attach, client: Client) -> None:
    for n in range(5):
        agent = await attach(id="restless")
        result = result_of(await client.rpc("restless", "SendMessage", message(f"n{n}")))
        assert result["message"]["parts"][0]["text"] == f"Echo: n{n}"
        await agent.close()
        await client.until_away("restless")


async def test_an_agent_that_vanishes_without_a_word_can_come_back(attach: Attach, client: Client) -> None:
    first = await attach(id="crashed")
    first.link.transport.abort()
    await client.until_away("crashed")
    await attach(id="crashed")
    result_of(await client.rpc("crashed", "SendMessage", message("hi")))


async def test_other_agents_do_not_notice(attach: Attach, client: Client) -> None:
    steady, leaving = await attach(), await attach()
    await leaving.close()
    await client.until_away(leaving.id)
    result_of(await client.rpc(steady.id, "SendMessage", message("hi")))


@pytest.mark.capability("session-replaced")
async def test_the_newest_session_serves(attach: Attach, client: Client) -> None:
    await attach(answering({"by": "old"}), id="twin")
    await attach(answering({"by": "new"}), id="twin")
    assert result_of(await client.rpc("twin", "SendMessage", message("hi"))) == {"by": "new"}


@pytest.mark.capability("session-replaced")
async def test_the_end_of_an_old_session_never_removes_its_successor(attach: Attach, client: Client) -> None:
    old = await attach(id="twin")
    new = await attach(id="twin")
    await old.until_closed()
    await old.close()
    for _ in range(3):
        result_of(await client.rpc("twin", "SendMessage", message("hi")))
        await asyncio.sleep(0.1)
    assert len(new.calls) == 3
    entry = await client.listed("twin")
    assert entry is not None


@pytest.mark.capability("session-replaced")
async def test_a_replaced_session_is_closed_with_a_code_that_says_do_not_come_back(attach: Attach) -> None:
    old = await attach(id="twin")
    await attach(id="twin")
    assert 4000 <= await old.until_closed() < 5000


@pytest.mark.capability("session-replaced")
@pytest.mark.capability("native-link")
async def test_a_replaced_native_session_is_told_before_it_is_closed(native: Attach) -> None:
    old = await native(id="twin")
    await native(id="twin")
    goaway = await old.next_frame("relay.goaway")
    assert goaway["payload"]["reason"]
    assert goaway["payload"]["reconnect_after_ms"] is None
    await old.until_closed()


@pytest.mark.capability("session-replaced")
async def test_a_call_in_the_old_sessions_hands_ends_and_is_not_run_twice(attach: Attach, client: Client) -> None:
    old = await attach(silent, id="twin")
    waiting = asyncio.create_task(client.rpc("twin", "SendMessage", message("once")))
    await old.next_call()
    new = await attach(id="twin")
    await old.until_closed()
    assert error_of(await waiting)["code"]
    assert new.calls == []


@pytest.mark.capability("session-replaced")
async def test_an_answer_counts_only_from_the_session_that_was_asked(attach: Attach, client: Client) -> None:
    asked = await attach(silent)
    meddler: Agent = await attach()
    waiting = asyncio.create_task(client.rpc(asked.id, "SendMessage", message("hi")))
    call = await asked.next_call()
    await meddler.answer(call, {"by": "meddler"})
    await meddler.send("ping")
    await meddler.next_frame("pong")
    await asked.answer(call, {"by": "asked"})
    assert result_of(await waiting) == {"by": "asked"}
    result_of(await client.rpc(meddler.id, "SendMessage", message("still here")))


@pytest.mark.capability("session-replaced")
async def test_twins_of_other_tenants_do_not_replace_each_other(attach: Attach, client: Client, tenant: str) -> None:
    mine = await attach(echo, id="same-name")
    theirs = await attach(echo, id="same-name", of=f"{tenant}-b")
    result_of(await client.rpc("same-name", "SendMessage", message("hi")))
    assert (len(mine.calls), len(theirs.calls)) == (1, 0)
