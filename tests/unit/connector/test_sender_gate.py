"""Before the agent: stamps of a real relay's frames, and everything that could be changed about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from small_agents import Output
from structlog.testing import capture_logs

from a2a_relay.auth.stamp_signer import StampSigner
from a2a_relay.connector.sender_gate import SenderGate, VerifySenders, keys_for
from a2a_relay.connector.senders import RelayKeys
from a2a_relay.connector.service_headers import outgoing
from a2a_relay.connector.upstream import CallFailed
from a2a_relay.connector.upstream import Output as AnyOutput
from a2a_relay.core.principal import Principal, Role
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    MemoryTransport,
    Playbook,
    RecordingSink,
    make_address,
    make_call,
    make_node,
    make_token,
)
from a2a_relay.wire import agent_side, stamps
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest
from a2a_relay.wire.frames import Rest

ANN = Principal("acme", Role.SENDER, "ann", key="k_1")
MALLORY = Principal("acme", Role.SENDER, "mallory")
REST = Rest("GET", ("v1", "tasks", "t"), "")


class Recorder:
    """An upstream that remembers what has reached it."""

    adopts_ids = True
    serves_rest_v03 = True

    def __init__(self) -> None:
        self.calls: list[IncomingRequest] = []

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def read_card(self) -> bytes | None:
        return b"{}"

    async def call(self, request: IncomingRequest, output: AnyOutput) -> None:
        self.calls.append(request)


class World:
    """A relay that signs, its agents' sessions, and a gate for one of them."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.signer = StampSigner(path)
        self.node: RelayNode = make_node(clock=self.clock, signer=self.signer)
        self.transports: dict[str, MemoryTransport] = {}
        self.agent = Recorder()

    def attach(self, agent: str = "zaf", features: str = '["stamp"]') -> AuthOk:
        claims = {"tenant": "acme", "agent_id": agent, "role": "agent", "exp": self.clock.now() + 3600}
        transport = self.transports[agent] = MemoryTransport()
        link = Playbook(self.node, self.clock, transport=transport, token=make_token(TEST_SECRET, claims))
        link.play(
            f'>> {{"type":"auth","token":"$token","protocol":"a2a-relay/1","rest_0_3":true,"features":{features}}}'
        )
        welcome = agent_side.read(transport.unread.popleft())
        assert isinstance(welcome, AuthOk)
        return welcome

    def keys(self) -> RelayKeys:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=self.signer.key_set))
        now = lambda: self.clock.now()  # noqa: E731, PLW0108  a test may put another clock's in its place
        return RelayKeys("https://relay.example", transport=transport, now=now)

    def gate(self, welcome: AuthOk | None = None, *, checks: bool = True, **options: Any) -> SenderGate:
        gate = SenderGate(self.agent, self.keys() if checks else None, monotonic=self.clock.monotonic, **options)
        gate.attach(welcome or self.attach())
        return gate

    def call(self, principal: Principal = ANN, agent: str = "zaf", **fields: Any) -> IncomingRequest:
        """A call as the connector reads it."""
        call = make_call(principal=principal, address=make_address(f"acme/{agent}"), **fields)
        if call.streams:
            self.node.stream(call, RecordingSink())
        else:
            self.node.submit(call, RecordingSink())
        request = agent_side.read(self.transports[agent].unread.popleft())
        assert isinstance(request, IncomingRequest)
        return request

    async def header(self, gate: SenderGate, request: IncomingRequest) -> str | None:
        """What the agent's server would be told of the sender."""
        return outgoing(await gate.admit(request)).get("a2a-relay-sender")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "key.pem")


def stamp_of(request: IncomingRequest) -> dict[str, str]:
    found: dict[str, str] = request.meta["stamp"]
    return found


def with_stamp(request: IncomingRequest, stamp: object) -> IncomingRequest:
    return request._replace(meta={**request.meta, "stamp": stamp})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"params": b'{"message":{"parts":[{"text":"\xc3\xa9"}]}}'},
        {"params": b"[" + b"1," * 100_000 + b"1]"},
        {"method": "SendStreamingMessage"},
        {"method": "tasks/get", "rest": REST, "params": b"{}"},
    ],
)
async def test_a_call_goes_on_with_the_statement_about_its_sender(world: World, fields: dict[str, Any]) -> None:
    gate = world.gate(is_required=True)
    request = world.call(**fields)
    admitted = await gate.admit(request)
    assert outgoing(admitted)["a2a-relay-sender"] == stamp_of(request)["assertion"]
    assert admitted.meta["sender"] == {
        "identity": "ann",
        "role": "sender",
        "tenant": "acme",
        "via": [],
        "key": "k_1",
    }
    assert "stamp" not in admitted.meta


