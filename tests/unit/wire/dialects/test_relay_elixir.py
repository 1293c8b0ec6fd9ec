"""relay-elixir's link: bare requests out, bare answers in, streams as frames of their own."""

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
from a2a_relay.wire.dialects import RELAY_ELIXIR
from a2a_relay.wire.frames import Auth, Ignored, Response, StreamEnd, StreamEvent, Unreadable, Welcome

values = st.recursive(
    st.sampled_from(["1.50", "-0", '"\\u00e9é"', '"\\ud800"', "true", "9" * 40, "1E5", "{}", "[ ]"]),
    lambda inner: st.one_of(
        st.builds(lambda items: "[ " + " , ".join(items) + "]", st.lists(inner, max_size=3)),
        st.builds(lambda item: f'{{ "id":{item}\n}}', inner),
    ),
    max_leaves=6,
).map(str.encode)


class TestTheRelaysFrames:
    def test_are_relay_elixirs(self) -> None:
        assert RELAY_ELIXIR.welcome(Welcome("zaf", "acme", "e-1", 30, 5, 4, {})) == b'{"type":"auth_success"}'
        assert RELAY_ELIXIR.refusal("expected auth message") == b'{"error":"first message must be auth"}'
        assert RELAY_ELIXIR.refusal("auth required") == b'{"error":"invalid JSON"}'
        assert json.loads(RELAY_ELIXIR.refusal("invalid token") or b"") == {
            "error": "authentication failed",
            "reason": "invalid token",
        }

    def test_are_no_others(self) -> None:
        assert RELAY_ELIXIR.cancel("1", "CLIENT_GONE") is None
        assert RELAY_ELIXIR.goaway("bye", 5) is None
        assert RELAY_ELIXIR.probe("p") is None
        assert RELAY_ELIXIR.pong() is None

    @pytest.mark.parametrize(
        "method, tail",
        [
            ("SendMessage", b""),
            ("message/send", b""),
            ("SendStreamingMessage", b',"streaming":true'),
            ("message/stream", b',"streaming":true'),
        ],
    )
    def test_ask_under_the_clients_method_name_and_say_when_a_stream_is_wanted(self, method: str, tail: bytes) -> None:
        call = make_call(method, b'{ "message":{} }', client_id=b"7", meta={"version": "1.0"})
        assert RELAY_ELIXIR.request("e-1.1", call, 30_000) == (
            b'{"jsonrpc":"2.0","id":"e-1.1","method":"%b","params":{ "message":{} }%b}' % (method.encode(), tail)
        )

    @settings(max_examples=60, deadline=None)
    @given(values)
    def test_carry_params_as_their_bytes(self, value: bytes) -> None:
        params = b'{"a": %b}' % value
        assert b'"params":%b}' % params in RELAY_ELIXIR.request("e-1.1", make_call(params=params), 1)


