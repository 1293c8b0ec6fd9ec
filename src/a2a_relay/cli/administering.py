"""What the commands of administration share: one question, asked of a running relay or of a store beside it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import click
import httpx

from a2a_relay.cli.options import credentials_of, print_json, print_table, relay_options
from a2a_relay.client.connection import QUICK_TIMEOUT, failures_in_words, open_http, refusal_of
from a2a_relay.client.credentials import NO_TOKEN
from a2a_relay.client.failures import ClientError, Speaker
from a2a_relay.client.terminal import one_line
from a2a_relay.errors import Refused
from a2a_relay.settings import load

F = TypeVar("F", bound=Callable[..., Any])
BASE = "/admin/api/v1"


def administration_options(function: F) -> F:
    """Which relay or store, why, and in what form."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="print one JSON object"),
        relay_options,
        click.option("--store", metavar="URL", help="a store, instead of a relay  [where no --relay is given]"),
        click.option("--reason", metavar="TEXT", help="why, for the audit log"),
    ):
        function = option(function)
    return function


def ask(options: Mapping[str, Any], verb: str, path: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Have one operation of the admin API done. Raises ClientError, SettingsError or StoreError."""
    if options["relay"] and options["store"]:
        raise click.UsageError("give one of --relay and --store")
    asked = {name: value for name, value in (question or {}).items() if value is not None}
    has_body = verb in ("POST", "PATCH")
    if verb != "GET" and options.get("reason"):
        asked["reason"] = options["reason"]
    body = json.dumps(asked).encode() if has_body else b""
    query = {} if has_body else {name: str(value) for name, value in asked.items()}
    if options["relay"]:
        found = _ask_relay(dict(options), verb, path, query, body)
    else:
        found = asyncio.run(_ask_store(options, verb, path, query, body))
    if not isinstance(found, dict):
        raise ClientError("the relay's answer cannot be read")
    return found


def ask_all(options: Mapping[str, Any], path: str, name: str) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    items: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = ask(options, "GET", path, {"limit": 200, "after": after})
        items += page[name]
        after = page.get("next")
        if not after or not page[name]:
            return items


def require(value: str | None, what: str) -> str:
    """A name or flag that an action needs, ready for a path. Raises UsageError."""
    if not value:
        raise click.UsageError(f"this needs {what}")
    return quote(value, safe="")


def print_object(document: Mapping[str, Any], *, as_json: bool) -> None:
    """One object, a member a line."""
    if as_json:
        print_json(document)
        return
    width = max((len(name) for name in document), default=0)
    for name, value in document.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value in (None, "", {}) else str(value)
        print(f"{one_line(name):<{width}}  {one_line(text)}".rstrip())


def print_items(name: str, items: list[dict[str, Any]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """A list, as one object or as a table."""
    if as_json:
        print_json({name: items})
    elif items:
        print_table(columns, items)
    else:
        print(f"no {name}")


def _ask_relay(options: dict[str, Any], verb: str, path: str, query: dict[str, str], body: bytes) -> Any:
    credentials = credentials_of(options)
    relay = credentials.require_relay()
    token = credentials.given_token or os.environ.get("RELAY_TOKEN", "").strip()
    if not token:
        raise ClientError(NO_TOKEN)
    url = f"{relay}{BASE}/{path}"
    with open_http(relay, token, ca=options["ca"], insecure=options["insecure"]) as http, failures_in_words(url):
        headers = {"content-type": "application/json"} if body else {}
        response = http.request(verb, url, params=query, content=body, headers=headers, timeout=QUICK_TIMEOUT)
    return _read(response)


def _read(response: httpx.Response) -> Any:
    if not response.is_success:
        raise refusal_of(response)
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise ClientError("the relay did not answer with JSON") from error


async def _ask_store(options: Mapping[str, Any], verb: str, path: str, query: dict[str, str], body: bytes) -> Any:
    settings = load({name: options[name] for name in ("store", "data_dir")}, os.environ)
    from urllib.parse import unquote

    from a2a_relay.admin.administration import STORE
    from a2a_relay.assembly import build_admin
    from a2a_relay.assembly.stores import open_administration
    from a2a_relay.node.clock import LoopClock

    stores = open_administration(settings)
    try:
        api = build_admin(settings, stores, LoopClock().now)
        answer = await api.answer(STORE, verb, unquote(path), list(query.items()), body)
    except Refused as refused:
        raise ClientError(refused.message, str(refused.reason), Speaker.RELAY) from refused
    finally:
        stores.close()
    return json.loads(answer.body)
