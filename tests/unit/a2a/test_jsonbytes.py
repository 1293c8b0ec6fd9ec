"""The seam to JSON: members are the very bytes, and both of its sides agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.errors import Reason

MSGSPEC = jsonbytes.msgspec
SIDES = ["msgspec", "standard library"]


@pytest.fixture(params=SIDES, autouse=True)
def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "standard library":
        monkeypatch.setattr(jsonbytes, "msgspec", None)
    return str(request.param)


# The side is patched once for all examples of a property, which is what is wanted.
of_both_sides = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# --- documents in every style of writing ---

texts = st.text(max_size=8)
blanks = st.sampled_from(["", "", " ", "\n", "\r\n\t ", "  "])
numbers = st.one_of(
    st.integers().map(str),
    st.integers(min_value=10**400, max_value=10**401).map(str),
    st.sampled_from(["0", "-0", "1e5", "-1.5E+3", "0.0e-0", "1E400", "123456789012345678901234567890.5"]),
)


def escaped(text: str) -> str:
    return "".join(f"\\u{unit:04X}" for unit in utf16(text))


def utf16(text: str) -> list[int]:
    data = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def written(text: str, style: int) -> str:
    """A JSON string in one of three styles; all mean the same."""
    return (json.dumps(text), json.dumps(text, ensure_ascii=False), f'"{escaped(text)}"')[style]


strings = st.builds(written, texts, st.integers(0, 2))
scalars = st.one_of(strings, numbers, st.sampled_from(["true", "false", "null"]))


def in_array(items: list[str], blank: str) -> str:
    return "[" + blank + f"{blank},{blank}".join(items) + blank + "]"


def in_object(pairs: list[tuple[str, str]], blank: str) -> str:
    return "{" + blank + f"{blank},{blank}".join(f"{k}{blank}:{blank}{v}" for k, v in pairs) + blank + "}"


documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(in_array, st.lists(inner, max_size=3), blanks),
        st.builds(in_object, st.lists(st.tuples(strings, inner), max_size=3), blanks),
    ),
    max_leaves=8,
)
objects = st.tuples(
    st.dictionaries(texts, st.tuples(st.integers(0, 2), documents), max_size=5), blanks, blanks, st.booleans()
)


class TestMembers:
    @of_both_sides
    @given(objects)
    def test_are_exactly_the_substrings(self, drawn: Any) -> None:
        fields, blank, edge, compact = drawn
        blank = "" if compact else blank
        pairs = [(written(key, style), value) for key, (style, value) in fields.items()]
        data = (edge + in_object(pairs, blank) + edge).encode()
        jsonbytes.check(data)
        assert jsonbytes.members(data) == {key: value.encode() for key, (_, value) in fields.items()}

    @of_both_sides
    @given(st.lists(documents, max_size=4), blanks)
    def test_elements_are_exactly_the_substrings(self, items: list[str], blank: str) -> None:
        assert jsonbytes.elements(in_array(items, blank).encode()) == [item.encode() for item in items]

    @pytest.mark.parametrize(
        "data",
        [
            b'{"a":1,"a":1}',
            b'{"a":1,"a":2}',
            b'{"a":1,"b":2,"\\u0061":3}',
            b'{"\\u0061":1,"a":22}',
            b'{"/":1,"\\/":2}',
            '{"é":1,"\\u00e9":2}'.encode(),
            b'{"":0,"":0}',
            b'{ "a" : 1 ,\n"a": 2}',
            b'{"\\ud800":1,"\\uD800":2}',
        ],
    )
    def test_refuse_a_key_that_appears_twice(self, data: bytes) -> None:
        with pytest.raises(Malformed) as refused:
            jsonbytes.members(data)
        assert refused.value.reason is Reason.AMBIGUOUS_FIELD

    def test_keep_a_duplicate_that_is_deeper_as_bytes(self) -> None:
        assert jsonbytes.members(b'{"a":{"b":1,"b":2}}') == {"a": b'{"b":1,"b":2}'}

    @pytest.mark.parametrize("data", [b"[]", b"1", b'"x"', b"null", b" [1] "])
    def test_refuse_what_is_no_object(self, data: bytes) -> None:
        with pytest.raises(Malformed) as refused:
            jsonbytes.members(data)
        assert refused.value.reason is Reason.INVALID_REQUEST

    @pytest.mark.parametrize(
        "data", [b"", b" ", b"{", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{,}", b"{1:2}", b'{"a":1}x', b'{"a" 1}', b"{}{}"]
    )
    def test_refuse_broken_json(self, data: bytes) -> None:
        with pytest.raises(Malformed) as refused:
            jsonbytes.members(data)
        assert refused.value.reason is Reason.PARSE_ERROR

    def test_name_the_field_that_appears_twice_but_not_at_length(self) -> None:
        key = "k" * 5_000
        with pytest.raises(Malformed) as refused:
            jsonbytes.members(f'{{"{key}":1,"{key}":2}}'.encode())
        assert len(refused.value.message) < 120


class TestCheck:
    @of_both_sides
    @given(documents)
    def test_takes_every_document(self, document: str) -> None:
        jsonbytes.check(document.encode())

    @pytest.mark.parametrize(
        "data",
        [b"NaN", b"Infinity", b"-Infinity", b'{"a":NaN}', b"[-NaN]", b"nan", b"01", b"1.", b".5", b"+1", b"0x1", b"1e"],
    )
    def test_refuses_numbers_that_only_python_writes(self, data: bytes) -> None:
        with pytest.raises(Malformed) as refused:
            jsonbytes.check(data)
        assert refused.value.reason is Reason.PARSE_ERROR

    @pytest.mark.parametrize(
        "data",
        [b'"\n"', b'"\x00"', b'"\\x"', b'"\\u12"', b"'a'", b'"a', b"\xef\xbb\xbf{}", b"tru", b"// c\n1", b"[1 2]"],
    )
    def test_refuses_what_is_not_json(self, data: bytes) -> None:
        with pytest.raises(Malformed) as refused:
            jsonbytes.check(data)
        assert refused.value.reason is Reason.PARSE_ERROR

    @pytest.mark.parametrize("data", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b"\xf4\x90\x80\x80"])
    def test_refuses_what_is_not_utf8(self, data: bytes) -> None:
        with pytest.raises(Malformed) as refused:
            jsonbytes.check(data)
        assert refused.value.reason is Reason.INVALID_UTF8

    @pytest.mark.parametrize("data", [b'"\\ud800"', b'{"a":"\\udc00x"}', b'["\\ud83d","\\ude00"]', b'{"\\ud800":1}'])
    def test_takes_a_lone_surrogate_escape(self, data: bytes) -> None:
        jsonbytes.check(data)

    def test_takes_numbers_of_ten_thousand_digits(self) -> None:
        digits = b"7" * 10_000
        jsonbytes.check(digits)
        jsonbytes.check(b"-0." + digits + b"e-" + digits)
        assert jsonbytes.members(b'{"n": ' + digits + b"}") == {"n": digits}
        assert jsonbytes.elements(b"[" + digits + b"]") == [digits]


class TestDepth:
    @pytest.mark.parametrize(
        "opening, closing",
        [
            (b"[", b"]"),
            (b'{"a":', b"}"),
            (b'[{"a":', b"}]"),
            (b'{"a":[', b"]}"),
            (b'[[{"a":', b"}]]"),
            (b'["x",', b"]"),
        ],
    )
    @pytest.mark.parametrize("levels, passes", [(99, True), (100, True), (101, False), (102, False), (150, False)])
    def test_of_a_hundred_is_the_most(self, opening: bytes, closing: bytes, levels: int, passes: bool) -> None:
        step = opening.count(b"[") + opening.count(b"{")
        data = opening * (levels // step) + b"[" * (levels % step) + b"1" + b"]" * (levels % step)
        data += closing * (levels // step)
        if passes:
            jsonbytes.check(data)
            return
        with pytest.raises(Malformed) as refused:
            jsonbytes.check(data)
        assert refused.value.reason is Reason.TOO_DEEP

    def test_counts_no_brackets_inside_strings(self) -> None:
        jsonbytes.check(json.dumps(["[{" * 500, '\\"[' * 300, "]" * 300]).encode())

    def test_counts_no_brackets_that_stand_side_by_side(self) -> None:
        jsonbytes.check(b"[" + b",".join([b"{}", b"[]"] * 500) + b"]")

    @pytest.mark.parametrize("flood", [b"[", b"{", b'{"":', b"[{", b'"[', b"]", b"}{", b"[]", b'\\"[', b"[,"])
    def test_floods_of_a_mebibyte_are_refused(self, flood: bytes) -> None:
        with pytest.raises(Malformed):
            jsonbytes.check(flood * (2**20 // len(flood)))


class TestValues:
    @pytest.mark.parametrize("data, found", [(b'"a"', "a"), (b'"\\u0041"', "A"), (b'""', ""), (b'"\\ud800"', "\ud800")])
    def test_text_is_the_value_of_a_string(self, data: bytes, found: str) -> None:
        assert jsonbytes.text(data) == found

    @pytest.mark.parametrize("data", [None, b"", b"1", b"null", b"{}", b'["a"]'])
    def test_text_of_anything_else_is_none(self, data: bytes | None) -> None:
        assert jsonbytes.text(data) is None

    def test_a_value_that_python_cannot_build_is_malformed(self) -> None:
        with pytest.raises(Malformed):
            jsonbytes.value(b"9" * 10_000)

    @of_both_sides
    @given(
        st.recursive(st.none() | st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3))
    )
    def test_dump_writes_what_value_reads(self, document: Any) -> None:
        data = jsonbytes.dump(document)
        jsonbytes.check(data)
        assert jsonbytes.value(data) == document

    def test_dump_escapes_a_lone_surrogate(self) -> None:
        assert jsonbytes.dump({"a": "\ud83d"}) == b'{"a":"\\ud83d"}'


# --- the two sides against each other ---

SEEDS = [
    b'{"a":"x\\u00e9\\n","b":[1,2.5e3,-0,true,null,{"c":"\xc3\xa9"}],"d":{}}',
    b'[1,{"a":[]}]',
    b'"\\ud800"',
    b'{"k":1e5, "k2" : -0.0}',
    b'"\\ud83d\\ude00\xe2\x80\xa8"',
    b'{"a":{"b":{"c":[[],[{}]]}}}',
]
SPICE = b'{}[],:"\\ue0123456789.-+EntfaNI \t\n\x00\x1f\x7f\x80\xc3'


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        byte = draw(st.sampled_from(SPICE))
        match draw(st.integers(0, 2)):
            case 0:
                data[at : at + 1] = bytes([byte])
            case 1:
                data.insert(at, byte)
            case _:
                del data[at : at + 1]
    return bytes(data)


def verdict(data: bytes, *, with_msgspec: bool) -> Any:
    """What one side says: the members, that it is no object, or the reason of its refusal."""
    jsonbytes.msgspec = MSGSPEC if with_msgspec else None
    try:
        jsonbytes.check(data)
        return jsonbytes.members(data)
    except Malformed as refused:
        return refused.reason
    finally:
        jsonbytes.msgspec = MSGSPEC


@pytest.mark.parametrize("side", ["msgspec"], indirect=True)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=spoiled() | st.binary(max_size=12))
@example(data=b'{"a":1}\x0b')
@example(data=b'{"a":"\x7f"}')
def test_both_sides_take_and_refuse_the_same(side: str, data: bytes) -> None:
    if MSGSPEC is None:
        pytest.skip("msgspec is not installed")
    assert verdict(data, with_msgspec=True) == verdict(data, with_msgspec=False)
