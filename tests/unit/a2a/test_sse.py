"""Server-sent events: one line per document, and a reader for streams however they were cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import sse
from a2a_relay.a2a.sse import Event, Reader

blanks = st.text("\n\r\t ", max_size=3)
odd_text = st.text(st.sampled_from('ab\u0085\u2028\u2029\u2030é\\"\n\r\U0001f600'), max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(odd_text, max_size=4), blanks, st.booleans())
def test_one_line_is_the_same_json_in_one_line(texts: list[str], blank: str, ascii: bool) -> None:
    items = [json.dumps(text, ensure_ascii=ascii) for text in texts]
    document = (blank + "[" + blank + f"{blank},{blank}".join(items) + blank + "]" + blank).encode()
    line = sse.one_line(document)
    assert json.loads(line) == texts
    assert len(line.decode().splitlines()) <= 1


def test_one_line_leaves_a_plain_document_alone() -> None:
    document = b'{"a":"\\n \xe2\x82\xac"}'
    assert sse.one_line(document) == document


def test_events_are_framed() -> None:
    assert sse.event(b'{"a":\n1}') == b'data: {"a": 1}\n\n'
    assert sse.named_event(b"receipt", b'{"a":\n1}') == b'event: receipt\ndata: {"a": 1}\n\n'
    assert sse.error_event(b"{}") == b"event: error\ndata: {}\n\n"
    assert sse.HEARTBEAT.startswith(b":")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read(pieces: list[bytes], limit: int = 10_000) -> list[Event]:
    reader = Reader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


line_ends = st.sampled_from(["\n", "\r\n", "\r"])
lines = st.sampled_from(
    [
        "data: a",
        "data:b",
        "data:  c",
        "data",
        "event: e",
        "id: 1",
        "id:2",
        "id",
        "id: \0",
        ": comment",
        "retry: 1",
        "x: y",
        "",
    ]
)


def understood(text: list[str]) -> list[Event]:
    """The events of lines, as WHATWG HTML 9.2.6 reads them."""
    found, name, data, id = [], "", list[str](), ""
    for line in text:
        if not line:
            if data:
                found.append(Event(name or "message", "\n".join(data).encode(), id))
            name, data = "", []
        field, _, content = line.partition(":")
        if field == "data":
            data.append(content.removeprefix(" "))
        elif field == "event":
            name = content.removeprefix(" ")
        elif field == "id" and "\0" not in content:
            id = content.removeprefix(" ")
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(lines, line_ends), max_size=10), st.lists(st.integers(0, 200), max_size=12))
@example([("data: a", "\r\n"), ("", "\n")], [8, 9])
@example([("data: a", "\r"), ("", "\r"), ("data: b", "\n"), ("", "\n")], list(range(30)))
def test_a_reader_finds_the_same_events_however_they_are_cut(text: list[tuple[str, str]], places: list[int]) -> None:
    # A lone CR before an empty line that ends in LF reads as one CRLF: not what was written.
    text = [(line, "\n" if end == "\r" and after == ("", "\n") else end) for (line, end), after in _with_next(text)]
    data = "".join(line + end for line, end in text).encode()
    assert read(cut(data, places)) == understood([line for line, _ in text])


def _with_next(text: list[tuple[str, str]]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    return list(zip(text, [*text, ("end", "")][1:], strict=True))


def test_a_reader_keeps_what_is_not_complete() -> None:
    reader = Reader(100)
    assert list(reader.feed(b"data: a\ndata: b")) == []
    assert list(reader.feed(b"\n")) == []
    assert list(reader.feed(b"\n")) == [Event("message", b"a\nb")]


def test_an_event_name_counts_for_its_event_alone() -> None:
    assert read([b"event: error\ndata: 1\n\ndata: 2\n\n"]) == [Event("error", b"1"), Event("message", b"2")]
    assert read([b"event: error\n\ndata: 2\n\n"]) == [Event("message", b"2")]


def test_an_id_holds_until_there_is_another() -> None:
    data = b"data: 0\n\nid: a\ndata: 1\n\ndata: 2\n\nid: b\0\ndata: 3\n\nid\ndata: 4\n\n"
    assert [event.id for event in read([data])] == ["", "a", "a", "a", ""]


def test_a_reader_knows_whether_an_event_has_begun() -> None:
    reader = Reader(100)
    for piece, begun in ((b":\n\n", False), (b"da", True), (b"ta: 1\n", True), (b"\n", False)):
        list(reader.feed(piece))
        assert reader.is_within_event is begun


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_an_event_above_the_limit_is_refused_however_it_is_cut(size: int) -> None:
    data = b"data: " + b"x" * 200 + b"\n\n"
    with pytest.raises(ValueError, match="limit"):
        read([data[at : at + size] for at in range(0, len(data), size)], limit=100)


@pytest.mark.parametrize("line", [b"data\n", b"data:\n", b"data: x\n"])
def test_an_event_of_many_small_lines_is_bounded(line: bytes) -> None:
    with pytest.raises(ValueError, match="limit"):
        read([line] * 10_000, limit=1_000)


@pytest.mark.parametrize("flood", [b"x" * 100, b": comment " * 20, b"event: " + b"e" * 100])
def test_a_line_without_an_end_is_bounded(flood: bytes) -> None:
    with pytest.raises(ValueError, match="limit"):
        read([flood] * 100, limit=1_000)


def test_many_events_within_the_limit_are_no_event_above_it() -> None:
    assert len(read([b"data: 12345678\n\n" * 1_000], limit=100)) == 1_000


def test_comments_cost_nothing() -> None:
    assert read([b":\n\n"] * 1_000 + [b"data: 1\n\n"], limit=20) == [Event("message", b"1")]
