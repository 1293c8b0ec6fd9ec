"""What may be administered by whom, and what a key may be: the service itself, over stores in memory."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from a2a_relay.admin.administration import MAX_OVERLAP_SECONDS, OVERLAP_SECONDS, STORE, Administration, MadeKey
from a2a_relay.admin.rules import KeyOrder
from a2a_relay.core.keys import KeyForm
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.scopes import ANY_METHOD, BODIES, CALLING
from a2a_relay.core.tenants import Issuer, TenantRecord, TenantState
from a2a_relay.errors import Reason, Refused
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials

OPERATOR = Principal("", Role.OPERATOR, "olga", key="k0", manages=True)
ADMIN = Principal("acme", Role.ADMIN, "ann", key="k1", manages=True)
EVE = Principal("evil", Role.ADMIN, "eve", key="k2", manages=True)
ZOES = replace(ADMIN, key="k3", agents=frozenset({"zoe"}))
SENDER = KeyOrder("proxy-1", Role.SENDER)
ZAF = KeyOrder("zaf", Role.AGENT, agent="zaf")
ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"}
IDP = Issuer("https://id.example", ("relay",), "https://id.example/jwks")


class MarkingSeal:
    def seal(self, secret: bytes, key_id: str) -> bytes:
        return b"sealed for %b" % key_id.encode()


class Office:
    """An administration, and what it acts on."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.time = 1_700_000_000.0
        self.log = MemoryAudit(lambda: self.time)
        self.credentials = MemoryCredentials(self.log)
        self.states_when_erased: list[TenantState] = []
        self.does = Administration(
            self.credentials, self.log, MarkingSeal(), self._erase, is_open=is_open, now=lambda: self.time
        )

    async def _erase(self, tenant: str) -> dict[str, int]:
        record = self.credentials.tenant(tenant)
        assert record is not None
        self.states_when_erased.append(record.state)
        return {"letters": 3, "agents": 1}

    async def with_tenants(self) -> Office:
        for name in ("acme", "evil"):
            await self.does.create_tenant(OPERATOR, TenantRecord(name, 0.0))
        return self

    async def key(self, order: KeyOrder = SENDER, tenant: str = "acme") -> MadeKey:
        return await self.does.create_key(OPERATOR, tenant, order)

    def worth(self, text: str, by: Principal = OPERATOR) -> str:
        return self.does.verify_key(by, text).state

    async def last(self) -> Any:
        return (await self.log.page(None, limit=1))[0].fact


@pytest.fixture
async def office() -> Office:
    return await Office().with_tenants()


async def reason_of(act: Awaitable[object]) -> Reason:
    with pytest.raises(Refused) as caught:
        await act
    return caught.value.reason


# names and shapes


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "a/b", "a\n", "x" * 65])
async def test_nothing_is_made_under_what_is_no_name(office: Office, name: str) -> None:
    assert await reason_of(office.does.create_tenant(OPERATOR, TenantRecord(name, 0.0))) is Reason.INVALID_PARAMS
    for order in (SENDER._replace(name=name), ZAF._replace(agent=name), SENDER._replace(agents=frozenset({name}))):
        assert await reason_of(office.key(order)) is Reason.INVALID_PARAMS
    assert not office.credentials.keys_of("acme")


async def test_a_tenant_is_made_once(office: Office) -> None:
    assert await reason_of(office.does.create_tenant(OPERATOR, TenantRecord("acme", 0.0))) is Reason.NAME_TAKEN


@pytest.mark.parametrize(
    "order",
    [
        KeyOrder("k", Role.AGENT),
        KeyOrder("k", Role.SENDER, agent="zaf"),
        KeyOrder("k", Role.ADMIN, agent="zaf"),
        KeyOrder("k", Role.OPERATOR),
        KeyOrder("k", Role.SENDER, form=KeyForm.HS256),
        KeyOrder("k", Role.SENDER, scopes=frozenset({"message:sned"})),
        KeyOrder("k", Role.SENDER, networks=("10.0.0.1/33",)),
        KeyOrder("k", Role.SENDER, limits={"calls_per_second": -1.0}),
        KeyOrder("k", Role.SENDER, limits={"Calls": 1.0}),
        KeyOrder("k", Role.SENDER, limits={"calls": float("inf")}),
        KeyOrder("k", Role.SENDER, expires_seconds=0.0),
        KeyOrder("k", Role.SENDER, expires_seconds=float("inf")),
        KeyOrder("k", Role.SENDER, proof_key=bytes(32)),
        KeyOrder("k", Role.AGENT, agent="zaf", proof_key=bytes(31)),
    ],
    ids=str,
)
async def test_a_key_that_contradicts_itself_is_not_made(office: Office, order: KeyOrder) -> None:
    assert await reason_of(office.key(order)) is Reason.INVALID_PARAMS
    assert not office.credentials.keys_of("acme")


