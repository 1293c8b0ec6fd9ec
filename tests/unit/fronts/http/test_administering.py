"""The admin API over HTTP: every operation of its table, asked by everybody."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from a2a_relay.admin.administration import STORE, Administration
from a2a_relay.admin.api import AdminApi
from a2a_relay.admin.openapi import BASE, describe
from a2a_relay.admin.routes import OPERATIONS, Operation
from a2a_relay.admin.rules import KeyOrder
from a2a_relay.assembly import build_app, build_authenticator
from a2a_relay.core.principal import Role
from a2a_relay.core.tenants import Issuer, TenantRecord
from a2a_relay.errors import StoreError
from a2a_relay.fronts.http.administering import MAX_ORDER_BYTES
from a2a_relay.settings import Settings
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.testing import TEST_SECRET, FakeClock, make_node, make_token

POWERLESS = ("sender", "agent", "legacy")
KEY_SET = json.dumps(
    {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"}]}
)
"""Keys that are not fetched from anywhere."""
ORDERS: dict[str, dict[str, Any]] = {
    "createTenant": {"name": "fresh"},
    "setTenant": {"networks": ["192.0.2.0/24"]},
    "setLimits": {"limits": {"sessions": 1}},
    "setLegacy": {"takes_legacy": True},
    "putIssuer": {"url": "https://id.example", "audiences": ["a"], "jwks": KEY_SET},
    "createKey": {"name": "fresh", "role": "sender"},
    "createOperatorKey": {"name": "fresh", "role": "operator"},
    "verifyKey": {"key": "rly_sender_nonsense"},
    "setKeyLimits": {"limits": {"calls_burst": 1}},
}
QUERIES = {"removeIssuer": {"url": "https://idp.example"}}
OPERATORS_OWN = {
    "listTenants",
    "createTenant",
    "deleteTenant",
    "setLimits",
    "listOperatorKeys",
    "createOperatorKey",
    "verifyAudit",
}


class NoSeal:
    def seal(self, secret: bytes, key_id: str) -> bytes:
        return b"sealed"


class Relay:
    """A relay that is administered over HTTP, with somebody of each kind. `texts` are the credentials."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        audit = MemoryAudit(self.clock.now)
        self.credentials = MemoryCredentials(audit)
        settings = Settings.default(jwt_secret=TEST_SECRET, store="memory:", public_url="https://relay.example")
        node = make_node(
            clock=self.clock,
            credentials=self.credentials,
            audit=audit,
            authenticator=build_authenticator(settings, self.credentials, TEST_SECRET),
        )
        self.office = Administration(self.credentials, audit, NoSeal(), _erase, is_open=True, now=self.clock.now)
        self.api = AdminApi(self.office)
        self.app = build_app(settings, node, on_shutdown=_nothing, admin=self.api)
        self.texts: dict[str, str | None] = {"nobody": None}
        self.ids: dict[str, str] = {}

    async def populate(self) -> None:
        for name in ("acme", "evil"):
            await self.office.create_tenant(STORE, TenantRecord(name, 0.0))
        for who, tenant, order in (
            ("operator", "", KeyOrder("o", Role.OPERATOR)),
            ("admin", "acme", KeyOrder("a", Role.ADMIN)),
            ("evil", "evil", KeyOrder("e", Role.ADMIN)),
            ("sender", "acme", KeyOrder("s", Role.SENDER)),
            ("agent", "acme", KeyOrder("z", Role.AGENT, agent="zaf")),
            ("target", "acme", KeyOrder("t", Role.SENDER)),
        ):
            made = await self.office.create_key(STORE, tenant, order)
            self.texts[who], self.ids[who] = made.text, made.record.id
        claims = {"tenant": "acme", "sub": "ann", "exp": self.clock.now() + 3600}
        self.texts["legacy"] = make_token(TEST_SECRET, claims)
        await self.office.put_issuer(STORE, "acme", Issuer("https://idp.example", ("a",), jwks=KEY_SET))

    async def ask(self, who: str, verb: str, target: str, **more: Any) -> httpx.Response:
        text = self.texts[who]
        headers = {**({"authorization": f"Bearer {text}"} if text else {}), **more.pop("headers", {})}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="https://relay.example", trust_env=False) as client:
            return await client.request(verb, target, headers=headers, **more)

    async def operate(
        self, who: str, operation: Operation, tenant: str = "acme", key: str | None = None
    ) -> httpx.Response:
        path = operation.path.replace("{tenant}", tenant).replace("{key}", key or self.ids["target"])
        body = {"json": ORDERS.get(operation.id, {})} if operation.has_body else {}
        return await self.ask(who, operation.verb, f"{BASE}/{path}", params=QUERIES.get(operation.id), **body)


