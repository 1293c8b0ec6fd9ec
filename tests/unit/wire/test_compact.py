"""The one-pass readers of frames say what a dialect's strict reader says, or nothing."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.wire import compact
from a2a_relay.wire.dialects import NATIVE, RELAY_GO
from a2a_relay.wire.frames import Response, StreamEvent

values = st.sampled_from(
    ['"e-1.1"', '"ä"', '"a\\u0062"', '""', "null", "1", "-1", "01", "1e2", "{}", '{"a":[1]}', "[]"]
)
members = st.lists(
    st.tuples(st.sampled_from(["id", "result", "error", "seq", "status", "headers"]), values), max_size=5
)
payloads = members.map(lambda found: "{" + ",".join(f'"{key}":{value}' for key, value in found) + "}")
frames = st.builds(
    "{{{}}}{}".format,
    st.builds(
        '"type":{},"payload":{}{}'.format,
        st.sampled_from(['"a2a.response"', '"a2a.event"', '"a2a.end"', '"a2a.r\\u0065sponse"', " 1"]),
        st.one_of(payloads, values),
        st.sampled_from(["", "", "", ',"payload":{}', ',"type":"ping"', " "]),
    ),
    st.sampled_from(["", "", "", "}", " ", "\x00"]),
)


@settings(max_examples=500, deadline=None)
@given(frames.map(str.encode), st.sampled_from([NATIVE, RELAY_GO]))
def test_a_frame_is_read_as_the_strict_reader_reads_it(frame: bytes, dialect: Any) -> None:
    with patch.object(compact, "response", lambda _: None), patch.object(compact, "event", lambda _: None):
        strict = dialect.read(frame)
    assert dialect.read(frame) == strict


@pytest.mark.parametrize("result", [b'{"a":1}', b"null", '"grüße"'.encode(), b"[]"])
def test_what_agents_send_is_read_in_one_pass(result: bytes) -> None:
    frame = b'{"type":"a2a.response","payload":{"result":%b,"id":"e-1.1"}}' % result
    assert compact.response(frame) == Response("e-1.1", result=result)
    frame = b'{"type":"a2a.event","payload":{"id":"e-1.1","seq":7,"result":%b}}' % result
    assert compact.event(frame) == StreamEvent("e-1.1", 7, result)