async def test_an_operators_key_belongs_to_no_tenant(office: Office) -> None:
    made = await office.key(KeyOrder("root", Role.OPERATOR), "")
    assert (made.record.tenant, made.record.role, made.record.scopes) == ("", Role.OPERATOR, None)
    assert await reason_of(office.key(SENDER, "")) is Reason.INVALID_PARAMS


@pytest.mark.parametrize("is_open, scopes", [(False, CALLING), (True, CALLING | {ANY_METHOD})])
async def test_who_does_not_say_gets_what_the_role_may(is_open: bool, scopes: frozenset[str]) -> None:
    office = await Office(is_open=is_open).with_tenants()
    assert [(await office.key(order)).record.scopes for order in (SENDER, ZAF)] == [scopes, scopes]
    assert (await office.key(KeyOrder("boss", Role.ADMIN))).record.scopes is None


async def test_what_was_asked_for_is_what_the_key_is(office: Office) -> None:
    order = ZAF._replace(
        scopes=frozenset({"message:send", "method:x/y"}),
        agents=frozenset({"zoe"}),
        networks=("10.0.0.0/8",),
        limits={"calls_per_second": 5.0},
        expires_seconds=60.0,
        proof_key=bytes(range(32)),
    )
    made = (await office.does.create_key(ADMIN, "acme", order)).record
    same = ("name", "role", "agent", "form", "scopes", "agents", "networks", "limits", "proof_key")
    assert {name: getattr(made, name) for name in same} == {name: getattr(order, name) for name in same}
    assert (made.created_by, made.created_at, made.expires_at) == (ADMIN.owner, office.time, office.time + 60)


async def test_only_keys_that_sign_are_kept_where_the_relay_can_read_them(office: Office) -> None:
    plain, signing = await office.key(), await office.key(ZAF._replace(form=KeyForm.HS256))
    assert plain.record.secrets[0].sealed is None
    assert signing.record.secrets[0].sealed == b"sealed for %b" % signing.record.id.encode()
    for made in (plain, signing):
        assert made.text not in repr(office.credentials.key(made.record.id))


# who


@pytest.mark.parametrize(
    "who",
    [
        EVE,
        Principal("acme", Role.SENDER, "sam", key="k4"),
        Principal("acme", Role.AGENT, "zaf", key="k5"),
        Principal("acme", Role.ADMIN, "leo", is_legacy=True),
        Principal("", Role.OPERATOR, "fake"),
    ],
    ids=lambda who: f"{who.tenant}-{who.role}-{who.identity}",
)
async def test_whoever_may_not_is_refused_alike_about_what_is_and_what_is_not(office: Office, who: Principal) -> None:
    made, does = await office.key(), office.does
    before = await office.log.page(None)

    async def now(act: Any, *args: Any) -> None:
        act(who, *args)

    for tenant in ("acme", "nowhere"):
        for act in (
            now(does.tenant, tenant),
            now(does.keys, tenant),
            now(does.legacy, tenant),
            does.set_state(who, tenant, TenantState.DISABLED),
            does.set_tenant(who, tenant, {"networks": ()}),
            does.delete_tenant(who, tenant),
            does.set_limits(who, tenant, {}),
            does.put_issuer(who, tenant, IDP),
            does.remove_issuer(who, tenant, IDP.url),
            does.set_legacy(who, tenant, is_taken=True),
            does.create_key(who, tenant, SENDER),
            does.audit(who, tenant),
        ):
            assert await reason_of(act) is Reason.PERMISSION_DENIED
    for operators in (now(does.tenants), now(does.keys, ""), does.check_audit(who), does.audit(who, None)):
        assert await reason_of(operators) is Reason.PERMISSION_DENIED
    expected = Reason.NOT_FOUND if who is EVE else Reason.PERMISSION_DENIED
    for id in (made.record.id, "k404"):
        for of_key in (
            now(does.key, id),
            does.rotate_key(who, id),
            does.revoke_key(who, id),
            does.set_key_limits(who, id, {}),
        ):
            assert await reason_of(of_key) is expected
    assert await office.log.page(None) == before
    assert office.worth(made.text) == "ok"


