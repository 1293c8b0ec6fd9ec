"""The OpenAPI 3.1 document of the admin API, made from its table."""

from __future__ import annotations

import re
from typing import Any

import msgspec

import a2a_relay
from a2a_relay.admin.routes import OPERATIONS, Operation

BASE = "/admin/api/v1"
_REFUSALS = {
    "400": "the question makes no sense",
    "401": "no credential that is good",
    "403": "this credential may not do that",
    "404": "not there, or not yours",
    "405": "not by this verb",
    "408": "the body did not come in time",
    "409": "the name is taken",
    "413": "the body is larger than 64 KiB",
    "415": "the body is no JSON",
    "429": "too many requests",
    "503": "the store has failed",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "anyOf": [
                {
                    "type": "object",
                    "required": ["code", "status", "message"],
                    "properties": {
                        "code": {"type": "integer"},
                        "status": {"type": "string"},
                        "message": {"type": "string"},
                        "details": {"type": "array", "items": {"type": "object"}},
                    },
                },
                {"type": "string", "description": "of a path that could not be read"},
            ]
        }
    },
}


def describe() -> dict[str, Any]:
    """The document."""
    types = [kind for operation in OPERATIONS for kind in (operation.question, operation.answer)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for at, operation in enumerate(OPERATIONS):
        question, answer = schemas[2 * at], schemas[2 * at + 1]
        paths.setdefault(f"{BASE}/{operation.path}", {})[operation.verb.lower()] = _describe(
            operation, question, answer, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "a2a-relay administration", "version": a2a_relay.__version__},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Refusal": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(
    operation: Operation, question: dict[str, Any], answer: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    found: dict[str, Any] = {
        "operationId": operation.id,
        "x-scope": operation.scope,
        "responses": {
            "200": {"description": "done", "content": _content(answer)},
            **{
                status: {"description": text, "content": _content({"$ref": "#/components/schemas/Refusal"})}
                for status, text in _REFUSALS.items()
            },
        },
    }
    if operation.has_body:
        found["requestBody"] = {"required": True, "content": _content(question)}
    else:
        schema = components[question["$ref"].rpartition("/")[2]]
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": part}
            for name, part in schema["properties"].items()
        ]
    return {**found, "parameters": parameters}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
