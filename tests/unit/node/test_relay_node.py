"""The one door for fronts: who may call whom, awaiting an answer, leaving."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.credential import Credential
from a2a_relay.core.exchange import Result
from a2a_relay.core.principal import Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.relay_node import Snapshot
from a2a_relay.testing import (
    Playbook,
    RecordingSink,
    make_call,
    make_principal,
)


def refusal(relay: Any, call: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        relay.node.submit(call, RecordingSink())
    return refused.value


class TestACall:
    def test_to_an_unknown_agent_is_refused(self, relay: Any) -> None:
        assert refusal(relay, make_call()).reason is Reason.AGENT_NOT_FOUND

    def test_to_an_agent_that_is_away_is_refused_for_a_while(self, relay: Any) -> None:
        relay.attached().play("xx")
        refused = refusal(relay, make_call())
        assert (refused.reason, refused.retry_after_seconds) == (Reason.AGENT_OFFLINE, 5)

    def test_across_tenants_looks_like_one_to_an_unknown_agent(self, relay: Any) -> None:
        relay.attached()
        stranger = make_principal("other")
        theirs = refusal(relay, make_call(principal=stranger))
        nobodys = refusal(relay, make_call(principal=stranger, address=Address("acme", "nobody")))
        assert theirs.reason is nobodys.reason is Reason.AGENT_NOT_FOUND
        assert theirs.message == nobodys.message
        assert theirs.metadata == nobodys.metadata == {}

    def test_is_taken_from_every_role_of_the_tenant(self, relay: Any) -> None:
        relay.attached()
        for role in (Role.ADMIN, Role.AGENT, Role.SENDER):
            relay.node.submit(make_call(principal=make_principal(role=role)), RecordingSink())
        assert relay.node.snapshot() == Snapshot(1, 3, 0, 0)

    async def test_may_be_awaited(self, relay: Any) -> None:
        link = relay.attached()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(relay.node.send(make_call()))
            await asyncio.sleep(0)
            link.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}')
        assert waiting.result() == Result(b"{}")

    async def test_that_is_awaited_no_longer_is_taken_back(self, relay: Any) -> None:
        link = relay.attached()
        waiting = asyncio.ensure_future(relay.node.send(make_call()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        link.play("""
            << {"type":"a2a.request", ...}
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"CLIENT_GONE"}}
        """)

    async def test_that_is_refused_raises_at_once(self, relay: Any) -> None:
        with pytest.raises(Refused):
            await relay.node.send(make_call())


def test_credentials_are_judged_at_the_clocks_time(relay: Any) -> None:
    token = relay.token()
    assert relay.node.authenticate(Credential(token)).identity == "agent:zaf"
    relay.clock.advance(3600 + 61)
    with pytest.raises(Refused, match="expired"):
        relay.node.authenticate(Credential(token))


class TestLeaving:
    async def leave(self, relay: Any, *links: Playbook, grace: float = 5.0) -> None:
        loop = asyncio.get_running_loop()
        for link in links:
            link.transport.on_close = lambda link=link: loop.call_soon(relay.node.link_ended, link.link)
        await relay.node.leave(grace)

    async def test_says_goaway_and_closes_every_link(self, relay: Any) -> None:
        native, old, stranger = relay.attached("ann"), relay.attached_old("bob"), relay.link("zaf")
        await self.leave(relay, native, old, stranger)
        native.play("""
            << {"type":"relay.goaway","payload":{"reason":"relay is shutting down","reconnect_after_ms":2500}}
            << nothing
            xx 1001
        """)
        for link in (old, stranger):
            link.play("""
                << nothing
                xx 1001
            """)
        assert relay.node.snapshot() == Snapshot(0, 0, 0, 0)
        assert relay.clock.pending == 0

    async def test_lets_calls_in_flight_finish_before_links_are_closed(self, relay: Any) -> None:
        link, sink = relay.attached(), RecordingSink()
        relay.node.submit(make_call(), sink)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.leave(relay, link))
            await asyncio.sleep(0)
            assert not link.transport.is_closed
            link.play("""
                << {"type":"a2a.request", ...}
                << {"type":"relay.goaway", ...}
                >> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}
            """)
        assert sink.outcome == Result(b"{}")
        link.play("xx 1001")

    async def test_ends_what_does_not_finish_with_an_error(self, relay: Any) -> None:
        link, sink, stream = relay.attached(), RecordingSink(), RecordingSink()
        relay.node.submit(make_call(), sink)
        relay.node.stream(make_call("SendStreamingMessage"), stream)
        link.play('>> {"type":"a2a.event","payload":{"id":"e-1.2","seq":1,"result":{}}}')
        await self.leave(relay, link, grace=0.01)
        assert isinstance(sink.outcome, Refused)
        assert isinstance(stream.failure, Refused)
        assert sink.outcome.reason is stream.failure.reason is Reason.RELAY_LEAVING
        link.play("""
            << {"type":"a2a.request", ...}
            << {"type":"a2a.request", ...}
            << {"type":"relay.goaway", ...}
            << {"type":"a2a.cancel","payload":{"id":"e-1.1","reason":"RELAY_LEAVING"}}
            << {"type":"a2a.cancel","payload":{"id":"e-1.2","reason":"RELAY_LEAVING"}}
            xx 1001
        """)

    async def test_takes_no_new_call_and_no_new_agent(self, relay: Any) -> None:
        link = relay.attached()
        await self.leave(relay, link)
        refused = refusal(relay, make_call())
        assert (refused.reason, refused.ruling.http_status) == (Reason.RELAY_LEAVING, 503)
        relay.link("ann").play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"error","message":"the relay is shutting down"}
            xx 1001
        """)

    async def test_of_an_empty_relay_is_at_once(self, relay: Any) -> None:
        await asyncio.wait_for(relay.node.leave(3600), 10)