async def test_an_admin_manages_its_own_tenant_alone(office: Office) -> None:
    made = await office.does.create_key(ADMIN, "acme", SENDER)
    assert office.does.keys(ADMIN, "acme") == [made.record]
    assert office.does.tenant(ADMIN, "acme").name == "acme"
    assert await reason_of(office.does.create_tenant(ADMIN, TenantRecord("more", 0.0))) is Reason.PERMISSION_DENIED
    for state in TenantState:
        assert await reason_of(office.does.set_state(ADMIN, "acme", state)) is Reason.PERMISSION_DENIED
    root = office.does.create_key(ADMIN, "acme", KeyOrder("root", Role.OPERATOR))
    assert await reason_of(root) is Reason.INVALID_PARAMS
    assert await reason_of(office.does.create_key(ADMIN, "", KeyOrder("r", Role.OPERATOR))) is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    "scopes, order",
    [
        ({"keys:write"}, SENDER),
        ({"keys:write"}, KeyOrder("boss", Role.ADMIN)),
        ({"keys:write", "message:send"}, SENDER._replace(scopes=frozenset({"message:send", "tasks:read"}))),
        ({"message:send"}, SENDER._replace(scopes=frozenset({"message:send"}))),
    ],
    ids=["few", "an admin", "more", "not keys"],
)
async def test_nobody_gives_scopes_that_it_has_not(office: Office, scopes: set[str], order: KeyOrder) -> None:
    who = replace(ADMIN, scopes=frozenset(scopes))
    assert await reason_of(office.does.create_key(who, "acme", order)) is Reason.PERMISSION_DENIED


async def test_whoever_has_few_scopes_gives_of_those(office: Office) -> None:
    who = replace(ADMIN, scopes=frozenset({"keys:write", "message:send"}))
    order = SENDER._replace(scopes=frozenset({"message:send"}))
    assert (await office.does.create_key(who, "acme", order)).record.scopes == frozenset({"message:send"})


@pytest.mark.parametrize(
    "order",
    [
        SENDER,
        SENDER._replace(agents=frozenset({"zoe", "zaf"})),
        ZAF,
        KeyOrder("zoe", Role.AGENT, agent="zoe"),
        KeyOrder("zoe", Role.AGENT, agent="zoe", agents=frozenset({"zaf"})),
        ZAF._replace(agents=frozenset({"zoe"})),
    ],
)
async def test_nobody_gives_agents_that_it_may_not_see(office: Office, order: KeyOrder) -> None:
    assert await reason_of(office.does.create_key(ZOES, "acme", order)) is Reason.PERMISSION_DENIED


async def test_whoever_sees_few_agents_gives_of_those(office: Office) -> None:
    order = KeyOrder("zoe", Role.AGENT, agent="zoe", agents=frozenset({"zoe"}))
    made = await office.does.create_key(ZOES, "acme", order)
    assert (await office.does.rotate_key(ZOES, made.record.id)).record.agent == "zoe"
    theirs = await office.key()
    assert await reason_of(office.does.rotate_key(ZOES, theirs.record.id)) is Reason.PERMISSION_DENIED


