"""The end of credentials on open links: a warning, a renewal, or the close; and proofs of possession."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from a2a_relay.core.address import Address
from a2a_relay.core.audit import AuditFact
from a2a_relay.core.credential import Credential
from a2a_relay.core.keys import KeyRecord
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import TenantRecord
from a2a_relay.errors import Reason, Refused
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.stores.memory.credentials import MemoryCredentials
from a2a_relay.testing import FakeClock, Playbook, RecordingObserver, make_node
from a2a_relay.testing.playbook import BASE_URL
from a2a_relay.wire.proof import Challenge, write_signature

FACT = AuditFact("acme", "store", "keys.create")
WELCOME = '<< {"type":"auth_ok", ...}'
SIGNER = Ed25519PrivateKey.generate()


class Table:
    """An authenticator that has its principals in a table."""

    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}
        self.rechecked: Principal | None = None

    def authenticate(self, credential: Credential, now: float) -> Principal:
        if credential.text not in self.principals:
            raise Refused(Reason.UNAUTHENTICATED, "invalid token")
        return self.principals[credential.text]

    def recheck(self, principal: Principal, now: float) -> Principal:
        return self.rechecked or principal


@dataclass
class Relay:
    """A node whose agents come with whatever a test has put on the table."""

    rules: LinkRules = field(default_factory=LinkRules)
    clock: FakeClock = field(default_factory=FakeClock)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    table: Table = field(default_factory=Table)

    def __post_init__(self) -> None:
        audit = MemoryAudit(self.clock.now)
        self.credentials = MemoryCredentials(audit)
        self.node = make_node(
            clock=self.clock,
            observer=self.observer,
            link_rules=self.rules,
            credentials=self.credentials,
            audit=audit,
            authenticator=self.table,
        )

    def put(self, text: str, *, ends_in: float | None = None, agent: str = "zaf", **more: object) -> None:
        """A credential of the agent, which ends in so many seconds."""
        ends_at = None if ends_in is None else self.clock.now() + ends_in
        fields = {"role": Role.AGENT, "identity": f"agent:{agent}", "attaches_as": agent, "expires_at": ends_at, **more}
        self.table.principals[text] = Principal("acme", **fields)  # type: ignore[arg-type]

    def put_key(self, id: str, *, ends_in: float | None = None, proof_key: bytes | None = None) -> None:
        """What is known of a key."""
        ends_at = None if ends_in is None else self.clock.now() + ends_in
        record = KeyRecord(id, "acme", id, Role.AGENT, 0, (), agent="zaf", expires_at=ends_at, proof_key=proof_key)
        asyncio.run(self.credentials.put_key(record, FACT))

    def comes(self, token: str, features: str = "renew", protocol: str = "a2a-relay/1") -> Playbook:
        link = Playbook(self.node, self.clock)
        link.play(f'>> {{"type":"auth","token":"{token}","protocol":"{protocol}","features":["{features}"]}}')
        return link

    def attached(self, token: str, **how: str) -> Playbook:
        link = self.comes(token, **how)
        link.play(WELCOME)
        return link


@pytest.fixture
def relay() -> Relay:
    return Relay()


class TestAToken:
    def test_ends_its_link_after_a_warning_where_its_agent_can_renew_it(self, relay: Relay) -> None:
        relay.put("old", ends_in=3600)
        relay.attached("old").play("""
            ++ 3539
            << nothing
            ++ 1
            << {"type":"token.expiring","payload":{"expires_at":"2023-11-14T23:13:20.000Z"}}
            ++ 59
            << nothing
            ++ 1
            xx 4002
        """)
        assert [code.code for _, code in relay.observer.closed if code is not None] == [4002]

    def test_that_is_short_is_warned_of_at_once(self, relay: Relay) -> None:
        relay.put("old", ends_in=20)
        relay.attached("old").play("""
            ++ 0
            << {"type":"token.expiring", ...}
            ++ 20
            xx 4002
        """)

    def test_taken_after_its_end_by_the_leeway_for_clocks_is_good_for_that_long(self, relay: Relay) -> None:
        relay.put("old", ends_in=-10)
        relay.attached("old").play("""
            ++ 0
            << {"type":"token.expiring", ...}
            ++ 49
            << nothing
            ++ 1
            xx 4002
        """)

    @pytest.mark.parametrize("how", [{"protocol": "relay-go"}, {"features": "credit"}], ids=str)
    def test_outlives_its_end_on_a_link_that_cannot_renew_it(self, relay: Relay, how: dict[str, str]) -> None:
        relay.put("old", ends_in=60)
        link = relay.attached("old", **how)
        link.play("++ 86400\n<< nothing")
        assert not link.transport.is_closed
        assert relay.clock.pending == 0

    def test_ends_every_link_where_the_relay_is_strict(self) -> None:
        relay = Relay(LinkRules(is_expiry_strict=True))
        relay.put("old", ends_in=60)
        relay.attached("old", protocol="relay-go").play("""
            ++ 59
            << nothing
            ++ 1
            xx 4002
        """)

    def test_that_a_key_has_signed_does_not_outlive_that_key(self, relay: Relay) -> None:
        relay.put("old", ends_in=60, key="k1", issuer="k1")
        relay.put_key("k1", ends_in=300)
        relay.attached("old", protocol="openclaw").play("++ 299\n<< nothing\n++ 1\nxx 4002")

    def test_of_a_link_that_has_gone_leaves_no_timer(self, relay: Relay) -> None:
        relay.put("old", ends_in=60)
        relay.attached("old").play("xx")
        assert relay.clock.pending == 0

    def test_is_no_sooner_over_because_the_clock_was_put_back(self, relay: Relay) -> None:
        relay.put("old", ends_in=100)
        link = relay.attached("old")
        relay.clock.jump(-1000)
        link.play("""
            ++ 1039
            << nothing
            ++ 1
            << {"type":"token.expiring", ...}
            ++ 60
            xx 4002
        """)


def test_a_key_ends_every_link_that_it_has_opened(relay: Relay) -> None:
    relay.put("rly_agent_1", ends_in=100, key="k1")
    relay.attached("rly_agent_1", protocol="relay-go").play("++ 99\n<< nothing\n++ 1\nxx 4002")


async def test_a_key_whose_end_is_changed_ends_its_link_at_the_new_one(relay: Relay) -> None:
    relay.put("rly_agent_1", ends_in=100, key="k1")
    link = relay.attached("rly_agent_1", protocol="relay-go")
    relay.table.rechecked = replace(relay.table.principals["rly_agent_1"], expires_at=relay.clock.now() + 200)
    await relay.credentials.put_tenant(TenantRecord("acme", 0), FACT)
    link.play("++ 199\n<< nothing\n++ 1\nxx 4002")


class TestARenewal:
    RENEW = '>> {"type":"token.renew","payload":{"token":"new"}}'
    REFUSED = '<< {"type":"token.refused","payload":{"reason":"%s", ...}}'

    def test_lets_the_link_live_as_long_as_the_new_token(self, relay: Relay) -> None:
        relay.put("old", ends_in=100)
        relay.put("new", ends_in=1000)
        link = relay.attached("old")
        link.play(f"""
            ++ 10
            {self.RENEW}
            << {{"type":"token.renewed","payload":{{"expires_at":"2023-11-14T22:30:00.000Z"}}}}
            ++ 900
            << nothing
            ++ 30
            << {{"type":"token.expiring", ...}}
        """)
        session = relay.node.find_session(Address("acme", "zaf"))
        assert session is not None
        assert session.principal is relay.table.principals["new"]

    def test_by_a_key_without_an_end_ends_the_waiting(self, relay: Relay) -> None:
        relay.put("old", ends_in=100)
        relay.put("new", key="k1")
        relay.attached("old").play(f"""
            {self.RENEW}
            << {{"type":"token.renewed","payload":{{"expires_at":null}}}}
            ++ 86400
            << nothing
        """)

    @pytest.mark.parametrize(
        "other",
        [{"agent": "ann"}, {"role": Role.ADMIN}, {"attaches_as": None}, {"role": Role.SENDER}],
        ids=str,
    )
    def test_for_somebody_else_is_refused_and_the_link_goes_on(self, relay: Relay, other: dict[str, object]) -> None:
        relay.put("old", ends_in=100)
        relay.put("new", **{"ends_in": 1000, **other})  # type: ignore[arg-type]
        link = relay.attached("old")
        link.play(self.RENEW)
        assert link.transport.take()["type"] == "token.refused"
        link.play('++ 40\n<< {"type":"token.expiring", ...}\n++ 60\nxx 4002')

    def test_by_a_token_that_is_none_is_refused(self, relay: Relay) -> None:
        relay.put("old", ends_in=100)
        relay.attached("old").play(f"{self.RENEW}\n{self.REFUSED % Reason.UNAUTHENTICATED}")
        assert relay.observer.refused_frame_reasons == ["UNAUTHENTICATED"]

    def test_by_the_secret_that_all_share_is_refused_where_a_key_was_shown(self, relay: Relay) -> None:
        relay.put("old", ends_in=100, key="k1")
        relay.put("new", ends_in=1000)
        relay.attached("old").play(f"{self.RENEW}\n{self.REFUSED % Reason.PERMISSION_DENIED}")

    def test_by_a_key_that_asks_for_a_proof_is_refused(self, relay: Relay) -> None:
        relay.put("old", ends_in=100, key="k0")
        relay.put("new", ends_in=1000, key="k1")
        relay.put_key("k0")
        relay.put_key("k1", proof_key=bytes(32))
        relay.attached("old").play(f"{self.RENEW}\n{self.REFUSED % Reason.PERMISSION_DENIED}")

    def test_is_taken_once_a_second_at_most(self, relay: Relay) -> None:
        relay.put("old", ends_in=100)
        relay.put("new", ends_in=1000)
        relay.attached("old").play(f"""
            {self.RENEW}
            << {{"type":"token.renewed", ...}}
            {self.RENEW}
            {self.REFUSED % Reason.RATE_LIMITED}
            ++ 1
            {self.RENEW}
            << {{"type":"token.renewed", ...}}
        """)

    def test_means_nothing_in_other_dialects(self, relay: Relay) -> None:
        relay.put("old", ends_in=100)
        relay.attached("old", protocol="relay-go").play(f"{self.RENEW}\n<< nothing")
        assert relay.observer.refused_frame_reasons == ["unknown_type"]


class TestAProof:
    @pytest.fixture(autouse=True)
    def key(self, relay: Relay) -> None:
        relay.put("rly_agent_1", key="k1")
        relay.put_key("k1", proof_key=SIGNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @staticmethod
    def challenge(link: Playbook) -> Challenge:
        frame = link.transport.take()
        assert frame["type"] == "auth.challenge"
        return Challenge(**frame["payload"])

    @staticmethod
    def prove(link: Playbook, challenge: Challenge, signer: Ed25519PrivateKey = SIGNER) -> None:
        signature = write_signature(signer.sign(challenge.statement))
        link.play(f'>> {{"type":"auth.proof","payload":{{"signature":"{signature}"}}}}')

    def test_of_the_private_key_lets_the_agent_attach(self, relay: Relay) -> None:
        link = relay.comes("rly_agent_1", features="proof")
        asked = self.challenge(link)
        assert asked[1:] == (BASE_URL, "e", "acme", "zaf")
        assert relay.node.snapshot().agents_attached == 0
        self.prove(link, asked)
        link.play(WELCOME)

    @pytest.mark.parametrize("changed", list(Challenge._fields))
    def test_over_anything_else_is_refused(self, relay: Relay, changed: str) -> None:
        link = relay.comes("rly_agent_1", features="proof")
        self.prove(link, self.challenge(link)._replace(**{changed: "other"}))
        link.play('<< {"type":"error","message":"the proof of possession does not fit"}\nxx 4001')

    def test_of_another_link_is_refused(self, relay: Relay) -> None:
        first, second = (relay.comes("rly_agent_1", features="proof") for _ in range(2))
        self.prove(second, self.challenge(first))
        self.challenge(second)
        second.play('<< {"type":"error", ...}\nxx 4001')

    def test_by_another_key_is_refused(self, relay: Relay) -> None:
        link = relay.comes("rly_agent_1", features="proof")
        self.prove(link, self.challenge(link), Ed25519PrivateKey.generate())
        link.play('<< {"type":"error", ...}\nxx 4001')

    @pytest.mark.parametrize("signature", ["", "AAAA", "%%%", "\\ud800"])
    def test_that_is_no_signature_is_refused(self, relay: Relay, signature: str) -> None:
        link = relay.comes("rly_agent_1", features="proof")
        self.challenge(link)
        link.play(f'>> {{"type":"auth.proof","payload":{{"signature":"{signature}"}}}}')
        relay.clock.advance(30)
        assert link.transport.is_closed
        assert relay.node.snapshot().agents_attached == 0

    def test_that_does_not_come_in_time_is_given_up(self, relay: Relay) -> None:
        link = relay.comes("rly_agent_1", features="proof")
        self.challenge(link)
        link.play('++ 30\n<< {"type":"error","message":"auth timeout"}\nxx 4003')

    @pytest.mark.parametrize(
        "how", [{"protocol": "relay-go"}, {"protocol": "openclaw"}, {"features": "renew"}], ids=str
    )
    def test_is_not_asked_of_an_agent_that_cannot_give_one(self, relay: Relay, how: dict[str, str]) -> None:
        link = relay.comes("rly_agent_1", **how)
        assert "needs a proof of possession" in str(link.transport.take())
        link.play("xx 4001")

    def test_counts_for_nothing_when_the_key_was_revoked_meanwhile(self, relay: Relay) -> None:
        link = relay.comes("rly_agent_1", features="proof")
        asked = self.challenge(link)
        del relay.table.principals["rly_agent_1"]
        self.prove(link, asked)
        link.play('<< {"type":"error","message":"invalid token"}\nxx 4001')