async def _erase(tenant: str) -> dict[str, int]:
    return {"letters": 0}


async def _nothing() -> None: ...


@pytest.fixture
async def relay() -> Relay:
    relay = Relay()
    await relay.populate()
    return relay


every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


# who may


@every_operation
async def test_an_operator_may_do_everything(relay: Relay, operation: Operation) -> None:
    answer = await relay.operate("operator", operation)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


@every_operation
async def test_a_tenants_admin_may_do_what_concerns_its_tenant(relay: Relay, operation: Operation) -> None:
    answer = await relay.operate("admin", operation)
    assert answer.status_code == (403 if operation.id in OPERATORS_OWN else 200), answer.text


@every_operation
async def test_another_tenants_admin_is_told_nothing(relay: Relay, operation: Operation) -> None:
    foreign = await relay.operate("evil", operation)
    unknown = await relay.operate("evil", operation, "nowhere", "k404")
    assert (foreign.status_code, foreign.content) == (unknown.status_code, unknown.content)
    if "{" in operation.path:
        assert foreign.status_code == (404 if "{key}" in operation.path else 403)
    assert relay.ids["target"] not in foreign.text


@every_operation
async def test_who_manages_nothing_may_ask_who_it_is(relay: Relay, operation: Operation) -> None:
    found = [(await relay.operate(who, operation)).status_code for who in POWERLESS]
    assert found == [200 if operation.id == "whoami" else 403] * len(POWERLESS)


@every_operation
async def test_nobody_gets_anything_without_a_credential(relay: Relay, operation: Operation) -> None:
    answer = await relay.operate("nobody", operation)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="a2a-relay"')
    assert answer.json()["error"]["status"] == "UNAUTHENTICATED"
    assert answer.headers["cache-control"] == "no-store"


async def test_who_has_no_credential_does_not_learn_what_there_is(relay: Relay) -> None:
    for path in ("nothing", "keys", "keys/k404", ""):
        assert (await relay.ask("nobody", "GET", f"{BASE}/{path}")).status_code == 401


async def test_a_revoked_key_administers_no_more(relay: Relay) -> None:
    await relay.ask("operator", "POST", f"{BASE}/keys/{relay.ids['admin']}:revoke", json={"reason": "lost"})
    assert (await relay.ask("admin", "GET", f"{BASE}/whoami")).status_code == 401


# the document


