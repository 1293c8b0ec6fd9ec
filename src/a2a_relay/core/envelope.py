"""What a letter keeps of its call beside the params: enough to make the call again, days later."""

from __future__ import annotations

from typing import Any

from a2a_relay.a2a import jsonbytes
from a2a_relay.a2a.methods import BY_NAME, Operation
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call, Form, Meta
from a2a_relay.core.principal import Principal, Role
from a2a_relay.wire.frames import Rest


def seal(call: Call) -> bytes:
    """The envelope of a call."""
    meta, principal = call.meta, call.principal
    sender = {"role": principal.role.value, "identity": principal.identity}
    if principal.key:
        sender["key"] = principal.key
    if principal.issuer:
        sender["issuer"] = principal.issuer
    fields: dict[str, Any] = {"method": call.method, "form": call.form.value, "sender": sender}
    if meta.version:
        fields["version"] = meta.version
    if meta.service_headers:
        fields["headers"] = dict(meta.service_headers)
    if meta.traceparent:
        fields["traceparent"] = meta.traceparent
    if call.client_id != b"null":
        fields["client_id"] = call.client_id.decode()
    if call.rest is not None:
        fields["rest"] = {"verb": call.rest.verb, "segments": call.rest.segments, "query": call.rest.query}
    return jsonbytes.dump(fields)


def open_envelope(address: Address, envelope: bytes, params: bytes) -> Call:
    """The call of a letter."""
    fields = jsonbytes.value(envelope)
    sender, rest = fields["sender"], fields.get("rest")
    principal = Principal(
        address.tenant,
        Role(sender["role"]),
        sender["identity"],
        key=sender.get("key", ""),
        issuer=sender.get("issuer", ""),
    )
    method = BY_NAME.get(fields["method"])
    return Call(
        address=address,
        meta=Meta(principal, fields.get("version"), fields.get("headers", {}), fields.get("traceparent")),
        operation=method.operation if method is not None else Operation.EXTENSION,
        method=fields["method"],
        params=params,
        streams=method is not None and method.streams,
        client_id=fields.get("client_id", "null").encode(),
        rest=None if rest is None else Rest(rest["verb"], tuple(rest["segments"]), rest["query"]),
        form=Form(fields["form"]),
    )
