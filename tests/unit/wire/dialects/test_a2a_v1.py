"""The proposed WebSocket binding: bare JSON-RPC, results that are events, ends in so many words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.core.exchange import AgentError, Result
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    Playbook,
    RecordingObserver,
    RecordingSink,
    make_call,
    make_node,
    make_token,
)
from a2a_relay.wire.dialects import A2A_V1
from a2a_relay.wire.frames import Auth, Ignored, Response, StreamEnd, StreamEvent, Unreadable, Welcome

STREAM = make_call("SendStreamingMessage")

values = st.recursive(
    st.sampled_from(["1.50", "-0", '"\\u00e9é"', '"\\ud800"', "true", "9" * 40, "1E5", "{}", "[ ]"]),
    lambda inner: st.one_of(
        st.builds(lambda items: "[ " + " , ".join(items) + "]", st.lists(inner, max_size=3)),
        st.builds(lambda item: f'{{ "id":{item}\n}}', inner),
    ),
    max_leaves=6,
).map(str.encode)


class TestARequest:
    def test_is_a_json_rpc_request_under_the_clients_method_name(self) -> None:
        frame = A2A_V1.request("e-1.1", make_call("SendMessage", b'{ "message":{"n":1.50} }'), 30_000)
        assert frame == b'{"jsonrpc":"2.0","id":"e-1.1","method":"SendMessage","params":{ "message":{"n":1.50} }}'

    def test_that_streams_looks_the_same(self) -> None:
        frame = A2A_V1.request("e-1.1", make_call("SendStreamingMessage", b"{}"), 1)
        assert json.loads(frame) == {"jsonrpc": "2.0", "id": "e-1.1", "method": "SendStreamingMessage", "params": {}}

    def test_tells_the_version_and_the_service_headers(self) -> None:
        headers = {"a2a-version": "1.0", "a2a-extensions": "https://example.com/ext/v1"}
        call = make_call("GetTask", b"{}", meta={"version": "1.0", "service_headers": headers})
        assert json.loads(A2A_V1.request("e-1.1", call, 1))["serviceParams"] == headers

    def test_tells_a_version_that_came_without_a_header(self) -> None:
        call = make_call("GetTask", b"{}", meta={"version": "1.0"})
        assert json.loads(A2A_V1.request("e-1.1", call, 1))["serviceParams"] == {"a2a-version": "1.0"}

    @settings(max_examples=60, deadline=None)
    @given(values)
    def test_carries_the_params_as_their_bytes(self, value: bytes) -> None:
        params = b'{"a": %b}' % value
        assert b'"params":%b}' % params in A2A_V1.request("e-1.1", make_call(params=params), 1)


class TestAnAgentsFrame:
    @pytest.mark.parametrize(
        "frame, event",
        [
            (b'{"jsonrpc":"2.0","id":"1","result":{ "n":1.0 }}', Response("1", b'{ "n":1.0 }')),
            (b'{"id":"1","result":null}', Response("1", b"null")),
            (b'{"id":"1","result":{},"error":null}', Response("1", b"{}")),
            (
                b'{"jsonrpc":"2.0","id":"1","error":{"code":-32001,"message":"no","data":[]}}',
                Response("1", error=b'{"code":-32001,"message":"no","data":[]}'),
            ),
            (b'{"jsonrpc":"2.0","id":"1","event":{ "n":1}}', StreamEvent("1", None, b'{ "n":1}')),
            (b'{"jsonrpc":"2.0","id":"1","streamEnd":true}', StreamEnd("1")),
            (b'{"jsonrpc":"2.0","id":"1","result":{},"streamEnd":false}', Response("1", b"{}")),
            (b'{"jsonrpc":"2.0","id":"1","result":{},"status":201,"headers":{"a2a-x":"y"}}', Response("1", b"{}")),
            (b'{"jsonrpc":"2.0","id":"1","method":"SendMessage","params":{}}', Ignored("SendMessage")),
            (b'{"jsonrpc":"2.0","method":"' + b"x" * 200 + b'"}', Ignored("x" * 64)),
        ],
    )
    def test_is_read(self, frame: bytes, event: object) -> None:
        assert A2A_V1.read(frame) == event

    @pytest.mark.parametrize(
        "frame, event",
        [
            (b"", Unreadable(Reason.PARSE_ERROR)),
            (b"[]", Unreadable(Reason.INVALID_REQUEST)),
            (b"{}", Unreadable(Reason.INVALID_REQUEST)),
            (b'{"id":"1"}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"id":"1","error":"x"}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"id":"1","result":{},"streamEnd":true}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"id":null,"error":{"code":-32700,"message":"x"}}', Unreadable(Reason.INVALID_REQUEST)),
            (b'{"id":7,"result":{}}', Unreadable(Reason.INVALID_REQUEST)),
            (b'{"id":"1","result":"\xff"}', Unreadable(Reason.INVALID_UTF8, ("1",))),
            (b'{"id":"1","result":1,"result":2}', Unreadable(Reason.AMBIGUOUS_FIELD, ("1",))),
            (b'{"id":"1","error":{"code":1,"code":2}}', Unreadable(Reason.AMBIGUOUS_FIELD, ("1",))),
            (b'{"id":"1","result":{}', Unreadable(Reason.PARSE_ERROR, ("1",))),
            (b'{"id":"1","result":' + b"[" * 200, Unreadable(Reason.TOO_DEEP, ("1",))),
        ],
    )
    def test_that_cannot_be_read_yields_its_id(self, frame: bytes, event: object) -> None:
        assert A2A_V1.read(frame) == event

    @settings(max_examples=100, deadline=None)
    @given(values)
    def test_yields_its_body_as_its_bytes(self, body: bytes) -> None:
        assert A2A_V1.read(b'{"jsonrpc":"2.0","result": %b ,"id":"e-1.1"}' % body) == Response("e-1.1", body)
        assert A2A_V1.read(b'{"jsonrpc":"2.0","id":"e-1.1","event":%b}' % body) == StreamEvent("e-1.1", None, body)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_of_any_bytes_never_raises(self, data: bytes) -> None:
        for frame in (data, b'{"id":"1","result":%b}' % data, b'{"id":%b}' % data):
            assert A2A_V1.read(frame) is not None


def test_there_is_no_handshake_and_nothing_but_calls() -> None:
    assert A2A_V1.welcome(Welcome("zaf", "acme", "e-1", 30, 5, 4, {})) is None
    assert A2A_V1.refusal("no") is None
    assert A2A_V1.goaway("bye", 5) is None
    assert A2A_V1.probe("p") is None
    assert A2A_V1.pong() is None


class Relay:
    """A node, and an agent whose upgrade has brought its credential."""

    def __init__(self) -> None:
        self.observer, self.clock = RecordingObserver(), FakeClock()
        self.node = make_node(clock=self.clock, observer=self.observer)

    def attached(self, agent: str = "zaf", **claims: Any) -> Playbook:
        link = Playbook(self.node, self.clock, dialect=A2A_V1)
        fields = {"tenant": "acme", "agent_id": agent, "role": "agent", "exp": self.clock.now() + 60, **claims}
        link.link.attach(Auth(make_token(TEST_SECRET, fields)))
        return link

    def ask(self, *calls: Any) -> list[RecordingSink]:
        sinks = [RecordingSink() for _ in calls]
        for call, sink in zip(calls, sinks, strict=True):
            (self.node.stream if call.streams else self.node.submit)(call, sink)
        return sinks


@pytest.fixture
def relay() -> Relay:
    return Relay()


class TestALink:
    def test_is_attached_without_a_word(self, relay: Relay) -> None:
        link = relay.attached()
        link.play("""
            << nothing
            ++ 86400
            << nothing
        """)
        assert not link.transport.is_closed
        assert relay.node.snapshot().agents_attached == 1

    def test_carries_a_unary_call(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(make_call())
        link.play("""
            << {"jsonrpc":"2.0","id":"e-1.1","method":"SendMessage","params":{"message":{}}}
            >> {"jsonrpc":"2.0","id":"e-1.1","result":{ "n":1.50 }}
            << nothing
        """)
        assert sink.outcome == Result(b'{ "n":1.50 }')

    def test_carries_a_stream_of_three_events_and_its_end(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(STREAM)
        link.play("""
            << {"jsonrpc":"2.0","id":"e-1.1","method":"SendStreamingMessage", ...}
            >> {"jsonrpc":"2.0","id":"e-1.1","result":{"n":1}}
            >> {"jsonrpc":"2.0","id":"e-1.1","event":{"n":2}}
            >> {"jsonrpc":"2.0","id":"e-1.1","result":{"n":3}}
        """)
        assert [event.body for event in sink.events] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
        assert not sink.is_over
        link.play('>> {"jsonrpc":"2.0","id":"e-1.1","streamEnd":true}')
        assert sink.failure is None
        assert relay.node.snapshot().calls_in_flight == 0

    def test_ends_a_stream_with_the_agents_error(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(STREAM)
        link.play("""
            >> {"jsonrpc":"2.0","id":"e-1.1","result":{"n":1}}
            >> {"jsonrpc":"2.0","id":"e-1.1","error":{"code":-32603,"message":"no more"}}
        """)
        assert sink.failure == AgentError(b'{"code":-32603,"message":"no more"}')

    def test_answers_a_stream_that_never_began_with_the_agents_error(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(STREAM)
        link.play('>> {"jsonrpc":"2.0","id":"e-1.1","error":{"code":-32602,"message":"no"}}')
        assert sink.outcome == AgentError(b'{"code":-32602,"message":"no"}')

    @pytest.mark.parametrize("method", ["SendStreamingMessage", "SendMessage"])
    def test_is_told_of_a_client_that_has_gone_and_may_confirm_it(self, relay: Relay, method: str) -> None:
        link = relay.attached()
        exchange = relay.node.submit(make_call(method), RecordingSink())
        relay.node.abandon(exchange)
        link.play(
            """
            << {"jsonrpc":"2.0","id":"e-1.1","method": "$method", "params":{"message":{}}}
            << {"jsonrpc":"2.0","id":"e-1.1","cancelStream":true}
            >> {"jsonrpc":"2.0","id":"e-1.1","streamEnd":true}
            << nothing
        """.replace("$method", method)
        )
        assert relay.observer.refused_frame_reasons == []
        assert not link.transport.is_closed

    def test_fails_the_call_of_a_frame_that_cannot_be_read_and_no_other(self, relay: Relay) -> None:
        link = relay.attached()
        first, second = relay.ask(make_call(), make_call())
        link.link.receive(b'{"jsonrpc":"2.0","id":"e-1.1","result":"\xff"}')
        assert isinstance(first.outcome, Refused)
        assert first.outcome.reason is Reason.INVALID_AGENT_RESPONSE
        link.play('>> {"jsonrpc":"2.0","id":"e-1.2","result":{}}')
        assert second.outcome == Result(b"{}")

    def test_fails_a_unary_call_that_the_agent_ends_as_a_stream(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(make_call())
        link.play('>> {"jsonrpc":"2.0","id":"e-1.1","streamEnd":true}')
        assert isinstance(sink.outcome, Refused)
        assert sink.outcome.reason is Reason.INVALID_AGENT_RESPONSE

    def test_keeps_the_card_that_the_agent_had(self, relay: Relay) -> None:
        token = make_token(TEST_SECRET, {"tenant": "acme", "agent_id": "zaf", "exp": relay.clock.now() + 60})
        Playbook(relay.node, relay.clock, token=token).play("""
            >> {"type":"auth","token":"$token","agent_card":{"name":"Zaf"}}
            << {"type":"auth_ok", ...}
        """)
        relay.attached()
        (view,) = relay.node.agents.of_tenant("acme")
        assert (view.record.agent_card, view.record.dialect) == (b'{"name":"Zaf"}', "a2a.v1")

    def test_that_is_refused_after_all_is_closed_with_the_reason(self, relay: Relay) -> None:
        link = relay.attached(role="client", sub="sam")
        link.play("""
            << nothing
            xx 4001
        """)
        assert relay.observer.refused_links[0][0] is Reason.PERMISSION_DENIED

    def test_that_a_newer_one_replaces_is_closed_without_a_frame(self, relay: Relay) -> None:
        old = relay.attached()
        relay.attached()
        old.play("""
            << nothing
            xx 4006
        """)
