"""A real node with time in hand."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_relay.auth.shared_secret import SharedSecret
from a2a_relay.core.limits import Limits
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.mail_rules import MailPolicy
from a2a_relay.core.rates import Subject
from a2a_relay.core.stream_rules import StreamPolicy
from a2a_relay.node.relay_node import Ports, RelayNode
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.authenticator import Authenticator
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.ports.directory import Directory
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.ports.observer import Observer
from a2a_relay.ports.signer import Signer
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.stores.memory.directory import MemoryDirectory
from a2a_relay.stores.memory.stream_log import MemoryStreamLog
from a2a_relay.stores.memory.task_index import MemoryTaskIndex
from a2a_relay.testing.clock import FakeClock
from a2a_relay.testing.observer import RecordingObserver

TEST_SECRET = "a secret that only tests know, 64 bytes long, as HS512 needs it."  # noqa: S105  guards nothing


def make_node(
    *,
    clock: Clock | None = None,
    observer: Observer | None = None,
    directory: Directory | None = None,
    limits: Limits | None = None,
    epoch: str = "e",
    durable_log: StreamLog | None = None,
    policy: StreamPolicy | None = None,
    mailbox: Mailbox | None = None,
    mail_policy: MailPolicy | None = None,
    link_rules: LinkRules | None = None,
    credentials: CredentialStore | None = None,
    audit: AuditLog | None = None,
    authenticator: Authenticator | None = None,
    signer: Signer | None = None,
    default_limits: Mapping[Subject, Mapping[str, float]] | None = None,
) -> RelayNode:
    """A node on fakes of time and chance alone; its sessions are `e-1`, `e-2`, their calls `e-1.1`, ...

    Without arguments it has a `FakeClock`, a `RecordingObserver` and a directory in memory.
    """
    ports = Ports(
        clock=clock or FakeClock(),
        directory=directory or MemoryDirectory(),
        authenticator=authenticator or SharedSecret(TEST_SECRET),
        observer=observer or RecordingObserver(),
        stream_logs=(MemoryStreamLog(), durable_log),
        random=lambda: 0.5,
        task_index=MemoryTaskIndex(),
        mailbox=mailbox,
        credentials=credentials,
        signer=signer,
        audit=audit,
    )
    return RelayNode(ports, limits or Limits(), epoch, policy, mail_policy, link_rules, default_limits)
