"""Links whose frames are JSON-RPC objects, without an envelope around them."""

from __future__ import annotations

from a2a_relay.a2a import jsonbytes
from a2a_relay.wire import codec
from a2a_relay.wire.dialects.base import LeanDialect
from a2a_relay.wire.dialects.relay_go import read_response
from a2a_relay.wire.frames import AgentFrame, Request, Unreadable

Fields = dict[str, bytes]


class BareDialect(LeanDialect):
    """The base of dialects whose calls are bare JSON-RPC requests and whose answers are bare responses."""

    def read(self, frame: bytes) -> AgentFrame:
        try:
            codec.check(frame)
            return self._read(jsonbytes.members(frame))
        except jsonbytes.Malformed as error:
            return Unreadable(error.reason, codec.find_ids(frame))

    def _read(self, fields: Fields) -> AgentFrame:
        """One frame by its members. Raises `Malformed`."""
        return read_response({name: fields[name] for name in ("id", "result", "error") if name in fields})


def write_request(id: str, request: Request, more: bytes = b"") -> bytes:
    """A call as a JSON-RPC request; `more` are further members, each behind a comma."""
    return b'{"jsonrpc":"2.0","id":"%b","method":%b,"params":%b%b}' % (
        id.encode(),
        jsonbytes.dump(request.method),
        request.params,
        more,
    )