async def test_a_key_is_good_where_and_while_its_makers_is(office: Office) -> None:
    order = KeyOrder("office", Role.ADMIN, networks=("192.0.2.0/24", "2001:db8::/32"), expires_seconds=600.0)
    bound = (await office.does.create_key(OPERATOR, "acme", order)).record
    maker = Principal("acme", Role.ADMIN, "ann", key=bound.id, manages=True)
    made = (await office.does.create_key(maker, "acme", SENDER)).record
    assert (made.networks, made.expires_at) == (bound.networks, bound.expires_at)
    narrow = SENDER._replace(name="desk", networks=("192.0.2.7",), expires_seconds=60.0)
    assert (await office.does.create_key(maker, "acme", narrow)).record.networks == ("192.0.2.7",)
    for wide in ({"networks": ("192.0.0.0/16",)}, {"networks": ("192.0.2.7", "::/0")}, {"expires_seconds": 601.0}):
        order = SENDER._replace(name="wide", **wide)
        assert await reason_of(office.does.create_key(maker, "acme", order)) is Reason.PERMISSION_DENIED
    theirs = (await office.does.create_key(OPERATOR, "acme", ZAF)).record
    assert await reason_of(office.does.rotate_key(maker, theirs.id)) is Reason.PERMISSION_DENIED
    assert (await office.does.rotate_key(maker, made.id)).record.networks == bound.networks


@pytest.mark.parametrize("who, seconds", [(OPERATOR, 60.0), (ADMIN, None)])
async def test_bodies_are_shown_by_the_tenants_own_admin_and_for_a_while(
    office: Office, who: Principal, seconds: float | None
) -> None:
    order = KeyOrder("look", Role.ADMIN, scopes=frozenset({BODIES}), expires_seconds=seconds)
    assert await reason_of(office.does.create_key(who, "acme", order)) is Reason.PERMISSION_DENIED
    assert (
        await office.does.create_key(ADMIN, "acme", order._replace(expires_seconds=60.0))
    ).record.scopes == frozenset({BODIES})


# tenants


@pytest.mark.parametrize("is_open", [True, False])
async def test_an_unknown_tenant_is_registered_with_its_first_key_only_where_tenants_are_open(is_open: bool) -> None:
    office = Office(is_open=is_open)
    if not is_open:
        assert await reason_of(office.key()) is Reason.NOT_FOUND
        assert office.credentials.tenants() == []
        return
    await office.key()
    assert [tenant.name for tenant in office.credentials.tenants()] == ["acme"]
    acts = [record.fact.action for record in await office.log.page("acme")]
    assert acts == ["keys.create", "tenants.create"]


async def test_a_deleted_tenant_is_shut_before_it_is_erased_and_leaves_a_receipt(office: Office) -> None:
    made = await office.key()
    receipt = await office.does.delete_tenant(OPERATOR, "acme", "contract ended")
    assert office.states_when_erased == [TenantState.DISABLED]
    assert (receipt.tenant, receipt.deleted_at) == ("acme", office.time)
    assert receipt.erased == {"letters": 3, "agents": 1, "keys": 1}
    assert (office.credentials.tenant("acme"), office.worth(made.text)) == (None, "unknown")
    assert await reason_of(office.does.delete_tenant(OPERATOR, "acme")) is Reason.NOT_FOUND


@pytest.mark.parametrize(
    "changes",
    [
        {"networks": ("nowhere",)},
        {"on_second_session": "fight"},
        {"takeover_hold_seconds": -1.0},
        {"takeover_hold_seconds": float("inf")},
    ],
    ids=str,
)
async def test_a_tenant_cannot_be_set_to_what_makes_no_sense(office: Office, changes: dict[str, object]) -> None:
    before = office.credentials.tenant("acme")
    assert await reason_of(office.does.set_tenant(ADMIN, "acme", changes)) is Reason.INVALID_PARAMS
    assert office.credentials.tenant("acme") == before


async def test_limits_of_a_tenant_are_the_operators_and_merge(office: Office) -> None:
    assert await reason_of(office.does.set_limits(ADMIN, "acme", {"calls_burst": 9})) is Reason.PERMISSION_DENIED
    await office.does.set_limits(OPERATOR, "acme", {"calls_burst": 9, "sessions": 2})
    record = await office.does.set_limits(OPERATOR, "acme", {"calls_burst": None})
    assert record.limits == {"sessions": 2}