class TestAnAgentsFrame:
    @pytest.mark.parametrize(
        "frame, event",
        [
            (b'{"type":"auth","token":"T","agent_card":{"name":"Z"}}', Auth("T", b'{"name":"Z"}')),
            (b'{"type":"auth"}', Auth("")),
            (b'{"jsonrpc":"2.0","id":"1","result":{ "n":1.0 }}', Response("1", b'{ "n":1.0 }')),
            (b'{"id":"1","result":null}', Response("1", b"null")),
            (b'{"type":"response","id":"1","result":{}}', Response("1", b"{}")),
            (
                b'{"id":"1","error":{"code":-32001,"message":"no"}}',
                Response("1", error=b'{"code":-32001,"message":"no"}'),
            ),
            (b'{"type":"stream_end","request_id":"1"}', StreamEnd("1")),
            (b'{"type":"stream_error","request_id":"1","error":{"code":-1 }}', StreamEnd("1", b'{"code":-1 }')),
            (
                b'{"type":"stream_error","request_id":"1","error":"it \\"broke\\""}',
                StreamEnd("1", b'{"code":-32603,"message":"it \\"broke\\""}'),
            ),
            (b'{"type":"ping"}', Ignored("ping")),
            (b'{"type":"' + b"x" * 200 + b'"}', Ignored("x" * 64)),
        ],
    )
    def test_is_read(self, frame: bytes, event: object) -> None:
        assert RELAY_ELIXIR.read(frame) == event

    @pytest.mark.parametrize("name", ["result", "event", "data", "chunk", "content"])
    def test_of_a_stream_may_call_its_body_by_any_of_five_names(self, name: str) -> None:
        frame = b'{"type":"stream_chunk","request_id":"1","%b":{ "n":1}}' % name.encode()
        assert RELAY_ELIXIR.read(frame) == StreamEvent("1", None, b'{ "n":1}')

    def test_of_a_stream_counts_by_the_first_name_that_holds_something(self) -> None:
        frame = b'{"type":"stream_chunk","request_id":"1","content":3,"data":2,"result":null}'
        assert RELAY_ELIXIR.read(frame) == StreamEvent("1", None, b"2")

    @pytest.mark.parametrize(
        "frame, event",
        [
            (b"", Unreadable(Reason.PARSE_ERROR)),
            (b"[]", Unreadable(Reason.INVALID_REQUEST)),
            (b"{}", Unreadable(Reason.INVALID_REQUEST)),
            (b'{"id":"1"}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"id":"1","error":"x"}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"id":7,"result":{}}', Unreadable(Reason.INVALID_REQUEST)),
            (b'{"type":"stream_chunk","request_id":"1"}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"type":"stream_chunk","result":{}}', Unreadable(Reason.INVALID_REQUEST)),
            (b'{"type":"stream_error","request_id":"1"}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"type":"stream_error","request_id":"1","error":7}', Unreadable(Reason.INVALID_AGENT_RESPONSE, ("1",))),
            (b'{"type":"stream_chunk","request_id":"1","data":"\xff"}', Unreadable(Reason.INVALID_UTF8, ("1",))),
            (b'{"type":"stream_chunk","request_id":"1","data":' + b"[" * 200, Unreadable(Reason.TOO_DEEP, ("1",))),
            (b'{"id":"1","result":1,"result":2}', Unreadable(Reason.AMBIGUOUS_FIELD, ("1",))),
        ],
    )
    def test_that_cannot_be_read_yields_its_id(self, frame: bytes, event: object) -> None:
        assert RELAY_ELIXIR.read(frame) == event

    @settings(max_examples=100, deadline=None)
    @given(values)
    def test_yields_its_body_as_its_bytes(self, body: bytes) -> None:
        assert RELAY_ELIXIR.read(b'{"result": %b ,"id":"e-1.1"}' % body) == Response("e-1.1", body)
        chunk = b'{"type":"stream_chunk","request_id":"e-1.1","chunk":%b}' % body
        assert RELAY_ELIXIR.read(chunk) == StreamEvent("e-1.1", None, body)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_of_any_bytes_never_raises(self, data: bytes) -> None:
        for frame in (data, b'{"id":"1","result":%b}' % data, b'{"type":"stream_chunk","request_id":%b}' % data):
            assert RELAY_ELIXIR.read(frame) is not None


