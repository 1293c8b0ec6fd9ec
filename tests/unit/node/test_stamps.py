"""Who calls, as a relay vouches for it in the frames of its agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2a_relay.auth.stamp_signer import StampSigner
from a2a_relay.core.principal import Principal, Role
from a2a_relay.node import stamps as node_stamps
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    MemoryTransport,
    Playbook,
    RecordingObserver,
    RecordingSink,
    make_call,
    make_node,
    make_token,
)
from a2a_relay.wire import stamps

ANN = Principal("acme", Role.SENDER, "ann", key="k_1")
BOB = Principal("acme", Role.SENDER, "bob", issuer="https://issuer.example")


class World:
    """A node that signs, and agents that attach to it."""

    def __init__(self, path: Path) -> None:
        self.clock, self.observer = FakeClock(), RecordingObserver()
        self.signed: list[dict[str, Any]] = []
        self.signer = StampSigner(path)
        self.node: RelayNode = make_node(clock=self.clock, observer=self.observer, signer=self)
        self.welcome: dict[str, Any] = {}

    @property
    def key_set(self) -> bytes:
        return self.signer.key_set

    def sign(self, type: str, claims: Any) -> str:
        self.signed.append(dict(claims))
        return self.signer.sign(type, claims)

    def attach(self, features: str = '["stamp"]', agent: str = "zaf", protocol: str = "a2a-relay/1") -> MemoryTransport:
        claims = {"tenant": "acme", "agent_id": agent, "role": "agent", "exp": self.clock.now() + 3600}
        transport = MemoryTransport("192.0.2.1:40000")
        link = Playbook(self.node, self.clock, transport=transport, token=make_token(TEST_SECRET, claims))
        link.play(f'>> {{"type":"auth","token":"$token","protocol":"{protocol}","features":{features}}}')
        self.welcome = transport.take()
        return transport

    def call(self, transport: MemoryTransport, principal: Principal = ANN, **fields: Any) -> dict[str, Any]:
        """The payload of a call's frame."""
        self.node.submit(make_call(principal=principal, **fields), RecordingSink())
        payload: dict[str, Any] = transport.take()["payload"]
        return payload


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "key.pem")


def test_a_call_carries_an_assertion_and_a_mac_over_it(world: World) -> None:
    payload = world.call(world.attach())
    (claims,) = world.signed
    key = bytes.fromhex(world.welcome["stamp_key"])
    assert "stamp" in world.welcome["features"]
    expected = stamps.mac(key, claims["jti"], payload["id"], "SendMessage", b'{"message":{}}')
    assert payload["meta"]["stamp"]["mac"] == expected.decode()
    now = int(world.clock.now())
    assert claims == {
        "iss": "https://relay.example",
        "sub": "ann",
        "aud": "acme/zaf",
        "role": "sender",
        "tenant": "acme",
        "key": "k_1",
        "via": [],
        "iat": now,
        "exp": now + 300,
        "jti": claims["jti"],
        "cnf": {"session": "e-1"},
    }


def test_an_assertion_is_signed_once_for_a_sender_and_a_session(world: World) -> None:
    first, second = world.attach(), world.attach(agent="zoe")
    zoe = make_call(principal=ANN).address._replace(agent="zoe")
    for _ in range(3):
        world.call(first, ANN)
        world.call(first, BOB)
        world.call(second, ANN, address=zoe)
    assert [(claims["sub"], claims["aud"]) for claims in world.signed] == [
        ("ann", "acme/zaf"),
        ("bob", "acme/zaf"),
        ("ann", "acme/zoe"),
    ]
    assert world.signed[1]["issuer"] == "https://issuer.example"


def test_an_assertion_is_renewed_before_it_is_over(world: World) -> None:
    transport = world.attach()
    for seconds in (0, 239, 1, 100):
        world.clock.advance(seconds)
        world.call(transport)
        assert world.signed[-1]["exp"] > world.clock.now() + 60
    assert len(world.signed) == 2


def test_two_principals_never_share_an_assertion_however_alike(world: World) -> None:
    """A principal is taken for the same only while it is the same object, whose place no other can have."""
    transport = world.attach()
    for number in range(50):
        world.call(transport, Principal("acme", Role.SENDER, f"s{number}"))
    assert [claims["sub"] for claims in world.signed] == [f"s{number}" for number in range(50)]


def test_assertions_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_stamps, "MAX_ASSERTIONS", 3)
    transport, principals = world.attach(), [Principal("acme", Role.SENDER, f"s{number}") for number in range(6)]
    for principal in principals:
        world.call(transport, principal)
    assert world.node.stamps is not None
    assert len(world.node.stamps.assertions) == 3


@pytest.mark.parametrize("features,protocol", [("[]", "a2a-relay/1"), ('["stamp"]', "relay-go")])
def test_an_agent_that_does_not_ask_gets_none_and_costs_nothing(world: World, features: str, protocol: str) -> None:
    payload = world.call(world.attach(features, protocol=protocol))
    assert "stamp_key" not in world.welcome
    assert "stamp" not in payload.get("meta", {})
    assert world.signed == []


def test_each_session_has_a_key_of_its_own(world: World) -> None:
    keys = set()
    for _ in range(3):
        world.attach()
        keys.add(world.welcome["stamp_key"])
    assert len(keys) == 3


def test_a_relay_that_cannot_sign_says_so_and_serves_its_agents(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("no key")
    world = World(path)
    transport = world.attach()
    assert "stamp" not in world.welcome["features"]
    assert "stamp" not in world.call(transport)["meta"]
    assert [event for event, _ in world.observer.notices] == ["stamps_unavailable"]
