"""The admin API over real stores: who may do what, keys shown once, and questions read strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from a2a_relay.admin.administration import STORE, Administration
from a2a_relay.admin.api import AdminApi
from a2a_relay.core.principal import Principal, Role
from a2a_relay.errors import Reason, Refused
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials

ADMIN = Principal("acme", Role.ADMIN, "ann", key="k1", manages=True)
NARROW = ADMIN.__class__("acme", Role.ADMIN, "ned", key="k2", manages=True, scopes=frozenset({"keys:write"}))
STRANGERS = [
    Principal("acme", Role.SENDER, "sam", key="k3"),
    Principal("acme", Role.ADMIN, "leo", is_legacy=True),
    Principal("other", Role.ADMIN, "eve", key="k4", manages=True),
]
SENDER = {"name": "proxy-1", "role": "sender"}


class FakeSeal:
    def seal(self, secret: bytes, key_id: str) -> bytes:
        return key_id.encode() + secret[::-1]


class Office:
    """An administration, asked as over HTTP."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.time = 1_000_000.0
        self.audit = MemoryAudit(lambda: self.time)
        self.credentials = MemoryCredentials(self.audit)
        self.erased: list[str] = []
        self.api = AdminApi(
            Administration(self.credentials, self.audit, FakeSeal(), self.erase, is_open=is_open, now=lambda: self.time)
        )

    async def erase(self, tenant: str) -> dict[str, int]:
        self.erased.append(tenant)
        return {"letters": 3}

    async def ask(self, verb: str, path: str, body: Any = None, by: Principal = STORE, **query: str) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return json.loads((await self.api.answer(by, verb, path, list(query.items()), raw)).body)

    async def refused(self, *question: Any, **more: Any) -> Reason:
        with pytest.raises(Refused) as caught:
            await self.ask(*question, **more)
        return caught.value.reason


@pytest.fixture
def office() -> Office:
    return Office()


async def test_a_key_is_shown_once_and_found_by_its_text(office: Office) -> None:
    made = await office.ask("POST", "tenants/acme/keys", SENDER)
    shown = await office.ask("GET", f"keys/{made['id']}")
    assert made["key"].startswith("rly_sender_")
    assert made["key"] not in json.dumps(shown)
    verdict = await office.ask("POST", "keys:verify", {"key": made["key"]})
    assert (verdict["state"], verdict["key"]["id"]) == ("ok", made["id"])
    assert (await office.ask("POST", "keys:verify", {"key": made["key"][:-1] + "~"}))["state"] == "typo"


async def test_a_rotated_key_is_good_in_both_texts_until_the_overlap_ends(office: Office) -> None:
    old = await office.ask("POST", "tenants/acme/keys", SENDER)
    new = await office.ask("POST", f"keys/{old['id']}:rotate", {"overlap_seconds": 60})
    states = []
    for seconds in (59, 2):
        office.time += seconds
        states += [(await office.ask("POST", "keys:verify", {"key": made["key"]}))["state"] for made in (old, new)]
    assert states == ["ok", "ok", "expired", "ok"]


async def test_a_revoked_key_stays_revoked(office: Office) -> None:
    made = await office.ask("POST", "tenants/acme/keys", SENDER)
    await office.ask("POST", f"keys/{made['id']}:revoke", {"reason": "lost"})
    assert (await office.ask("POST", "keys:verify", {"key": made["key"]}))["state"] == "revoked"
    assert await office.refused("POST", f"keys/{made['id']}:rotate") == Reason.INVALID_PARAMS


async def test_a_signing_key_is_kept_sealed(office: Office) -> None:
    made = await office.ask(
        "POST", "tenants/acme/keys", {"name": "zaf", "role": "agent", "agent": "zaf", "form": "hs256"}
    )
    record = office.credentials.key(made["id"])
    assert record is not None
    assert record.secrets[0].sealed == FakeSeal().seal(made["key"].encode(), made["id"])


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda who: who.identity)
async def test_strangers_are_refused_alike_whether_or_not_a_tenant_exists(office: Office, stranger: Principal) -> None:
    await office.ask("POST", "tenants", {"name": "acme"})
    for tenant in ("acme", "nobody"):
        for verb, below in (("GET", ""), ("GET", "/keys"), ("POST", "/keys"), ("PATCH", "/legacy"), ("DELETE", "")):
            body = SENDER if verb == "POST" else {"takes_legacy": False}
            path = f"tenants/{tenant}{below}"
            assert await office.refused(verb, path, body, by=stranger) == Reason.PERMISSION_DENIED


async def test_a_foreign_key_is_as_unknown_as_none(office: Office) -> None:
    made = await office.ask("POST", "tenants/other/keys", SENDER)
    for id in (made["id"], "k0"):
        assert await office.refused("GET", f"keys/{id}", by=ADMIN) == Reason.NOT_FOUND
        assert await office.refused("POST", f"keys/{id}:revoke", by=ADMIN) == Reason.NOT_FOUND
    verdict = await office.ask("POST", "keys:verify", {"key": made["key"]}, by=ADMIN)
    assert verdict == {"state": "unknown", "key": None}