class Relay:
    """A node, and links that came by relay-elixir's path."""

    def __init__(self) -> None:
        self.observer, self.clock = RecordingObserver(), FakeClock()
        self.node = make_node(clock=self.clock, observer=self.observer)

    def link(self) -> Playbook:
        claims = {"tenant": "acme", "agent_id": "zaf", "role": "agent", "exp": self.clock.now() + 60}
        return Playbook(self.node, self.clock, dialect=RELAY_ELIXIR, token=make_token(TEST_SECRET, claims))

    def attached(self) -> Playbook:
        link = self.link()
        link.play("""
            >> {"type":"auth","token":"$token","agent_card":{"name":"Zaf"}}
            << {"type":"auth_success"}
        """)
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
    def test_attaches_with_its_card(self, relay: Relay) -> None:
        relay.attached().play("<< nothing")
        (view,) = relay.node.agents.of_tenant("acme")
        assert (view.record.agent_card, view.record.dialect) == (b'{"name":"Zaf"}', "relay-elixir")

    @pytest.mark.parametrize(
        "frame, words, code",
        [
            ('{"type":"auth","token":"bad"}', '{"error":"authentication failed","reason":"invalid token"}', 4001),
            ('{"type":"hello"}', '{"error":"first message must be auth"}', 4000),
            ('{"id":"1","result":{}}', '{"error":"first message must be auth"}', 4000),
            ("nonsense", '{"error":"invalid JSON"}', 4000),
        ],
    )
    def test_is_refused_in_relay_elixirs_words_alone(self, relay: Relay, frame: str, words: str, code: int) -> None:
        relay.link().play(f"""
            >> {frame}
            << {words}
            << nothing
            xx {code}
        """)

    def test_that_says_nothing_is_given_up(self, relay: Relay) -> None:
        relay.link().play("""
            ++ 30
            << {"error":"auth timeout"}
            xx 4003
        """)

    def test_carries_a_unary_call(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(make_call())
        link.play("""
            << {"jsonrpc":"2.0","id":"e-1.1","method":"SendMessage","params":{"message":{}}}
            >> {"id":"e-1.1","result":{ "n":1.50 }}
            << nothing
        """)
        assert sink.outcome == Result(b'{ "n":1.50 }')

    def test_carries_a_stream_of_three_events_and_its_end(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(make_call("message/stream"))
        link.play("""
            << {"jsonrpc":"2.0","id":"e-1.1","method":"message/stream","params":{"message":{}},"streaming":true}
            >> {"type":"stream_chunk","request_id":"e-1.1","result":{"n":1}}
            >> {"type":"stream_chunk","request_id":"e-1.1","data":{"n":2}}
            >> {"type":"stream_chunk","request_id":"e-1.1","chunk":{"n":3}}
        """)
        assert [event.body for event in sink.events] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
        link.play('>> {"type":"stream_end","request_id":"e-1.1"}')
        assert sink.failure is None

    def test_ends_a_stream_with_its_error(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(make_call("message/stream"))
        link.play("""
            >> {"type":"stream_chunk","request_id":"e-1.1","result":{"n":1}}
            >> {"type":"stream_error","request_id":"e-1.1","error":"it broke"}
        """)
        assert sink.failure == AgentError(b'{"code":-32603,"message":"it broke"}')

    def test_takes_one_answer_to_a_streaming_call_for_all_of_it(self, relay: Relay) -> None:
        link = relay.attached()
        (sink,) = relay.ask(make_call("message/stream"))
        link.play('>> {"id":"e-1.1","result":{"n":1}}')
        assert (sink.bodies, sink.ends) == ([b'{"n":1}'], [None])

    def test_hears_nothing_of_a_client_that_has_gone(self, relay: Relay) -> None:
        link = relay.attached()
        relay.node.abandon(relay.node.submit(make_call("message/stream"), RecordingSink()))
        link.play("""
            << {"jsonrpc":"2.0","id":"e-1.1", ...}
            << nothing
            >> {"type":"stream_chunk","request_id":"e-1.1","result":{}}
            >> {"type":"stream_end","request_id":"e-1.1"}
            << nothing
        """)
        assert not link.transport.is_closed
        assert relay.observer.refused_frame_reasons == ["unknown_id", "unknown_id"]

    @pytest.mark.parametrize(
        "frame",
        [
            b'{"id":"e-1.1","result":"\xff"}',
            b'{"type":"stream_chunk","request_id":"e-1.1","data":"\xff"}',
            b'{"id":"e-1.1"}',
        ],
    )
    def test_fails_the_call_of_a_frame_that_cannot_be_read_and_no_other(self, relay: Relay, frame: bytes) -> None:
        link = relay.attached()
        first, second = relay.ask(make_call("message/stream"), make_call())
        link.link.receive(frame)
        assert isinstance(first.outcome, Refused)
        assert first.outcome.reason is Reason.INVALID_AGENT_RESPONSE
        link.play('>> {"id":"e-1.2","result":{}}')
        assert second.outcome == Result(b"{}")