async def test_limits_of_a_key_are_its_tenants_and_merge(office: Office) -> None:
    id = (await office.key(SENDER._replace(limits={"calls_burst": 9.0}))).record.id
    record = await office.does.set_key_limits(ADMIN, id, {"calls_per_second": 2.0, "calls_burst": None}, "calm")
    assert record.limits == {"calls_per_second": 2.0}
    assert office.credentials.key(id) == record
    assert ((await office.last()).action, (await office.last()).target) == ("limits.set", id)
    assert await reason_of(office.does.set_key_limits(ADMIN, id, {"x": -1.0})) is Reason.INVALID_PARAMS
    narrow = replace(ADMIN, scopes=frozenset({"keys:write"}))
    assert await reason_of(office.does.set_key_limits(narrow, id, {})) is Reason.PERMISSION_DENIED


async def test_legacy_tokens_are_taken_until_somebody_says_no(office: Office) -> None:
    assert office.does.legacy(ADMIN, "acme")[0] is True
    assert (await office.does.set_legacy(ADMIN, "acme", is_taken=False)).takes_legacy is False
    assert office.does.legacy(ADMIN, "acme")[0] is False
    assert (await office.last()).action == "legacy.off"


# issuers


async def test_an_issuer_replaces_the_one_of_its_url(office: Office) -> None:
    await office.does.put_issuer(ADMIN, "acme", IDP)
    await office.does.put_issuer(ADMIN, "acme", IDP._replace(roles=("agent",)))
    assert [issuer.roles for issuer in office.does.tenant(ADMIN, "acme").issuers] == [("agent",)]
    assert (await office.last()).target == IDP.url
    assert (await office.does.remove_issuer(ADMIN, "acme", IDP.url)).issuers == ()
    assert await reason_of(office.does.remove_issuer(ADMIN, "acme", IDP.url)) is Reason.NOT_FOUND


@pytest.mark.parametrize(
    "issuer",
    [
        IDP._replace(url=""),
        IDP._replace(audiences=()),
        IDP._replace(audiences=("",)),
        IDP._replace(jwks_url=""),
        IDP._replace(jwks=json.dumps({"keys": [ED25519]})),
        IDP._replace(jwks_url="http://id.example/jwks"),
        IDP._replace(jwks_url="file:///etc/passwd"),
        IDP._replace(algorithms=()),
        IDP._replace(algorithms=("HS256",)),
        IDP._replace(algorithms=("none",)),
        IDP._replace(roles=("operator",)),
        IDP._replace(roles=()),
        IDP._replace(jwks_url="", jwks="/etc/passwd"),
        IDP._replace(jwks_url="", jwks='{"keys":[]}'),
        IDP._replace(jwks_url="", jwks='{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'),
        IDP._replace(jwks_url="", jwks=json.dumps({"keys": [{**ED25519, "d": "c2VjcmV0"}]})),
    ],
    ids=str,
)
async def test_an_issuer_that_could_not_or_should_not_be_believed_is_refused(office: Office, issuer: Issuer) -> None:
    assert await reason_of(office.does.put_issuer(ADMIN, "acme", issuer)) is Reason.INVALID_PARAMS
    assert office.does.tenant(ADMIN, "acme").issuers == ()


async def test_an_offline_set_of_public_keys_is_taken(office: Office) -> None:
    issuer = IDP._replace(jwks_url="", jwks=json.dumps({"keys": [ED25519]}))
    assert (await office.does.put_issuer(ADMIN, "acme", issuer)).issuers == (issuer,)


@pytest.mark.parametrize("bounds", [{"scopes": frozenset({"tenant:write"})}, {"agents": frozenset({"zoe"})}], ids=str)
async def test_an_issuer_is_not_added_by_who_may_do_less_than_its_tokens(office: Office, bounds: Any) -> None:
    assert await reason_of(office.does.put_issuer(replace(ADMIN, **bounds), "acme", IDP)) is Reason.PERMISSION_DENIED


# the life of a key


async def test_both_secrets_are_good_while_a_rotation_overlaps(office: Office) -> None:
    old = await office.key()
    new = await office.does.rotate_key(ADMIN, old.record.id)
    office.time += OVERLAP_SECONDS - 1
    assert (office.worth(old.text), office.worth(new.text)) == ("ok", "ok")
    office.time += 1
    assert (office.worth(old.text), office.worth(new.text)) == ("expired", "ok")