async def test_nobody_climbs_by_a_key_of_its_own_making(office: Office) -> None:
    strong = await office.ask("POST", "tenants/acme/keys", {"name": "boss", "role": "admin"})
    for question in (
        ("POST", "keys", {"name": "root", "role": "operator"}),
        ("POST", "tenants/acme/keys", {"name": "a", "role": "admin"}),
        ("POST", "tenants/acme/keys", SENDER),
        ("POST", f"keys/{strong['id']}:rotate"),
    ):
        assert await office.refused(*question, by=NARROW) == Reason.PERMISSION_DENIED
    assert await office.refused("POST", "keys", {"name": "root", "role": "operator"}, by=ADMIN) == (
        Reason.PERMISSION_DENIED
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "x y", "role": "sender"},
        {"name": "x", "role": "agent"},
        {"name": "x", "role": "sender", "agent": "zaf"},
        {"name": "x", "role": "operator"},
        {"name": "x", "role": "sender", "scopes": ["message:sned"]},
        {"name": "x", "role": "sender", "networks": ["10.0.0.0/99"]},
        {"name": "x", "role": "sender", "expires_seconds": 0},
        {"name": "x", "role": "sender", "form": "hs256"},
        {"name": "x", "role": "sender", "colour": "red"},
        b'{"name":"x","role":"sender","role":"admin"}',
        b"[]",
    ],
)
async def test_what_makes_no_sense_is_refused(office: Office, wrong: Any) -> None:
    assert await office.refused("POST", "tenants/acme/keys", wrong) in (Reason.INVALID_PARAMS, Reason.AMBIGUOUS_FIELD)


async def test_names_of_keys_are_unique(office: Office) -> None:
    await office.ask("POST", "tenants/acme/keys", SENDER)
    assert await office.refused("POST", "tenants/acme/keys", SENDER) == Reason.NAME_TAKEN


async def test_registered_tenants_are_not_made_by_the_way() -> None:
    assert await Office(is_open=False).refused("POST", "tenants/acme/keys", SENDER) == Reason.NOT_FOUND


async def test_a_deleted_tenant_is_erased_and_leaves_a_receipt_and_an_intact_log(office: Office) -> None:
    await office.ask("POST", "tenants/acme/keys", SENDER)
    receipt = await office.ask("DELETE", "tenants/acme", reason="left")
    assert (receipt["erased"], office.erased) == ({"letters": 3, "keys": 1}, ["acme"])
    assert await office.refused("GET", "tenants/acme") == Reason.NOT_FOUND
    entries = (await office.ask("GET", "audit"))["entries"]
    assert [entry["action"] for entry in entries][::-1] == [
        "tenants.create",
        "keys.create",
        "tenants.disable",
        "tenants.delete",
    ]
    assert {entry["actor"] for entry in entries} == {"store"}
    assert (await office.ask("GET", "audit:verify"))["broken_at"] is None


async def test_limits_are_for_operators_to_set(office: Office) -> None:
    await office.ask("POST", "tenants", {"name": "acme"})
    assert await office.refused("PATCH", "tenants/acme/limits", {"limits": {"calls_in_flight": 9}}, by=ADMIN) == (
        Reason.PERMISSION_DENIED
    )
    assert await office.ask("PATCH", "tenants/acme/limits", {"limits": {"calls_in_flight": 9}}) == {
        "limits": {"calls_in_flight": 9.0}
    }
    assert await office.ask("PATCH", "tenants/acme/limits", {"limits": {"calls_in_flight": None}}) == {"limits": {}}


async def test_issuers_and_legacy_are_settled_by_the_tenants_admin(office: Office) -> None:
    await office.ask("POST", "tenants", {"name": "acme"})
    issuer = {"url": "https://id.example", "audiences": ["relay"], "jwks_url": "https://id.example/jwks"}
    assert len((await office.ask("POST", "tenants/acme/issuers", issuer, by=ADMIN))["issuers"]) == 1
    bad = {**issuer, "jwks_url": "http://id.example/jwks"}
    assert await office.refused("POST", "tenants/acme/issuers", bad, by=ADMIN) == Reason.INVALID_PARAMS
    assert (await office.ask("DELETE", "tenants/acme/issuers", by=ADMIN, url="https://id.example"))["issuers"] == []
    assert not (await office.ask("PATCH", "tenants/acme/legacy", {"takes_legacy": False}, by=ADMIN))["takes_legacy"]


async def test_lists_come_in_pages(office: Office) -> None:
    for name in "abc":
        await office.ask("POST", "tenants", {"name": name})
    first = await office.ask("GET", "tenants", limit="2")
    rest = await office.ask("GET", "tenants", after=first["next"])
    assert [tenant["name"] for tenant in (*first["tenants"], *rest["tenants"])] == ["a", "b", "c"]


async def test_a_path_under_another_verb_says_which_are_allowed(office: Office) -> None:
    with pytest.raises(Refused) as caught:
        await office.ask("DELETE", "keys")
    assert caught.value.metadata == {"allow": "GET, POST"}
    assert await office.refused("GET", "nothing") == Reason.NOT_FOUND