def changed_params(_: World, request: IncomingRequest) -> IncomingRequest:
    return request._replace(params=request.params + b" ")


def another_method(_: World, request: IncomingRequest) -> IncomingRequest:
    return request._replace(method="CancelTask")


def another_frame(_: World, request: IncomingRequest) -> IncomingRequest:
    return request._replace(id=request.id + "0")


def another_place(_: World, request: IncomingRequest) -> IncomingRequest:
    return request._replace(rest=REST)


def the_mac_of_another_call(world: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, stamp_of(request) | {"mac": stamp_of(world.call())["mac"]})


def the_assertion_of_another_sender(world: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, stamp_of(request) | {"assertion": stamp_of(world.call(MALLORY))["assertion"]})


def the_stamp_of_another_agent(world: World, request: IncomingRequest) -> IncomingRequest:
    world.attach("other")
    return with_stamp(request, stamp_of(world.call(agent="other")))


def a_call_of_another_agents_session(world: World, request: IncomingRequest) -> IncomingRequest:
    world.attach("other")
    return world.call(agent="other")


def the_stamp_of_a_session_that_the_gate_never_saw(world: World, request: IncomingRequest) -> IncomingRequest:
    world.attach()
    return world.call()


def an_old_assertion(world: World, request: IncomingRequest) -> IncomingRequest:
    world.clock.advance(361)
    return request


def an_assertion_from_a_time_ahead(world: World, request: IncomingRequest) -> IncomingRequest:
    now = world.clock.now()
    world.clock.now = lambda: now - 61  # type: ignore[method-assign]
    return request


def signed_by_another(world: World, request: IncomingRequest) -> IncomingRequest:
    claims = {"iss": "x", "sub": "ann", "aud": "acme/zaf", "iat": 0, "exp": world.clock.now() + 300, "jti": "j"}
    other = StampSigner(Path(f"{world.signer._path}.other"))
    return with_stamp(request, {"assertion": other.sign(stamps.SENDER_TYPE, claims), "mac": "0" * 64})


def nothing(_: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, None)


def a_stamp_that_is_none(_: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, [1])


def no_mac(_: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, {"assertion": stamp_of(request)["assertion"]})


def a_mac_that_is_no_text(_: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, {"assertion": stamp_of(request)["assertion"], "mac": 7})


def a_mac_beyond_ascii(_: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request, {"assertion": stamp_of(request)["assertion"], "mac": "\u0660" * 64})


def what_only_the_gate_may_say(_: World, request: IncomingRequest) -> IncomingRequest:
    return with_stamp(request._replace(meta={**request.meta, "checked_sender": "a.b.c"}), None)


FORGERIES = [
    changed_params,
    another_method,
    another_frame,
    another_place,
    the_mac_of_another_call,
    the_assertion_of_another_sender,
    the_stamp_of_another_agent,
    a_call_of_another_agents_session,
    the_stamp_of_a_session_that_the_gate_never_saw,
    an_old_assertion,
    an_assertion_from_a_time_ahead,
    signed_by_another,
    nothing,
    a_stamp_that_is_none,
    no_mac,
    a_mac_that_is_no_text,
    a_mac_beyond_ascii,
    what_only_the_gate_may_say,
]


@pytest.mark.parametrize("forge", FORGERIES)
async def test_what_cannot_be_checked_reaches_no_agent(
    world: World, forge: Callable[[World, IncomingRequest], IncomingRequest]
) -> None:
    gate = world.gate()
    good = world.call()
    assert await world.header(gate, good)
    forged = forge(world, good)
    with capture_logs() as logs:
        admitted = await gate.admit(forged)
    assert "a2a-relay-sender" not in outgoing(admitted)
    assert "sender" not in admitted.meta
    assert [line["event"] for line in logs] == ["sender_not_checked"]


@pytest.mark.parametrize("forge", FORGERIES)
async def test_where_senders_are_required_the_call_is_refused(
    world: World, forge: Callable[[World, IncomingRequest], IncomingRequest]
) -> None:
    gate = world.gate(is_required=True)
    with pytest.raises(CallFailed) as caught:
        await gate.call(forge(world, world.call()), Output())
    assert b"PERMISSION_DENIED" in caught.value.error
    assert world.agent.calls == []


async def test_calls_of_the_link_before_are_still_let_in(world: World) -> None:
    gate = world.gate(is_required=True)
    early = world.call()
    gate.attach(world.attach())
    assert await world.header(gate, early)
    assert await world.header(gate, world.call())