async def test_a_rotation_at_once_leaves_one_secret(office: Office) -> None:
    old = await office.key()
    new = await office.does.rotate_key(ADMIN, old.record.id, 0)
    assert (office.worth(old.text), office.worth(new.text), len(new.record.secrets)) == ("unknown", "ok", 1)


async def test_a_second_rotation_does_not_lengthen_the_life_of_the_first_secret(office: Office) -> None:
    first = await office.key()
    second = await office.does.rotate_key(ADMIN, first.record.id, 60)
    third = await office.does.rotate_key(ADMIN, first.record.id, 3600)
    office.time += 61
    assert [office.worth(made.text) for made in (second, third)] == ["ok", "ok"]
    assert office.worth(first.text) != "ok"


@pytest.mark.parametrize("seconds", [-1.0, MAX_OVERLAP_SECONDS + 1, float("inf"), float("nan")])
async def test_an_overlap_has_an_end(office: Office, seconds: float) -> None:
    made = await office.key()
    assert await reason_of(office.does.rotate_key(ADMIN, made.record.id, seconds)) is Reason.INVALID_PARAMS


async def test_what_is_revoked_stays_so_and_is_written_down_once(office: Office) -> None:
    made = await office.key()
    revoked = await office.does.revoke_key(ADMIN, made.record.id, "lost")
    count = len(await office.log.page(None))
    office.time += 5
    assert await office.does.revoke_key(ADMIN, made.record.id) == revoked
    assert len(await office.log.page(None)) == count
    assert office.worth(made.text) == "revoked"
    assert await reason_of(office.does.rotate_key(ADMIN, made.record.id)) is Reason.INVALID_PARAMS


async def test_verify_tells_what_a_text_is_worth(office: Office) -> None:
    made = await office.key(SENDER._replace(expires_seconds=60.0))
    assert office.worth(made.text, ADMIN) == "ok"
    assert office.worth(made.text, EVE) == "unknown"
    assert office.worth(made.text[:-1] + ("a" if made.text[-1] != "a" else "b")) == "typo"
    assert office.worth("hello") == "unknown"
    await office.does.set_state(OPERATOR, "acme", TenantState.DISABLED)
    assert office.worth(made.text) == "disabled"
    office.time += 60
    assert office.worth(made.text) == "expired"


async def test_an_expired_key_is_not_made_young_again(office: Office) -> None:
    made = await office.key(SENDER._replace(expires_seconds=60.0))
    office.time += 60
    assert await reason_of(office.does.rotate_key(ADMIN, made.record.id)) is Reason.INVALID_PARAMS


# the audit log


async def test_each_act_is_written_down_with_who_and_why(office: Office) -> None:
    made = await office.does.create_key(ADMIN, "acme", SENDER, "a proxy")
    fact = await office.last()
    assert (fact.tenant, fact.actor, fact.action, fact.target) == ("acme", "key:k1", "keys.create", made.record.id)
    assert (fact.outcome, fact.reason) == ("done", "a proxy")
    await office.does.set_state(STORE, "acme", TenantState.DISABLED, "unpaid")
    fact = await office.last()
    assert (fact.actor, fact.action, fact.reason) == ("store", "tenants.disable", "unpaid")
    assert made.text not in repr(await office.log.page(None))
    assert (await office.does.check_audit(OPERATOR)).broken_at is None


@pytest.mark.parametrize("why", ["x" * 1001, "one\ntwo", "\x1b[2J"], ids=["long", "two lines", "escapes"])
async def test_a_reason_is_one_line(office: Office, why: str) -> None:
    assert await reason_of(office.does.create_key(ADMIN, "acme", SENDER, why)) is Reason.INVALID_PARAMS
    assert office.credentials.keys_of("acme") == []


async def test_an_admin_reads_its_own_tenants_entries_alone(office: Office) -> None:
    await office.key(tenant="evil")
    await office.key()
    assert {record.fact.tenant for record in await office.does.audit(ADMIN, "acme")} == {"acme"}
    assert {record.fact.tenant for record in await office.does.audit(OPERATOR, None)} == {"acme", "evil"}
