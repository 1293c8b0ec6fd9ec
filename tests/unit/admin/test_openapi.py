"""The admin API does what its OpenAPI document says, whatever is asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from a2a_relay.admin.administration import STORE
from a2a_relay.admin.openapi import describe
from a2a_relay.assembly import build_admin, create_app
from a2a_relay.assembly.stores import open_administration
from a2a_relay.settings import Settings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


async def make_operator_key(settings: Settings) -> str:
    stores = open_administration(settings)
    try:
        api = build_admin(settings, stores, lambda: 1_700_000_000.0)
        answer = await api.answer(STORE, "POST", "keys", [], b'{"name":"root","role":"operator"}')
        return str(json.loads(answer.body)["key"])
    finally:
        stores.close()


def test_every_answer_is_one_that_the_document_promises(tmp_path: Path) -> None:
    settings = Settings.default(store=f"sqlite:///{tmp_path}/relay.db", data_dir=tmp_path, host="127.0.0.1")
    key = asyncio.run(make_operator_key(settings))
    schema = schemathesis.openapi.from_dict(describe())
    schema.app = create_app(settings)
    asked = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=3,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def ask(case: Any) -> None:
            nonlocal asked
            for headers in ({"Authorization": f"Bearer {key}"}, {}):
                case.call_and_validate(headers=headers, checks=CHECKS)
                asked += 1

        ask()
    assert asked >= 2 * 23
