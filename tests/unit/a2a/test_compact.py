"""The one-pass readers say what the strict readers say, or nothing."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import compact, jsonrpc, spans
from a2a_relay.a2a.methods import Operation
from a2a_relay.errors import Refused

TEXTS = ["m", "", "ä", "a\\u0062", "\\n", "x" * 40]
values = st.sampled_from(
    [*(f'"{text}"' for text in TEXTS), "null", "1", "-1", "1e3", "true", "[]", "{}", '[{"a":"}"}]']
)
blanks = st.sampled_from(["", "", "", "", " ", "\n"])


def objects(keys: list[str], inner: st.SearchStrategy[str] = values) -> st.SearchStrategy[str]:
    """JSON objects of some of these keys, sometimes one of them twice, sometimes with blanks."""
    members = st.lists(st.tuples(st.sampled_from(keys), inner, blanks), max_size=6)
    return members.map(lambda found: "{" + ",".join(f'"{key}":{blank}{value}' for key, value, blank in found) + "}")


MESSAGE = ["messageId", "role", "parts", "taskId", "contextId", "kind", "metadata", "extensions", "task_id", "x"]
CONFIGURATION = ["acceptedOutputModes", "blocking", "returnImmediately", "historyLength", "pushNotificationConfig", "y"]
messages = objects(MESSAGE)
params = st.builds(
    lambda message, configuration, last: f'{{"message":{message}{configuration}{last}}}',
    st.one_of(messages, values),
    st.one_of(st.just(""), objects(CONFIGURATION).map(lambda found: f',"configuration":{found}')),
    st.sampled_from(
        ["", "", ',"metadata":{"a":1}', ',"tenant":"t"', ',"message":{}', ',"Message":{}', ',"task\\u0049d":1']
    ),
)
envelopes = st.one_of(
    objects(["jsonrpc", "id", "method", "params", "x"]),
    st.builds(
        lambda version, name, method, params: (
            f'{{"jsonrpc":{version},"id":{name},"method":{method},"params":{params}}}'
        ),
        st.sampled_from(['"2.0"', '"2.0"', '"2.0"', '"1.0"', '"2\\u002e0"', "2"]),
        values,
        st.sampled_from(['"SendMessage"', '"message/send"', '"vendor/x"', '"sendmessage"', '"Send\\u004dessage"', "1"]),
        params,
    ),
)


def outcome(reader: Any, *args: Any) -> object:
    try:
        return reader(*args)
    except Refused as refused:
        return refused.reason, refused.message, getattr(refused, "id", None)


@settings(max_examples=400, deadline=None)
@given(envelopes.map(str.encode))
def test_an_envelope_is_read_as_the_strict_reader_reads_it(body: bytes) -> None:
    with patch.object(compact, "envelope", lambda _: None):
        strict = outcome(jsonrpc.read, body)
    assert outcome(jsonrpc.read, body) == strict


@settings(max_examples=400, deadline=None)
@given(params.map(str.encode), st.sampled_from([Operation.SEND, Operation.STREAM]))
@example(b'{"message":{"parts":[],"messageId":"m","metadata":{"taskId":"t"}},"configuration":{}}', Operation.SEND)
def test_a_message_is_read_as_the_strict_reader_reads_it(document: bytes, operation: Operation) -> None:
    with patch.object(compact, "message", lambda _: None):
        strict = outcome(spans.read, operation, document)
    assert outcome(spans.read, operation, document) == strict


@pytest.mark.parametrize(
    "message",
    [
        {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "grüße"}]},
        {"messageId": "m", "role": "user", "parts": [], "kind": "message", "contextId": "c", "taskId": "t"},
        {"messageId": "m", "role": "user", "parts": [], "metadata": {"a": {}}, "extensions": ["urn:x"]},
    ],
)
@pytest.mark.parametrize(
    "beside", [{}, {"configuration": {"blocking": True, "acceptedOutputModes": ["text"]}}, {"metadata": {"a": 1}}]
)
def test_what_clients_send_is_read_in_one_pass(message: dict[str, Any], beside: dict[str, Any]) -> None:
    document = json.dumps({"message": message, **beside}, separators=(",", ":"), ensure_ascii=False).encode()
    found = compact.message(document)
    assert found is not None
    assert (found.task_id, found.context_id) == (message.get("taskId", ""), message.get("contextId", ""))
    body = b'{"id":"1","jsonrpc":"2.0","params":%b,"method":"SendMessage"}' % document
    assert compact.envelope(body) == (b'"1"', "SendMessage", document)
