"""From a routed request to a `Call`. Pure and synchronous, so that every lane reads alike."""

from __future__ import annotations

from typing import NamedTuple

from a2a_relay.a2a import jsonbytes, jsonrpc, rest, spans, versions
from a2a_relay.a2a.methods import BY_NAME, BY_OPERATION, Operation, speaks_v10
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.principal import Principal
from a2a_relay.core.push_targets import PushTargets
from a2a_relay.core.target import Route
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import JSON
from a2a_relay.fronts.http.bindings import Binding, JsonRpcBinding, RestBinding
from a2a_relay.fronts.http.head import RequestHead
from a2a_relay.wire.frames import Rest


class ReadCall(NamedTuple):
    """A call, and the binding in which its answer is written."""

    call: Call
    binding: Binding


def read_jsonrpc(
    request: RequestHead, address: Address, principal: Principal, body: bytes, push_targets: PushTargets
) -> ReadCall:
    """Read a JSON-RPC call. Raises `jsonrpc.BadRequest`, or `Refused` inside of one."""
    read = jsonrpc.read(body)
    try:
        method = BY_NAME.get(read.method)
        operation = method.operation if method is not None else Operation.EXTENSION
        found = spans.read(operation, read.params, is_v03=not speaks_v10(read.method))
        push_targets.require_allowed(found.push_url)
        call = Call(
            address=address,
            principal=principal,
            operation=operation,
            method=read.method,
            params=read.params,
            streams=method.streams if method is not None else False,
            spans=found,
            version=_version(request, None),
            service_headers=request.service_headers(),
            traceparent=request.headers.get("traceparent"),
            client_id=read.id,
            request_id=request.id,
        )
    except Refused as refused:
        bad = jsonrpc.BadRequest(refused.reason, refused.message, read.id)
        raise bad from refused
    return ReadCall(call, JsonRpcBinding(read.id, errors_as_events=call.streams and not speaks_v10(read.method)))


def read_rest(
    request: RequestHead, route: Route, principal: Principal, body: bytes, push_targets: PushTargets
) -> ReadCall:
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
    version = _version(request, rest.version_parameter(route.query))
    method = BY_OPERATION[path.operation]
    call = Call(
        address=route.agent,
        principal=principal,
        operation=path.operation,
        method=_method_name(path, version, found.role),
        params=(body or b"{}") if is_v03 else params,
        streams=method.streams,
        spans=found,
        version=version or (None if is_v03 or path.dialect is rest.Dialect.PLAIN else versions.V10),
        service_headers=request.service_headers(),
        traceparent=request.headers.get("traceparent"),
        rest=Rest(request.verb, route.segments, route.raw_query) if is_v03 else None,
        request_id=request.id,
    )
    media_type = rest.MEDIA_TYPE if path.dialect is rest.Dialect.V10 else JSON
    return ReadCall(call, RestBinding(media_type))


def _method_name(path: rest.RestPath, version: str | None, role: str | None) -> str:
    """The name under which a REST call crosses: the 1.0 one.

    0.3's for 0.3 paths, and for relay-go's plain forms when the client says 0.3 or writes 0.3 (`role: user`).
    """
    method = BY_OPERATION[path.operation]
    is_v03 = path.dialect is rest.Dialect.V03
    if path.dialect is rest.Dialect.PLAIN:
        is_v03 = versions.is_v03(version) or (version is None and role in ("user", "agent"))
    return (method.v03 or method.v10) if is_v03 else method.v10


def _version(request: RequestHead, parameter: str | None) -> str | None:
    return request.headers.get(versions.VERSION_HEADER) or parameter or None