async def test_anybody_may_read_the_document_and_nobody_may_change_it(relay: Relay) -> None:
    answer = await relay.ask("nobody", "GET", f"{BASE}/openapi.json")
    assert (answer.status_code, answer.content) == (200, relay.api.description)
    refused = await relay.ask("nobody", "POST", f"{BASE}/openapi.json", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


@every_operation
def test_every_operation_is_in_the_document(operation: Operation) -> None:
    assert describe()["paths"][f"{BASE}/{operation.path}"][operation.verb.lower()]["operationId"] == operation.id


# how it is asked


@pytest.mark.parametrize(
    "body, status",
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"name"', 400),
        (b"{}", 400),
        (b'{"name":1}', 400),
        (b'{"name":"x","colour":"red"}', 400),
        (b'{"name":"x","name":"y"}', 400),
        (b'{"name":"x","n\\u0061me":"y"}', 400),
        (b'{"name":"x","limits":{"sessions":1,"sessions":2}}', 400),
        (b'{"name":"x","limits":{"sessions":1e999}}', 400),
        (b'{"name":"x","limits":{"sessions":NaN}}', 400),
        (b'{"name":"x","takes_legacy":"yes"}', 400),
        (b'{"name":"x"}{}', 400),
        (b'{"name":"\xff"}', 400),
        (b'{"name":"\\ud800"}', 400),
        (b"[" * 20_000, 400),
        (b'{"name":"x","reason":"' + b"x" * MAX_ORDER_BYTES + b'"}', 413),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_body_is_read_strictly(relay: Relay, body: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    answer = await relay.ask("operator", "POST", f"{BASE}/tenants", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["error"]["message"], str)
    assert [tenant.name for tenant in relay.credentials.tenants()] == ["acme", "evil"]


@pytest.mark.parametrize("header", [{"content-type": "multipart/form-data; boundary=x"}, {"content-encoding": "gzip"}])
async def test_forms_and_compressed_bodies_are_not_taken(relay: Relay, header: dict[str, str]) -> None:
    answer = await relay.ask("operator", "POST", f"{BASE}/tenants", content=b'{"name":"x"}', headers=header)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=1e3", "limit=", "colour=red", "limit=1&limit=2", "after=a&after=b"],
)
async def test_a_query_is_read_strictly(relay: Relay, query: str) -> None:
    assert (await relay.ask("operator", "GET", f"{BASE}/tenants?{query}")).status_code == 400


async def test_pages_follow_each_other_to_the_end(relay: Relay) -> None:
    names, after = [], ""
    for _ in range(10):
        page = (await relay.ask("operator", "GET", f"{BASE}/tenants/acme/keys?limit=2&after={after}")).json()
        assert len(page["keys"]) <= 2
        names += [key["name"] for key in page["keys"]]
        after = page.get("next", "")
        if not after:
            break
    assert sorted(names) == ["a", "s", "t", "z"]


@pytest.mark.parametrize(
    "verb, path, allow",
    [
        ("PUT", "tenants", "GET, POST"),
        ("DELETE", "keys/k1", "GET"),
        ("GET", "keys/k1:revoke", "POST"),
        ("OPTIONS", "tenants/acme", "DELETE, GET, PATCH"),
        ("POST", "whoami", "GET"),
    ],
)
async def test_a_path_under_another_verb_says_under_which_it_is(relay: Relay, verb: str, path: str, allow: str) -> None:
    answer = await relay.ask("operator", verb, f"{BASE}/{path}")
    assert (answer.status_code, sorted(answer.headers["allow"].split(", "))) == (405, allow.split(", "))


async def test_head_is_answered_like_get(relay: Relay) -> None:
    got = await relay.ask("operator", "GET", f"{BASE}/tenants")
    head = await relay.ask("operator", "HEAD", f"{BASE}/tenants")
    assert (head.status_code, head.headers["content-length"]) == (200, got.headers["content-length"])


@pytest.mark.parametrize("path", ["", "keys/", "tenants/acme/nothing", "keys/a:b:rotate", "keys/k1:explode"])
async def test_what_there_is_not_is_not_found(relay: Relay, path: str) -> None:
    answer = await relay.ask("operator", "GET", f"{BASE}/{path}")
    assert answer.status_code == (200 if path == "keys/" else 404)  # one slash at the end never matters


async def test_a_failing_store_is_told_as_such(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(relay.credentials, "put_tenant", fail)
    answer = await relay.ask("operator", "POST", f"{BASE}/tenants", json={"name": "fresh"})
    assert (answer.status_code, "disk" in answer.text) == (503, False)
