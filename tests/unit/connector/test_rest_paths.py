"""One operation becomes one HTTP+JSON request, and no id ever leaves its path segment."""

from __future__ import annotations

import json
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.a2a import rest
from a2a_relay.a2a.methods import Operation
from a2a_relay.connector import rest_paths
from a2a_relay.errors import Refused
from a2a_relay.wire.frames import Rest

IDS = st.one_of(
    st.text(min_size=0, max_size=20),
    st.sampled_from(
        [
            "..",
            ".",
            "",
            "a/b",
            "..%2Fadmin",
            "%2e%2e",
            "%252e",
            "a\\b",
            "x?y",
            "x#y",
            "x;y",
            "x\x00",
            "\ud83d",
            "é",
            "a b",
        ]
    ),
)
WITH_IDS = {
    Operation.GET: ("id",),
    Operation.CANCEL: ("id",),
    Operation.SUBSCRIBE: ("id",),
    Operation.PUSH_SET: ("taskId",),
    Operation.PUSH_LIST: ("taskId",),
    Operation.PUSH_GET: ("taskId", "id"),
    Operation.PUSH_DELETE: ("taskId", "id"),
}


def as_sent(call: rest_paths.RestCall) -> tuple[str, list[str]]:
    """Verb and raw path segments as the HTTP client puts them on the wire."""
    target = call.path + (f"?{call.query}" if call.query else "")
    raw = httpx.Request(call.verb, f"http://127.0.0.1:9{target}").url.raw_path.decode("ascii")
    return call.verb, raw.partition("?")[0].split("/")[1:]


@given(st.sampled_from(sorted(WITH_IDS)), IDS, IDS)
def test_no_id_escapes_its_segment(operation: Operation, first: str, second: str) -> None:
    ids = dict(zip(WITH_IDS[operation], (first, second), strict=False))
    try:
        call = rest_paths.render(operation, json.dumps(ids).encode())
    except Refused:
        return
    _, segments = as_sent(call)
    template = rest_paths._TEMPLATES[operation].path.split("/")
    assert len(segments) == len(template)
    decoded = [unquote(segment) for segment in segments]
    assert all("/" not in segment and "\\" not in segment and segment not in (".", "..") for segment in decoded)
    assert decoded == [part.format(**ids) for part in template]


@given(st.lists(IDS, max_size=5), st.text(max_size=30))
def test_no_segment_of_a_0_3_call_escapes_either(segments: list[str], query: str) -> None:
    try:
        call = rest_paths.render_v03(Rest("GET", ("v1", *segments), query), b"{}")
    except (Refused, UnicodeEncodeError):
        return
    _, sent = as_sent(call)
    assert [unquote(segment) for segment in sent] == ["v1", *segments]


@given(st.sampled_from(sorted(WITH_IDS)), st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True))
def test_what_is_rendered_reads_back_as_the_same_call(operation: Operation, id: str) -> None:
    params = dict.fromkeys(WITH_IDS[operation], id)
    call = rest_paths.render(operation, json.dumps(params).encode())
    verb, segments = as_sent(call)
    read = rest.read_path([unquote(segment) for segment in segments], verb)
    assert read is not None
    assert (read.operation, read.ids) == (operation, params)


def test_the_fields_of_a_get_become_its_query_in_the_form_they_were_written() -> None:
    params = b'{"contextId":"a b","pageSize":10,"includeArtifacts":true,"status":null,"big":12345678901234567890}'
    call = rest_paths.render(Operation.LIST, params)
    assert call == ("GET", "/tasks", "contextId=a+b&pageSize=10&includeArtifacts=true&big=12345678901234567890", None)


def test_the_body_of_a_post_is_the_params_untouched() -> None:
    params = b'{ "message" : {"x":1.10} }'
    assert rest_paths.render(Operation.SEND, params) == ("POST", "/message:send", "", params)


def test_the_tenant_that_an_interface_names_is_the_first_segment() -> None:
    assert rest_paths.render(Operation.GET, b'{"tenant":"t1","id":"x"}').path == "/t1/tasks/x"


@pytest.mark.parametrize(
    "params", [b"{}", b'{"id":7}', b'{"id":""}', b'{"id":"a","tenant":".."}', b'{"id":"a","tenant":5}']
)
def test_a_call_without_a_proper_id_is_refused(params: bytes) -> None:
    with pytest.raises(Refused):
        rest_paths.render(Operation.GET, params)


def test_other_verbs_than_those_of_a2a_are_refused() -> None:
    with pytest.raises(Refused):
        rest_paths.render_v03(Rest("CONNECT", ("v1", "card"), ""), b"{}")
