"""For tests of this package and of what others build on it: real parts with time and network in hand.

`FakeClock` keeps time still, `MemoryTransport` carries a link in memory, the
recorders keep what they are told, `Playbook` writes a link's dialogue as text.
Nothing in the package imports this room.
"""

from __future__ import annotations

from a2a_relay.testing.calls import make_address, make_call, make_principal
from a2a_relay.testing.clock import FakeClock
from a2a_relay.testing.nodes import TEST_SECRET, make_node
from a2a_relay.testing.observer import RecordingObserver
from a2a_relay.testing.playbook import Playbook, UnexpectedFrame
from a2a_relay.testing.sink import RecordingSink
from a2a_relay.testing.tokens import make_token, make_unsigned_token
from a2a_relay.testing.transport import MemoryTransport

__all__ = [
    "TEST_SECRET",
    "FakeClock",
    "MemoryTransport",
    "Playbook",
    "RecordingObserver",
    "RecordingSink",
    "UnexpectedFrame",
    "make_address",
    "make_call",
    "make_node",
    "make_principal",
    "make_token",
    "make_unsigned_token",
]
