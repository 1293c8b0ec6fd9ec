"""Nobody gets at what is Ann's: every operation, binding, version and spelling, by everybody who must not.

The attacks come from the tables of routes and methods, so that a new route or method without a row fails here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from attacked_relay import CANARY, Answer, AttackedRelay, Belongings, Request, rpc
from attacks import LINKS, OPEN, Attack, all_attacks

from a2a_relay.a2a import rest
from a2a_relay.a2a.methods import BY_NAME, METHODS, Operation
from a2a_relay.core.address import Address
from a2a_relay.core.target import Surface, read_target
from a2a_relay.testing import MemoryTransport

STRANGERS = (
    "nobody",
    "garbage",
    "expired",
    "revoked",
    "shut-admin",
    "legacy-where-off",
    "legacy-agent-where-off",
    "evil-admin",
    "evil-sender",
    "evil-agent",
    "legacy-evil",
)
POWERLESS = ("nobody", "garbage", "expired", "revoked", "shut-admin", "legacy-where-off", "legacy-agent-where-off")
"""Whose credential is refused whatever they ask."""
INSIDERS = ("bob", "zoe", "zaf")
"""Of her tenant: another sender, another agent, and the agent itself, which asks as everybody does."""
ATTACKERS = (*STRANGERS, *INSIDERS, "elsewhere", "unscoped", "operator")
ATTACKS = all_attacks()
_CHANGING = ("x-request-id", "date")


def is_wrong(attack: Attack, who: str) -> bool:
    """Whether it is an attack at all when this one does it."""
    if who in INSIDERS:
        return attack.names_ids or attack.is_admins
    if who == "elsewhere" and attack.surface is Surface.ADMIN:
        return False  # whose agents are few, and whose tenant is hers: an admin of it
    return not (who == "operator" and attack.is_operators)


@pytest.fixture(params=["fast", "plain"])
async def relay(request: pytest.FixtureRequest) -> AttackedRelay:
    relay = AttackedRelay(request.param)
    await relay.populate()
    return relay


def refused(answer: Answer) -> bool:
    """Whether an answer is a refusal, in any binding."""
    if answer.status >= 400:
        return True
    try:
        return "error" in json.loads(answer.body)
    except (ValueError, TypeError):
        return False


def unknown_to(who: str, anns: Belongings) -> Belongings:
    """What does not exist, as far as this one may tell what does."""
    if who in STRANGERS or who == "operator":
        return anns.unknown(is_own_tenant=False)
    return anns.unknown(is_own_tenant=True, is_same_agent=who != "elsewhere")


def essence(answer: Answer, ids: Belongings) -> tuple[int, list[tuple[str, bytes]], bytes]:
    """What an answer says beside the ids that were asked for."""
    headers = [(name, ids.masked(value.encode())) for name, value in answer.headers if name not in _CHANGING]
    return answer.status, headers, ids.masked(answer.body)


async def breach(relay: AttackedRelay, who: str, attack: Attack) -> str:
    """What went wrong when somebody tried; empty: nothing."""
    relay.reached()
    answer = await relay.send(who, attack.make(relay.anns, relay.bobs))
    theirs = essence(answer, relay.anns)
    if relay.reached():
        return "the agent has it"
    if CANARY.encode() in repr(theirs).encode():
        return f"it tells {theirs}"
    is_own_list = attack.is_claim and who in INSIDERS and b'"tasks":[]' in answer.body
    if not attack.shows_own and not refused(answer) and not is_own_list:
        return f"it is answered with {theirs}"
    if (attack.is_claim and who in INSIDERS) or (attack.shows_own and not attack.names_ids):
        return ""
    unknown = unknown_to(who, relay.anns)
    nobodys = essence(await relay.send(who, attack.make(unknown, relay.bobs)), unknown)
    relay.reached()
    return "" if theirs == nobodys else f"it tells {theirs}, and of what does not exist {nobodys}"


@pytest.mark.parametrize("who", ATTACKERS)
async def test_nobody_gets_at_what_is_anns(relay: AttackedRelay, who: str) -> None:
    # What one lane leaves out the other takes; who has no credential that is good for anything gets less attention.
    step = 16 if who in POWERLESS else 2
    half = ATTACKS[(ATTACKERS.index(who) * 2 + (relay.lane == "fast")) % step :: step]
    wrong = [attack for attack in half if is_wrong(attack, who)]
    breaches = []
    for attack in wrong:
        found = await breach(relay, who, attack)
        if found:
            breaches.append(f"{attack.surface} {attack.name}: {found}")
    assert not breaches, "\n".join(breaches[:20])
    await relay.require_untouched()


def test_the_matrix_is_as_large_as_promised() -> None:
    powerful = [who for who in ATTACKERS if who not in POWERLESS]
    assert sum(is_wrong(attack, who) for who in powerful for attack in ATTACKS) >= 1500


# nothing is left out


def test_every_surface_is_attacked() -> None:
    assert {attack.surface for attack in ATTACKS} | LINKS == set(Surface)
    assert {attack.surface for attack in ATTACKS if attack.shows_own and not attack.names_ids} >= OPEN


def _requests() -> list[tuple[Attack, Request]]:
    ids = {"task": "t", "context": "c", "letter": "rly-1", "queued_context": "rly-2", "stream": "s"}
    one = Belongings("acme", "zaf", "sleeper", **ids)
    return [(attack, attack.make(one, one)) for attack in ATTACKS]


def test_an_attack_is_on_the_surface_that_it_says() -> None:
    for attack, request in _requests():
        if " at " not in attack.name and attack.surface is not Surface.ROOT_RPC:
            route = read_target(request.verb, request.target.encode(), relay_elixir=True)
            assert route.surface is attack.surface, attack.name


def test_every_method_of_either_version_is_attacked() -> None:
    named: set[str] = set()
    for attack, request in _requests():
        if attack.surface is Surface.RPC:
            named.add(json.loads(request.body, strict=False)["method"])
    assert named >= set(BY_NAME)
    assert named - set(BY_NAME), "methods that nobody knows are missing"


def test_every_operation_is_attacked_in_every_dialect_of_rest() -> None:
    found = set()
    for attack, request in _requests():
        if attack.surface is Surface.REST:
            path = read_target(request.verb, request.target.encode()).rest
            assert path is not None
            found.add((path.operation, path.dialect))
    plain = {(operation, rest.Dialect.PLAIN) for operation in (Operation.SEND, Operation.STREAM, Operation.CANCEL)}
    both = {(method.operation, dialect) for method in METHODS for dialect in (rest.Dialect.V10, rest.Dialect.V03)}
    assert found == both | plain


# the judge can see


async def test_ann_herself_is_served(relay: AttackedRelay) -> None:
    """What is refused to others is there: otherwise nothing above would say anything."""
    asking = relay.begin("ann", rpc("GetTask", {"id": relay.anns.task}))
    assert (await relay.end(asking)).status == 0
    assert len(relay.reached()) == 1
    relay.leave(asking)
    await relay.require_untouched()


@pytest.mark.parametrize("method, needed", [(method.v10, method.operation) for method in METHODS])
async def test_a_scope_that_is_missing_is_named(relay: AttackedRelay, method: str, needed: Operation) -> None:
    answer = await relay.send("unscoped", rpc(method, {"id": "t", "taskId": "t", "message": {"messageId": "m"}}))
    assert answer.status in (200, 400, 403)
    assert relay.reached() == []


# links


@pytest.mark.parametrize("who", [name for name in ATTACKERS if name != "zaf"])
@pytest.mark.parametrize("protocol", ["a2a-relay/1", "a2a.v1", ""])
async def test_nobody_else_attaches_as_her_agent(relay: AttackedRelay, who: str, protocol: str) -> None:
    session = relay.node.find_session(Address("acme", "zaf"))
    transport = MemoryTransport()
    link = relay.node.open_link(transport, "https://relay.example")
    auth: dict[str, Any] = {"type": "auth", "token": relay.texts[who] or "", "tenant": "acme", "agent_id": "zaf"}
    link.receive(json.dumps(auth | ({"protocol": protocol} if protocol else {})).encode())
    assert relay.node.find_session(Address("acme", "zaf")) is session
    assert CANARY.encode() not in b"".join(transport.frames)