async def test_what_is_wrong_is_told_once_a_minute(world: World) -> None:
    gate = world.gate()
    with capture_logs() as logs:
        for _ in range(5):
            await gate.admit(nothing(world, world.call()))
        world.clock.advance(61)
        await gate.admit(nothing(world, world.call()))
    assert len(logs) == 2


class TestALetter:
    def letter(self, world: World, **changed: Any) -> IncomingRequest:
        """A letter's delivery, made as the relay makes it."""
        request = world.call()
        now = int(world.clock.now())
        claims = {
            "iss": "https://relay.example",
            "sub": "ann",
            "aud": "acme/zaf",
            "role": "sender",
            "tenant": "acme",
            "via": [],
            "iat": now,
            "exp": now + 300,
            "jti": "j",
            "cnf": {"session": "e-1"},
            "letter": "rly-1",
            "accepted_at": now - 86400,
            "delivered_at": now,
            "frame": request.id,
            "method": request.method,
            "params_sha256": stamps.params_digest(request.params),
        }
        signed = world.signer.sign(stamps.LETTER_TYPE, claims | changed)
        return request._replace(meta={**request.meta, "letter": "rly-1", "stamp": {"assertion": signed}})

    async def test_has_a_statement_of_its_own(self, world: World) -> None:
        gate = world.gate(is_required=True)
        request = self.letter(world)
        assert await world.header(gate, request) == stamp_of(request)["assertion"]

    @pytest.mark.parametrize(
        "changed",
        [
            {"letter": "rly-2"},
            {"frame": "e-1.99"},
            {"method": "CancelTask"},
            {"params_sha256": stamps.params_digest(b"{}")},
            {"cnf": {"session": "e-2"}},
            {"cnf": "e-1"},
            {"aud": "acme/other"},
        ],
    )
    async def test_that_speaks_of_another_is_refused(self, world: World, changed: dict[str, Any]) -> None:
        gate = world.gate(is_required=True)
        with pytest.raises(CallFailed):
            await gate.admit(self.letter(world, **changed))

    async def test_is_not_let_in_with_the_stamp_of_a_call(self, world: World) -> None:
        gate = world.gate(is_required=True)
        request = world.call()
        with pytest.raises(CallFailed):
            await gate.admit(request._replace(meta={**request.meta, "letter": "rly-1"}))


class TestWhereNothingIsChecked:
    async def test_the_relays_word_goes_on_and_nothing_signed(self, world: World) -> None:
        gate = world.gate(checks=False)
        assert await world.header(gate, world.call()) == "ann"

    async def test_a_name_is_never_taken_for_a_statement(self, world: World) -> None:
        gate = world.gate(checks=False)
        assert await world.header(gate, world.call(Principal("acme", Role.SENDER, "eyJh.eyJz.c2ln"))) is None
        assert await world.header(gate, world.call(Principal("acme", Role.SENDER, "ann@example.com"))) is not None

    async def test_so_it_is_with_a_relay_that_vouches_for_nobody(self, world: World) -> None:
        gate = world.gate(world.attach(features="[]"))
        assert await world.header(gate, world.call()) == "ann"

    async def test_but_not_where_senders_are_required(self, world: World) -> None:
        gate = world.gate(world.attach(features="[]"), is_required=True)
        with pytest.raises(CallFailed):
            await gate.admit(world.call())


class TestTheOwnersLastWord:
    @pytest.mark.parametrize("checks", [True, False])
    async def test_lets_in_whom_it_names_and_nobody_else(self, world: World, checks: bool) -> None:
        gate = world.gate(checks=checks, allowed=["ann", "bob"])
        await gate.call(world.call(), Output())
        with pytest.raises(CallFailed) as caught:
            await gate.call(world.call(MALLORY), Output())
        assert json.loads(caught.value.error)["code"] == -32056
        assert len(world.agent.calls) == 1

    async def test_holds_for_a_sender_who_cannot_be_checked(self, world: World) -> None:
        gate = world.gate(allowed=["ann"])
        with pytest.raises(CallFailed):
            await gate.admit(nothing(world, world.call()))


def test_senders_are_checked_by_default_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Mapping[str, Any]] = []

    def make() -> Any:
        made.append({})
        return made[-1]

    assert keys_for(None, make) is not None
    assert keys_for(VerifySenders.OFF, make) is None
    monkeypatch.setattr("a2a_relay.connector.senders.is_available", lambda: False)
    assert keys_for(None, make) is None
    assert len(made) == 1
