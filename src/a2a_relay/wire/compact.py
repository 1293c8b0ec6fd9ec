"""One-pass readers for the frames that nearly all traffic consists of: compact JSON, no optional members.

As `a2a.compact`: None for whatever is different, and the dialect's strict reader decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_relay.a2a import jsonbytes
from a2a_relay.wire.frames import NO_HEADERS, Response, StreamEvent

if TYPE_CHECKING or jsonbytes.msgspec is not None:
    import msgspec
    from msgspec import Raw, Struct

_RESPONSE_HEAD = b'{"type":"a2a.response","payload":'
_RESPONSE_SIZE = len(_RESPONSE_HEAD) + len('{"id":"","result":}}')
EVENT_HEAD = b'{"type":"a2a.event","payload":'
_EVENT_SIZE = len(EVENT_HEAD) + len('{"id":"","seq":,"result":}}')

if not TYPE_CHECKING and jsonbytes.msgspec is None:  # runtimes without compiled wheels

    def _unknown(_data):
        return None

    response = event = _unknown

else:

    class _Response(Struct, gc=False):
        id: str
        result: Raw

    class _Event(Struct, gc=False):
        id: str
        seq: Raw
        result: Raw

    _read_response = msgspec.json.Decoder(_Response).decode
    _read_event = msgspec.json.Decoder(_Event).decode

    def response(frame: bytes) -> Response | None:
        """A response with a result, and nothing beside it."""
        if not frame.startswith(_RESPONSE_HEAD) or not frame.endswith(b"}}"):
            return None
        try:
            found = _read_response(memoryview(frame)[len(_RESPONSE_HEAD) : -1])
        except msgspec.MsgspecError:
            return None
        if _RESPONSE_SIZE + len(found.id) + len(found.result) != len(frame):
            return None
        return tuple.__new__(Response, (found.id, bytes(found.result), None, None, NO_HEADERS))

    def event(frame: bytes) -> StreamEvent | None:
        """An event of a stream with its number and its result."""
        if not frame.startswith(EVENT_HEAD) or not frame.endswith(b"}}"):
            return None
        try:
            found = _read_event(memoryview(frame)[len(EVENT_HEAD) : -1])
        except msgspec.MsgspecError:
            return None
        seq = bytes(found.seq)
        size = _EVENT_SIZE + len(found.id) + len(seq) + len(found.result)
        if size != len(frame) or not seq.isdigit() or len(seq) > 15:
            return None
        return StreamEvent(found.id, int(seq), bytes(found.result))
