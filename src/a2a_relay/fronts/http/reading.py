"""From a routed request to a `Call`. Pure and synchronous, so that every lane reads alike."""

from __future__ import annotations

from a2a_relay.a2a import jsonbytes, jsonrpc, rest, spans, versions
from a2a_relay.a2a.methods import BY_NAME, BY_OPERATION, Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Form, Options
from a2a_relay.core.position import Position
from a2a_relay.core.principal import Principal
from a2a_relay.core.push_targets import PushTargets
from a2a_relay.core.stream import StreamHead
from a2a_relay.core.target import Route
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import JSON
from a2a_relay.fronts.http.bindings import Binding, JsonRpcBinding, RestBinding
from a2a_relay.fronts.http.head import RequestHead
from a2a_relay.wire.frames import Rest

_FORMS = {rest.Dialect.V10: Form.REST, rest.Dialect.V03: Form.REST_V03, rest.Dialect.PLAIN: Form.PLAIN}
_NO_STREAM = "Last-Event-ID belongs to a stream"
MAX_STREAM_ID_BYTES = 1024
"""Every event carries the id of its call, and the stream keeps it."""


def read_jsonrpc(
    request: RequestHead, address: Address, principal: Principal, body: bytes, push_targets: PushTargets
) -> tuple[Call, Binding]:
    """A JSON-RPC call, and the binding in which its answer is written. Raises `jsonrpc.BadRequest`."""
    read = jsonrpc.read(body)
    try:
        method = BY_NAME.get(read.method)
        operation = method.operation if method is not None else Operation.EXTENSION
        is_v03 = method is not None and read.method != method.v10
        found = spans.read(operation, read.params, is_v03=is_v03)
        if found.push_url is not None:
            push_targets.require_allowed(found.push_url)
        streams = method is not None and method.streams
        meta = request.block.meta(principal, request.block.version)
        options = request.block.options
        if options.position is not None and not streams:
            raise Refused(Reason.INVALID_REQUEST, _NO_STREAM)
        if streams and len(read.id) > MAX_STREAM_ID_BYTES:
            raise Refused(Reason.INVALID_REQUEST, "the id of a call that streams is too long")
        call = tuple.__new__(
            Call,
            (
                address,
                meta,
                operation,
                read.method,
                read.params,
                streams,
                found,
                read.id,
                None,
                options,
                request.id,
                Form.RPC,
            ),
        )
    except Refused as refused:
        bad = jsonrpc.BadRequest(refused.reason, refused.message, read.id)
        raise bad from refused
    return call, JsonRpcBinding(read.id, errors_as_events=streams and is_v03)


def read_rest(
    request: RequestHead, route: Route, principal: Principal, body: bytes, push_targets: PushTargets
) -> tuple[Call, Binding]:
    """Read an HTTP+JSON call of any dialect. Raises `Refused`."""
    path = route.rest
    if path is None:
        raise Refused(Reason.NOT_FOUND)
    if body:
        jsonbytes.check_text(body)
        jsonbytes.members(body)
    params = rest.params(path, route.query, body)
    is_v03 = path.dialect is rest.Dialect.V03
    found = spans.read(path.operation, params, path.ids, is_protobuf=is_v03)
    push_targets.require_allowed(found.push_url)
    version = request.block.version or rest.version_parameter(route.query) or None
    is_unversioned = is_v03 or path.dialect is rest.Dialect.PLAIN
    method = BY_OPERATION[path.operation]
    options = request.block.options
    if options.position is not None and not method.streams:
        raise Refused(Reason.INVALID_REQUEST, _NO_STREAM)
    call = Call(
        address=route.agent,
        meta=request.block.meta(principal, version or (None if is_unversioned else versions.V10)),
        operation=path.operation,
        method=_method_name(path, version, found.role),
        params=(body or b"{}") if is_v03 else params,
        streams=method.streams,
        spans=found,
        rest=Rest(request.verb, route.segments, route.raw_query) if is_v03 else None,
        options=options,
        request_id=request.id,
        form=_FORMS[path.dialect],
    )
    media_type = rest.MEDIA_TYPE if path.dialect is rest.Dialect.V10 else JSON
    return call, RestBinding(media_type)


def read_stream(
    request: RequestHead, principal: Principal, position: Position, head: StreamHead
) -> tuple[Call, Binding]:
    """A stream that is read on at its own URL, written as the call that began it was."""
    call = Call(
        address=head.address,
        meta=request.block.meta(principal, request.block.version),
        operation=Operation.SUBSCRIBE,
        method=head.method,
        params=b"{}",
        streams=True,
        options=Options(position=position),
        request_id=request.id,
        form=Form.RPC if head.rpc_id is not None else Form.REST,
    )
    return call, RestBinding() if head.rpc_id is None else JsonRpcBinding(head.rpc_id)


def _method_name(path: rest.RestPath, version: str | None, role: str | None) -> str:
    """The name under which a REST call crosses: the 1.0 one.

    0.3's for 0.3 paths, and for relay-go's plain forms when the client says 0.3 or writes 0.3 (`role: user`).
    """
    method = BY_OPERATION[path.operation]
    is_v03 = path.dialect is rest.Dialect.V03
    if path.dialect is rest.Dialect.PLAIN:
        is_v03 = versions.is_v03(version) or (version is None and role in ("user", "agent"))
    return (method.v03 or method.v10) if is_v03 else method.v10
