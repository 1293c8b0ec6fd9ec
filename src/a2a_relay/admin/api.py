"""The admin API: reads a request by the table, has it done, and writes what came of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from a2a_relay.a2a import jsonbytes
from a2a_relay.admin.administration import Administration
from a2a_relay.admin.openapi import BASE, describe
from a2a_relay.admin.routes import OPERATIONS, Ask, Operation
from a2a_relay.core.principal import Principal
from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.answer import JSON, Answer

NO_STORE = (("cache-control", "no-store"),)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path)))


_ROUTES = tuple((_pattern(operation.path), operation) for operation in OPERATIONS)


class AdminApi:
    """Answers `/admin/api/v1/...`, for whoever has been authenticated."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self.description = msgspec.json.encode(describe())
        """The OpenAPI document."""

    async def answer(
        self, principal: Principal, verb: str, path: str, query: Sequence[tuple[str, str]], body: bytes
    ) -> Answer:
        """Do what one request asks for; `path` stands below the base. Raises Refused or StoreError."""
        operation, names = _find("GET" if verb == "HEAD" else verb, path)
        question = _read_body(body, operation) if operation.has_body else _read_query(query, operation)
        made = await operation.handler(self._administration, Ask(principal, names, question))
        return Answer(200, msgspec.json.encode(made), JSON, NO_STORE)


def _find(verb: str, path: str) -> tuple[Operation, dict[str, str]]:
    allowed = []
    for pattern, operation in _ROUTES:
        found = pattern.fullmatch(path)
        if found is not None:
            if operation.verb == verb:
                return operation, found.groupdict()
            allowed.append(operation.verb)
    if not allowed:
        raise Refused(Reason.NOT_FOUND)
    raise Refused(Reason.METHOD_NOT_ALLOWED, metadata={"allow": ", ".join(allowed)})


def _read_body(body: bytes, operation: Operation) -> Any:
    jsonbytes.check(body)
    _require_clear(body)
    try:
        return msgspec.json.decode(body, type=operation.question)
    except msgspec.MsgspecError as error:
        raise Refused(Reason.INVALID_PARAMS, str(error)) from error


def _require_clear(body: bytes) -> None:
    """Refuse an object that has a name twice, at any depth."""
    if body[:1].isspace():
        body = body.lstrip()
    if body[:1] == b"{":
        parts = list(jsonbytes.members(body).values())
    elif body[:1] == b"[":
        parts = jsonbytes.elements(body)
    else:
        return
    for part in parts:
        _require_clear(part)


def _read_query(query: Sequence[tuple[str, str]], operation: Operation) -> Any:
    asked = dict(query)
    if len(asked) != len(query):
        raise Refused(Reason.AMBIGUOUS_FIELD, "a name stands twice in the query")
    try:
        return msgspec.convert(asked, operation.question, strict=False)
    except msgspec.MsgspecError as error:
        raise Refused(Reason.INVALID_PARAMS, str(error)) from error


__all__ = ["BASE", "AdminApi"]
