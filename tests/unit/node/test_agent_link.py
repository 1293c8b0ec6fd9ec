"""The relay's end of an agent link, as dialogue."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from a2a_relay.core.address import Address
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import FakeClock, RecordingSink, make_call, make_unsigned_token


class TestTheHandshake:
    def test_of_relay_go_is_answered_as_relay_go_answers(self, relay: Any) -> None:
        relay.link().play("""
            >> {"type":"auth","token":"$token","agent_id":"somebody else","tenant":"other","agent_card":{"name":"Z"}}
            << {"type":"auth_ok","agent_id":"zaf","tenant":"acme"}
            << nothing
        """)
        assert relay.card() == b'{"name":"Z"}'
        assert [replaced for _, replaced in relay.observer.attached] == [False]

    def test_of_a_native_agent_is_told_everything(self, relay: Any) -> None:
        relay.link().play("""
            >> {"type":"auth","token":"$token","protocol":"a2a-relay/1"}
            << {"type":"auth_ok","agent_id":"zaf","tenant":"acme","protocol":"a2a-relay/1",\
                "session":"e-1","heartbeat_seconds":30,"max_frame":4259840,"max_body":4194304,\
                "public_urls":{"JSONRPC":"https://relay.example/t/acme/a2a/zaf/",\
                "HTTP+JSON":"https://relay.example/t/acme/a2a/zaf"},\
                "features":["chunks","credit","resume","letters"],"resume_seconds":30,"streams":[],"calls":[]}
            << nothing
        """)

    def test_of_an_admin_token_attaches_as_its_agent(self, relay: Any) -> None:
        link = relay.link()
        link._names["token"] = relay.token(role="")
        link.play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"auth_ok","agent_id":"zaf","tenant":"acme"}
        """)

    def test_welcomes_before_any_call(self, relay: Any) -> None:
        link = relay.link()
        with pytest.raises(Refused):
            relay.node.submit(make_call(), RecordingSink())
        link.play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"auth_ok", ...}
        """)
        relay.node.submit(make_call(), RecordingSink())
        link.play('<< {"type":"a2a.request", ...}')

    @pytest.mark.parametrize(
        "frame",
        ["", "{", "[]", '"auth"', "{}", '{"type":5}', '{"type":"auth","type":"auth"}', '{"type":"auth","token":"a"'],
    )
    def test_that_cannot_be_read_is_refused_in_both_old_dialects(self, relay: Any, frame: str) -> None:
        relay.link().play(f"""
            >> {frame}
            << {{"type":"error","message":"auth required"}}
            << {{"type":"auth_error","error":"auth required"}}
            xx 4000
        """)
        assert relay.observer.refused_links == [(Reason.INVALID_REQUEST, "auth required", "192.0.2.1:40000")]

    @pytest.mark.parametrize("kind", ["ping", "a2a.response", "hello", "pong", "card.update"])
    def test_begins_with_nothing_but_auth(self, relay: Any, kind: str) -> None:
        relay.link().play(f"""
            >> {{"type":"{kind}","payload":{{"id":"1","result":{{}}}}}}
            << {{"type":"error","message":"expected auth message"}}
            << {{"type":"auth_error","error":"expected auth message"}}
            xx 4000
        """)

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "a.b.c",
            "\\ud800",
            make_unsigned_token({"tenant": "acme", "agent_id": "zaf", "exp": FakeClock().now() + 9}),
        ],
    )
    def test_with_a_bad_token_is_told_not_to_come_back(self, relay: Any, token: str) -> None:
        relay.link().play(f"""
            >> {{"type":"auth","token":"{token}"}}
            << {{"type":"error", ...}}
            << nothing
            xx 4001
        """)
        assert relay.observer.refused_links[0][0] is Reason.UNAUTHENTICATED

    def test_of_a_client_is_refused(self, relay: Any) -> None:
        link = relay.link()
        link._names["token"] = relay.token(role="client")
        link.play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"error","message":"role client may not attach"}
            xx 4001
        """)

    def test_of_openclaw_is_refused_in_its_own_words(self, relay: Any) -> None:
        relay.link().play("""
            >> {"type":"auth","token":"bad","agent_card":{"url":"a2a-relay://acme/zaf"}}
            << {"type":"auth_error","error":"invalid token"}
            << nothing
            xx 4001
        """)

    def test_that_does_not_come_in_time_is_given_up(self, relay: Any) -> None:
        relay.link().play("""
            ++ 29.9
            << nothing
            ++ 0.1
            << {"type":"error","message":"auth timeout"}
            xx 4003
        """)

    def test_that_was_in_time_sets_no_trap(self, relay: Any) -> None:
        link = relay.attached()
        link.play("""
            ++ 86400
            << nothing
        """)
        assert not link.transport.is_closed
        assert relay.clock.pending == 0

    def test_that_is_too_large_is_refused(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(max_first_frame=2_000)
        relay.link().play(f"""
            >> {{"type":"auth","token":"$token","pad":"{"x" * 2_000}"}}
            << {{"type":"error","message":"the auth frame is too large"}}
            << {{"type":"auth_error", ...}}
            xx 4000
        """)

    @pytest.mark.parametrize(
        "card", ['{"a":1,"a":2}', '{"x":"' + "y" * 70_000 + '"}', '{"capabilities":{"a":1,"a":2}}']
    )
    def test_with_a_card_that_cannot_be_kept_is_refused(self, relay: Any, card: str) -> None:
        relay.link().play(f"""
            >> {{"type":"auth","token":"$token","agent_card":{card}}}
            << {{"type":"error", ...}}
            xx 4000
        """)
        assert relay.node.snapshot().agents_attached == 0

    def test_of_one_agent_too_many_is_refused(self, relay_with: Callable[..., Any]) -> None:
        relay = relay_with(agents_per_tenant=2)
        relay.attached("ann")
        relay.attached("bob")
        relay.link("zaf").play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"error","message":"the tenant has its fill of agents"}
            xx 4005
        """)
        relay.attached("zaf", "other")
        relay.attached("ann")

    def test_is_over_after_the_refusal(self, relay: Any) -> None:
        link = relay.link()
        link.play("""
            >> {}
            xx 4000
        """)
        link.transport.take_all()
        link.play("""
            >> {"type":"auth","token":"$token"}
            << nothing
            xx
        """)
        assert relay.node.snapshot().agents_attached == 0

    def test_after_a_hang_up_means_nothing(self, relay: Any) -> None:
        link = relay.link()
        link.play("xx")
        relay.clock.advance(60)
        assert link.transport.frames == []


class TestFrames:
    def test_pings_are_answered(self, relay: Any) -> None:
        relay.attached().play("""
            >> {"type":"ping"}
            << {"type":"pong"}
            >> {"type":"pong"}
            << nothing
        """)

    def test_probes_are_answered_but_not_ones_own(self, relay: Any) -> None:
        relay.attached().play("""
            >> {"type":"relay.probe","payload":{"id":"p"}}
            << {"type":"relay.probe","payload":{"id":"p"}}
            >> {"type":"relay.probe","payload":{"id":"e-1.probe"}}
            << nothing
        """)

    def test_of_no_meaning_are_counted_and_the_link_lives(self, relay: Any) -> None:
        link = relay.attached()
        link.play("""
            >> {"type":"hello"}
            >> {"type":"auth","token":"$token"}
            >> {"type":"a2a.response","payload":{"id":"e-1.99","result":{}}}
            >> {"type":"a2a.event","payload":{"id":"x","seq":1,"result":{}}}
            << {"type":"a2a.cancel","payload":{"id":"x","reason":"CLIENT_GONE"}}
            >> {"type":"a2a.end","payload":{"id":"x"}}
            >> nonsense
            << nothing
        """)
        assert relay.observer.refused_frame_reasons == [
            "unknown_type",
            "unknown_type",
            "unknown_id",
            "unknown_id",
            "unknown_id",
            "PARSE_ERROR",
        ]
        assert not link.transport.is_closed

    def test_that_cannot_be_read_fail_their_own_call_at_once_and_no_other(self, relay: Any) -> None:
        link = relay.attached()
        first, second = RecordingSink(), RecordingSink()
        relay.node.submit(make_call(), first)
        relay.node.submit(make_call(), second)
        link.link.receive(b'{"type":"a2a.response","payload":{"id":"e-1.1","result":"\xff"}}')
        assert isinstance(first.outcome, Refused)
        assert first.outcome.reason is Reason.INVALID_AGENT_RESPONSE
        assert not second.is_over
        link.play('>> {"type":"a2a.response","payload":{"id":"e-1.2","result":{}}}')
        assert second.outcome == (b"{}", None, {})

    def test_that_cannot_be_read_fail_their_call_though_its_id_comes_last(self, relay: Any) -> None:
        link = relay.attached()
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        link.link.receive(b'{"type":"a2a.response","payload":{"result":{"id":"task-1","x":"\xff"},"id":"e-1.1"}}')
        assert isinstance(sink.outcome, Refused)

    @pytest.mark.parametrize(
        "payload", ['{"id":"e-1.1"}', '{"id":"e-1.1","error":"x"}', '{"id":"e-1.1","error":{"code":1,"code":2}}']
    )
    def test_that_answer_nothing_fail_their_call(self, relay: Any, payload: str) -> None:
        link = relay.attached()
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        link.play(f'>> {{"type":"a2a.response","payload":{payload}}}')
        assert isinstance(sink.outcome, Refused)

    @pytest.mark.parametrize("frame", [b"\xff\xfe", b"", b"\x00" * 100, b"[" * 100_000, b'{"type":"\\ud800"}', b"7"])
    def test_of_junk_never_raise(self, relay: Any, frame: bytes) -> None:
        relay.link().link.receive(frame)
        link = relay.attached()
        link.link.receive(frame)
        assert not link.transport.is_closed

    def test_of_another_agent_cannot_answer(self, relay: Any) -> None:
        relay.attached("zaf")
        thief = relay.attached("ann")
        sink = RecordingSink()
        relay.node.submit(make_call(), sink)
        thief.play('>> {"type":"a2a.response","payload":{"id":"e-1.1","result":{}}}')
        assert not sink.is_over
        assert relay.observer.refused_frame_reasons == ["unknown_id"]


class TestState:
    def test_paused_counts_as_away_until_ready(self, relay: Any) -> None:
        link = relay.attached()
        link.play('>> {"type":"agent.state","payload":{"state":"paused","reason":"upstream_unavailable"}}')
        assert relay.node.agents.find(Address("acme", "zaf")).state == "paused"
        with pytest.raises(Refused, match="upstream_unavailable") as refused:
            relay.node.submit(make_call(), RecordingSink())
        assert refused.value.reason is Reason.AGENT_OFFLINE
        link.play('>> {"type":"agent.state","payload":{"state":"ready"}}')
        relay.node.submit(make_call(), RecordingSink())
        assert [facts["ready"] for _, facts in relay.observer.notices] == [False, True]


class TestLetters:
    def test_are_accepted_in_words_that_the_relay_knows(self, relay: Any) -> None:
        link = relay.attached(more=',"features":["letters"]')
        link.play('>> {"type":"a2a.accept","payload":{"id":"gone.1"}}')
        assert relay.observer.refused_frames == []

    @pytest.mark.parametrize("more, remembers", [('"protocol":"a2a-relay/1"', True), ('"dialect":"relay-go"', False)])
    def test_are_remembered_by_native_agents_that_say_so(self, relay: Any, more: str, remembers: bool) -> None:
        link = relay.link()
        link.play(f"""
            >> {{"type":"auth","token":"$token","features":["letters"],{more}}}
            << {{"type":"auth_ok", ...}}
        """)
        assert [session.remembers_letters for session in relay.node._hub] == [remembers]


class TestCardUpdates:
    UPDATE = '>> {"type":"card.update","payload":{"agent_card":{"n":%d}}}'

    def test_change_the_card_and_when_it_changed(self, relay: Any) -> None:
        link = relay.attached(more=',"agent_card":{"n":0}')
        relay.clock.advance(10)
        link.play(self.UPDATE % 0)
        unchanged = relay.node.agents.find(Address("acme", "zaf")).record
        link.play(self.UPDATE % 1)
        changed = relay.node.agents.find(Address("acme", "zaf")).record
        assert (unchanged.agent_card, changed.agent_card) == (b'{"n":0}', b'{"n":1}')
        assert changed.card_changed_at > unchanged.card_changed_at
        assert changed.registered_at == unchanged.registered_at

    def test_are_ten_a_minute(self, relay: Any) -> None:
        link = relay.attached()
        for number in range(12):
            link.play(self.UPDATE % number)
        assert relay.card() == b'{"n":9}'
        assert relay.observer.refused_frame_reasons == ["RATE_LIMITED"] * 2
        relay.clock.advance(61)
        link.play(self.UPDATE % 100)
        assert relay.card() == b'{"n":100}'

    @pytest.mark.parametrize("card", ["null", "[]", '"x"', '{"a":1,"a":1}', '{"x":"' + "y" * 70_000 + '"}'])
    def test_that_are_no_card_change_nothing(self, relay: Any, card: str) -> None:
        link = relay.attached(more=',"agent_card":{"n":0}')
        link.play(f'>> {{"type":"card.update","payload":{{"agent_card":{card}}}}}')
        assert relay.card() == b'{"n":0}'
        assert len(relay.observer.refused_frames) == 1

    def test_an_agent_that_comes_without_a_card_keeps_its_last(self, relay: Any) -> None:
        relay.attached(more=',"agent_card":{"n":7}').play("xx")
        relay.attached()
        assert json.loads(relay.card() or b"") == {"n": 7}


def test_a_link_lives_no_longer_than_it_may(relay_with: Callable[..., Any]) -> None:
    relay = relay_with(session_limit_seconds=100, session_grace_seconds=20)
    relay.attached().play("""
        ++ 99
        << nothing
        ++ 1
        << {"type":"relay.goaway","payload":{"reason":"session limit","reconnect_after_ms":0}}
        ++ 20
        << nothing
        xx 1001
    """)
