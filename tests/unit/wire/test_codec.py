"""Frames to bytes and back."""

from __future__ import annotations

import json

import pytest

from a2a_relay.a2a.jsonbytes import Malformed
from a2a_relay.errors import Reason
from a2a_relay.wire import codec


def test_a_frame_is_its_type_and_its_other_members_as_bytes() -> None:
    assert codec.read(b'{"payload":{ "a":1 }, "type":"x","n":[ ]}') == ("x", {"payload": b'{ "a":1 }', "n": b"[ ]"})


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b'{"type":1}', b"[]", b'"type"', b'{"type":"a","type":"b"}', b'{"type":']
)
def test_a_frame_without_a_type_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        codec.read(frame)


@pytest.mark.parametrize("data", [b"1", b"null", b'"x"', b"[]"])
def test_a_payload_must_be_an_object(data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.payload({"payload": data})
    assert codec.payload({}) == {}


@pytest.mark.parametrize("data", [b"1", b"null", b"{}"])
def test_a_required_text_is_a_string(data: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        codec.required_text({"id": data}, "id")
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert codec.required_text({"id": b'"a"'}, "id") == "a"


@pytest.mark.parametrize(
    "data, found",
    [(b"0", 0), (b"30000", 30000), (b"-1", None), (b"1.0", None), (b'"1"', None), (b"9" * 16, None), (b"", None)],
)
def test_an_integer_is_small_and_not_negative(data: bytes, found: int | None) -> None:
    assert codec.integer({"n": data}, "n") == found


def test_a_member_may_be_absent() -> None:
    assert codec.integer({}, "n") is None
    assert codec.present({}, "n") is None
    assert codec.present({"n": b"null"}, "n") is None
    assert codec.present({"n": b"0"}, "n") == b"0"
    assert codec.flag({"n": b"true"}, "n")
    assert not codec.flag({"n": b'"true"'}, "n")
    assert not codec.flag({}, "n")


@pytest.mark.parametrize(
    "frame, ids",
    [
        (b'{"type":"a2a.response","payload":{"id":"e-1.7","result":\xff}}', ("e-1.7",)),
        (b'{"result":{"id":"task"},"id":"e-1.7"', ("task", "e-1.7")),
        (b'{"id" :\n "x_y.1"', ("x_y.1",)),
        (b'{"id":"' + b"a" * 65 + b'"}', ()),
        (b'{"id":7}', ()),
        (b'{"ident":"a"}', ()),
        (b"", ()),
    ],
)
def test_a_broken_frame_is_searched_for_its_id(frame: bytes, ids: tuple[str, ...]) -> None:
    assert codec.find_ids(frame) == ids


def test_of_many_ids_in_a_broken_frame_the_first_and_the_last_are_looked_at() -> None:
    found = codec.find_ids(b",".join(b'"id":"%d"' % number for number in range(10_000)))
    assert len(found) == 16
    assert (found[0], found[-1]) == ("0", "9999")


def test_service_headers_are_a2as_own() -> None:
    said = (
        b'{"a2a-version":"1.0","a2a-extensions":"x","x-a2a-extensions":"y","A2A-Version":"2","set-cookie":"a",'
        b'"a2a-relay-sender":"root","x-a2a-relay-id":"r","a2a-n":1,"a2a-split":"a\\r\\nb: c","a2a-odd":"\xc3\xa9",'
        b'"a2a-big":"%b","a2a-":"x","a2a-a_b":"x"}' % (b"x" * 4097)
    )
    assert codec.service_headers({"headers": said}) == {
        "a2a-version": "1.0",
        "a2a-extensions": "x",
        "x-a2a-extensions": "y",
    }


def test_service_headers_are_kept_up_to_a_size() -> None:
    said = {f"a2a-x{number}": "x" * 4096 for number in range(900)}
    kept = codec.service_headers({"headers": json.dumps(said).encode()})
    assert list(kept) == ["a2a-x0", "a2a-x1", "a2a-x2"]


@pytest.mark.parametrize("fields", [{}, {"headers": b"null"}, {"headers": b"[]"}, {"headers": b'"a2a-version"'}])
def test_no_service_headers_are_none(fields: dict[str, bytes]) -> None:
    assert codec.service_headers(fields) == {}


def test_frames_are_written_compactly() -> None:
    assert codec.write("x", b'{ "a":1 }') == b'{"type":"x","payload":{ "a":1 }}'
    assert codec.write_flat("x", b=1) == b'{"type":"x","b":1}'
    assert codec.write_payload("x", b="é") == '{"type":"x","payload":{"b":"é"}}'.encode()
