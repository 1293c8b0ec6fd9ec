"""One-pass readers for compact JSON of the shapes that nearly every call has.

Each returns None for whatever it does not know, and then the strict readers
decide; what it does return is what they would have returned. The bytes must
have passed `jsonbytes.check_text`.

Compact JSON is exactly as long as its parts: whatever is longer than the known
members account for has blanks, escapes, characters beyond ASCII, a member that
is not known here, or one that stands twice. So one comparison of lengths rules
all of these out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.methods import BY_NAME

if TYPE_CHECKING or jsonbytes.msgspec is not None:
    import msgspec
    from msgspec import Raw, Struct


class Envelope(NamedTuple):
    """One JSON-RPC request; `id` is the id's JSON bytes, to be answered as it came."""

    id: bytes
    method: str
    params: bytes


def _text(name: str) -> int:
    """What a member costs beside the characters of its text."""
    return len(f'"{name}":"",')


def _value(name: str) -> int:
    """What a member costs beside its value."""
    return len(f'"{name}":,')


_ENVELOPE = len('{"jsonrpc":"2.0","id":,"method":"","params":}')
_SEND = len('{"message":{"parts":}}')
_MESSAGE_ID, _ROLE, _KIND = _text("messageId"), _text("role"), _text("kind")
_TASK_ID, _CONTEXT_ID = _text("taskId"), _text("contextId")
_METADATA, _EXTENSIONS = _value("metadata"), _value("extensions")
_CONFIGURATION = _value("configuration") + len("{}") - len(",")
_OUTPUT_MODES, _HISTORY_LENGTH = _value("acceptedOutputModes"), _value("historyLength")
_RETURN_IMMEDIATELY, _BLOCKING = _value("returnImmediately"), _value("blocking")
_OBJECT, _QUOTE = b'{"'


if not TYPE_CHECKING and jsonbytes.msgspec is None:  # runtimes without compiled wheels

    def _unknown(_data):
        return None

    envelope = message = _unknown

else:
    _ABSENT = Raw(b"")

    class _Envelope(Struct, gc=False):
        jsonrpc: str
        id: Raw
        method: str
        params: Raw

    class Message(Struct, gc=False, rename="camel"):
        """The message of a send; a text is empty where it is absent."""

        parts: Raw
        message_id: str = ""
        role: str = ""
        task_id: str = ""
        context_id: str = ""
        kind: str = ""
        metadata: Raw = _ABSENT
        extensions: Raw = _ABSENT

    class _Configuration(Struct, gc=False, rename="camel"):
        accepted_output_modes: Raw = _ABSENT
        history_length: Raw = _ABSENT
        return_immediately: Raw = _ABSENT
        blocking: Raw = _ABSENT

    class _Send(Struct, gc=False):
        message: Message
        configuration: _Configuration | None = None
        metadata: Raw = _ABSENT

    _read_envelope = msgspec.json.Decoder(_Envelope).decode
    _read_send = msgspec.json.Decoder(_Send).decode

    def envelope(body: bytes) -> Envelope | None:
        """A JSON-RPC request of a known method, with params."""
        try:
            found = _read_envelope(body)
        except msgspec.MsgspecError:
            return None
        id, method, params = bytes(found.id), found.method, bytes(found.params)
        if (
            _ENVELOPE + len(id) + len(method) + len(params) != len(body)
            or found.jsonrpc != "2.0"
            or method not in BY_NAME
            or params[0] != _OBJECT
            or not (id[0] == _QUOTE or id.isdigit())
        ):
            return None
        return tuple.__new__(Envelope, (id, method, params))  # its own constructor is a Python function

    def message(params: bytes) -> Message | None:
        """The message of a send without tenant, references and push configuration."""
        try:
            found = _read_send(params)
        except msgspec.MsgspecError:
            return None
        said = found.message
        size = _SEND + len(said.parts)
        if said.message_id:
            size += _MESSAGE_ID + len(said.message_id)
        if said.role:
            size += _ROLE + len(said.role)
        if said.kind:
            size += _KIND + len(said.kind)
        if said.task_id:
            size += _TASK_ID + len(said.task_id)
        if said.context_id:
            size += _CONTEXT_ID + len(said.context_id)
        if said.metadata:
            size += _METADATA + len(said.metadata)
        if said.extensions:
            size += _EXTENSIONS + len(said.extensions)
        if found.configuration is not None:
            size += _configuration_size(found.configuration)
        if found.metadata:
            size += _METADATA + len(found.metadata)
        if size != len(params):
            return None
        return said

    def _configuration_size(found: _Configuration) -> int:
        size = _CONFIGURATION
        if found.accepted_output_modes:
            size += _OUTPUT_MODES + len(found.accepted_output_modes)
        if found.history_length:
            size += _HISTORY_LENGTH + len(found.history_length)
        if found.return_immediately:
            size += _RETURN_IMMEDIATELY + len(found.return_immediately)
        if found.blocking:
            size += _BLOCKING + len(found.blocking)
        return size
