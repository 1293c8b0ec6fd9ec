"""A real node with time in hand, and agents that attach to it in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from a2a_relay.core.address import Address
from a2a_relay.core.limits import Limits
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.testing import (
    TEST_SECRET,
    FakeClock,
    MemoryTransport,
    Playbook,
    RecordingObserver,
    make_node,
    make_token,
)


@dataclass
class Relay:
    """One node, and what a test needs around it."""

    limits: Limits = field(default_factory=Limits)
    clock: FakeClock = field(default_factory=FakeClock)
    observer: RecordingObserver = field(default_factory=RecordingObserver)

    def __post_init__(self) -> None:
        self.node: RelayNode = make_node(clock=self.clock, observer=self.observer, limits=self.limits)

    def token(self, agent: str = "zaf", tenant: str = "acme", role: str = "agent", **claims: object) -> str:
        """A good token for an hour."""
        full = {"tenant": tenant, "agent_id": agent, "role": role, "exp": self.clock.now() + 3600, **claims}
        return make_token(TEST_SECRET, full)

    def link(self, agent: str = "zaf", tenant: str = "acme", *, peer: str = "192.0.2.1:40000") -> Playbook:
        """A link that has not authenticated yet; `$token` is a good token."""
        transport = MemoryTransport(peer)
        return Playbook(self.node, self.clock, transport=transport, token=self.token(agent, tenant))

    def attached(self, agent: str = "zaf", tenant: str = "acme", more: str = "") -> Playbook:
        """An agent of the native dialect that has been welcomed; `more` goes into its auth frame."""
        link = self.link(agent, tenant)
        link.play(f"""
            >> {{"type":"auth","token":"$token","protocol":"a2a-relay/1"{more}}}
            << {{"type":"auth_ok", ...}}
        """)
        return link

    def attached_old(self, agent: str = "zaf") -> Playbook:
        """An agent of relay-go's dialect that has been welcomed."""
        link = self.link(agent)
        link.play("""
            >> {"type":"auth","token":"$token"}
            << {"type":"auth_ok", ...}
        """)
        return link

    def card(self, agent: str = "zaf") -> bytes | None:
        """The card that the directory has."""
        view = self.node.agents.find(Address("acme", agent))
        assert view is not None
        return view.record.agent_card


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def relay_with() -> Callable[..., Relay]:
    def make(**limits: object) -> Relay:
        return Relay(limits=Limits(**limits))  # type: ignore[arg-type]

    return make
