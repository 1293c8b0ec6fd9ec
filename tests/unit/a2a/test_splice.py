"""Edits change the values they name, and no other byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import jsonbytes, splice
from a2a_relay.a2a.jsonbytes import MAX_MEMBERS, Malformed
from a2a_relay.errors import Reason


@pytest.fixture(params=["msgspec", "standard library"], autouse=True)
def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "standard library":
        monkeypatch.setattr(jsonbytes, "msgspec", None)
    return str(request.param)


of_both_sides = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

NAMES = ["id", "message", "contextId", "x", "ä", ""]
blanks = st.sampled_from(["", "", "", " ", "\n\t", "\r\n  "])
scalars = st.sampled_from(
    ['"a"', '""', '"\\ud83d"', '"\\u0061\\/"', '"\\",\\"id\\":\\"b"', '"ä"', '"}"', '"\\\\"', "0", "-1.50E+3", "1e999"]
)


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=4))
    return (
        "[" + ",".join(draw(blanks) + item + draw(blanks) for item in items) + (draw(blanks) if not items else "") + "]"
    )


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5))  # also twice
    keys = [draw(st.sampled_from([json.dumps(name), json.dumps(name, ensure_ascii=False)])) for name in names]
    parts = (f"{draw(blanks)}{key}{draw(blanks)}:{draw(blanks)}{draw(inner)}{draw(blanks)}" for key in keys)
    return "{" + ",".join(parts) + (draw(blanks) if not keys else "") + "}"


values = st.recursive(scalars, lambda inner: st.one_of(arrays(inner), objects(inner)), max_leaves=12)
documents = st.builds("{}{}{}".format, blanks, objects(values), blanks).map(str.encode)


def numbers_as_text(data: bytes) -> Any:
    return json.loads(data, parse_int=str, parse_float=str)


def pairs(data: bytes) -> Any:
    """A document in which nothing that stands twice is lost."""
    return json.loads(data, parse_int=str, parse_float=str, object_pairs_hook=list)


@of_both_sides
@given(documents)
@example(b'{"a":1,"b":{"a":3},"a":22}')
@example(b'{"id":1,"x":[{"id":1}],"id":1}')
@example(b'{"a":0,"b":{"q":0,"b":1},"a":"ZZZZZ}ZZZZ"}')  # as long as if it were without the first member
def test_members_are_found_where_they_stand(document: bytes) -> None:
    found = splice.members(document)

    assert [(name, pairs(document[start:end])) for name, start, end in found] == pairs(document)
    assert all(document[start:end] == document[start:end].strip() for _, start, end in found)


@of_both_sides
@given(st.builds("{}{}{}".format, blanks, arrays(values), blanks).map(str.encode))
def test_elements_are_found_where_they_stand(document: bytes) -> None:
    found = splice.elements(document)

    assert [pairs(document[start:end]) for start, end in found] == pairs(document)
    assert all(document[start:end] == document[start:end].strip() for start, end in found)


@of_both_sides
@given(documents, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_to_replace_values_by_themselves_changes_nothing(document: bytes, outer: str, inner: str) -> None:
    assert splice.change(document, {outer: {inner: lambda data: bytes(bytearray(data))}}) is document


@of_both_sides
@given(documents, st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True), scalars.map(str.encode))
def test_only_the_named_values_change(document: bytes, names: list[str], value: bytes) -> None:
    changed = splice.change(document, dict.fromkeys(names, lambda data: value))

    here = [(name, value if name in names else document[start:end]) for name, start, end in splice.members(document)]
    assert [(name, changed[start:end]) for name, start, end in splice.members(changed)] == here
    assert outside(changed, names) == outside(document, names)


def outside(document: bytes, names: list[str]) -> bytes:
    edits = [splice.Edit(start, end, b"") for name, start, end in splice.members(document) if name in names]
    return splice.apply(document, edits)


@of_both_sides
@given(documents, st.sampled_from(NAMES))
def test_a_member_that_is_put_is_there_and_the_others_are_as_they_were(document: bytes, name: str) -> None:
    put = splice.put(document, (name,), b'"new"')

    before, after = numbers_as_text(document), numbers_as_text(put)
    assert after == {**before, name: "new"}
    if name not in before:
        assert [document[a:b] for _, a, b in splice.members(document)] == [put[a:b] for _, a, b in splice.members(put)][
            :-1
        ]


def written(document: bytes) -> list[bytes]:
    return [document[start:end] for _, start, end in splice.members(document)]


def test_a_member_is_put_into_what_stands_deeper() -> None:
    assert splice.put(b'{ "message" : { } }', ("message", "contextId"), b'"c"') == b'{ "message" : { "contextId":"c"} }'
    assert splice.put(b'{"message":{"a":1 }}', ("message", "b"), b"2") == b'{"message":{"a":1,"b":2 }}'


@pytest.mark.parametrize("document", [b"{}", b"[]", b"null", b'{"message":3}', b'{"message":[]}', b'"message"'])
def test_where_there_is_no_object_nothing_is_put(document: bytes) -> None:
    assert splice.put(document, ("message", "contextId"), b'"c"') is document


@of_both_sides
@given(st.lists(scalars, max_size=7), st.data(), blanks)
def test_elements_are_removed_with_one_comma_each(items: list[str], data: st.DataObject, blank: str) -> None:
    document = f"[{blank}{f'{blank},{blank}'.join(items)}{blank}]".encode()
    removed = sorted(data.draw(st.sets(st.sampled_from(range(len(items))))) if items else ())

    left = splice.without(document, splice.elements(document), removed)

    kept = [item for index, item in enumerate(items) if index not in removed]
    assert [left[start:end].decode() for start, end in splice.elements(left)] == kept


def test_every_element_of_an_array_is_changed() -> None:
    plan = {"tasks": splice.Each({"id": lambda data: b'"r"' if data == b'"a"' else None})}

    changed = splice.change(b'{"tasks": [ {"id":"a"}, {"id" : "b"},3,{"id":"a" }]}', plan)

    assert changed == b'{"tasks": [ {"id":"r"}, {"id" : "b"},3,{"id":"r" }]}'


def test_what_is_too_long_to_walk_is_refused() -> None:
    members = b"{" + b",".join(b'"%d":0' % n for n in range(MAX_MEMBERS + 1)) + b"}"
    with pytest.raises(Malformed) as refused:
        splice.members(members)
    assert refused.value.reason is Reason.INVALID_PARAMS

    with pytest.raises(Malformed):
        splice.elements(b"[" + b"0," * splice.MAX_ELEMENTS + b"0]")


def test_what_is_not_on_the_path_may_be_of_any_length() -> None:
    document = b'{"data":{' + b",".join(b'"%d":0' % n for n in range(5000)) + b'},"id":"a"}'

    assert splice.change(document, {"id": lambda data: b'"r"'}) == document[:-4] + b'"r"}'


def test_a_document_is_walked_once_per_level_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    walk = splice.members
    monkeypatch.setattr(splice, "members", lambda document: looked_at.append(len(document)) or walk(document))
    history = b'{"id":"a","parts":[{"text":"' + b"x" * 1000 + b'"}]}'
    document = b'{"task":{"history":[' + b",".join([history] * 1000) + b"]}}"

    splice.change(document, {"task": {"history": splice.Each({"id": lambda data: b'"r"'})}})

    assert sum(looked_at) <= 3 * len(document)
