"""The composition root: settings become a running relay. The only module that knows every room."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from a2a_relay.admin.administration import Administration
from a2a_relay.admin.api import AdminApi
from a2a_relay.auth.api_keys import ApiKeys
from a2a_relay.auth.chain import AuthenticatorChain
from a2a_relay.auth.issuers import Issuers
from a2a_relay.auth.jwks_fetch import fetch
from a2a_relay.auth.key_sets import KeySets
from a2a_relay.auth.legacy import LegacyTokens
from a2a_relay.auth.sealing import open_seal
from a2a_relay.auth.shared_secret import SharedSecret
from a2a_relay.auth.signing_keys import SigningKeys
from a2a_relay.auth.stamp_signer import FILE_NAME, StampSigner
from a2a_relay.core.address import Address
from a2a_relay.core.letter import Room
from a2a_relay.core.limits import Limits
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.mail_rules import AgentMailRule, MailPolicy, MailRules
from a2a_relay.core.networks import read_networks
from a2a_relay.core.push_targets import ANY, PUBLIC, PushTargets
from a2a_relay.core.rates import Subject, check_limits
from a2a_relay.core.stream_rules import AgentRule, StreamPolicy, StreamRules
from a2a_relay.errors import SettingsError
from a2a_relay.fronts.http.administering import AdminFront
from a2a_relay.fronts.http.app import RelayApp
from a2a_relay.fronts.http.cors import Cors
from a2a_relay.fronts.http.desk import CallDesk, CallRules, Pace
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.information import Information, InformationRules
from a2a_relay.fronts.http.letters import Letters
from a2a_relay.node.clock import LoopClock
from a2a_relay.node.letter_desk import LetterDesk
from a2a_relay.node.relay_node import Ports, RelayNode
from a2a_relay.ports.audit import AuditLog
from a2a_relay.ports.authenticator import Authenticator
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.ports.directory import Directory
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.ports.stream_log import StreamLog
from a2a_relay.ports.task_index import TaskIndex
from a2a_relay.settings import Settings, require_certificate, resolve_secret, tls_context, write_profile
from a2a_relay.stores.memory.stream_log import MemoryStreamLog
from a2a_relay.telemetry import logs
from a2a_relay.telemetry.audit_duties import AuditDuties
from a2a_relay.wire.flow import Window

Erase = Callable[[str], Awaitable[Mapping[str, int]]]


class Stores(NamedTuple):
    """What one store URL stands for; `close` makes everything durable and lets go.

    `erase` removes what a tenant has left, but for its record, its keys and the audit log, and tells how much of each.
    """

    directory: Directory
    mailbox: Mailbox
    task_index: TaskIndex
    durable_log: StreamLog | None
    credentials: CredentialStore
    audit: AuditLog
    erase: Erase
    close: Callable[[], None]
    watch: Callable[[Callable[[], None]], None]
    """Has a callback called, from whatever thread, when what is in the store is not what its node knows: somebody else
    has written to it (decision 35), or a tenant was erased."""


class AdministrationStores(NamedTuple):
    """What of a store is administered while a relay runs on it, or none does. `close` makes everything durable."""

    credentials: CredentialStore
    audit: AuditLog
    erase: Erase
    close: Callable[[], None]


TASK_OWNERS_KEPT_SECONDS = 30 * 24 * 3600.0
"""How long it is remembered whose a task is that nobody has asked for."""
LEFT_BEHIND_SECONDS = 7 * 24 * 3600.0
"""Durable streams that were opened longer ago than this are not waited for when a relay starts."""


def open_stores(settings: Settings, clock: LoopClock) -> Stores:
    """Open the store of a relay by its URL: `memory:`, `sqlite:///absolute/path` or `sqlite:relative/path`.

    Raises StoreError or SettingsError.
    """
    url = settings.store
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return _open_memory(settings, clock)
    if scheme == "sqlite" and rest.strip("/"):
        path = "/" + rest.lstrip("/") if rest.startswith("/") else rest
        return _open_sqlite(settings, clock, Path(path).absolute())
    raise SettingsError(f"store {url!r}: known are memory: and sqlite:///path")


def _open_memory(settings: Settings, clock: LoopClock) -> Stores:
    from a2a_relay.stores.memory.audit import MemoryAudit
    from a2a_relay.stores.memory.credentials import MemoryCredentials
    from a2a_relay.stores.memory.directory import MemoryDirectory
    from a2a_relay.stores.memory.mailbox import MemoryMailbox
    from a2a_relay.stores.memory.task_index import MemoryTaskIndex

    directory, audit = MemoryDirectory(), MemoryAudit(clock.now)
    mailbox, task_index = MemoryMailbox(clock.now), MemoryTaskIndex(settings.tracked_tasks)
    watchers: list[Callable[[], None]] = []

    async def erase(tenant: str) -> Mapping[str, int]:
        found = {"agents": directory.erase(tenant), "task_owners": task_index.erase(tenant)}
        counts = {**mailbox.erase(tenant), **found}
        for watcher in watchers:
            with suppress(RuntimeError):  # there is no loop that could be told
                watcher()
        return counts

    return Stores(
        directory,
        mailbox,
        task_index,
        None,
        MemoryCredentials(audit),
        audit,
        erase,
        directory.close,
        watchers.append,
    )


def _open_sqlite(settings: Settings, clock: LoopClock, path: Path) -> Stores:
    from a2a_relay.stores.sqlite.audit import SqliteAudit
    from a2a_relay.stores.sqlite.credentials import SqliteCredentials
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.directory import SqliteDirectory
    from a2a_relay.stores.sqlite.erasure import erase
    from a2a_relay.stores.sqlite.mailbox import SqliteMailbox
    from a2a_relay.stores.sqlite.stream_log import SqliteStreamLog
    from a2a_relay.stores.sqlite.task_index import SqliteTaskIndex

    database = Database(path, on_trouble=_tell_store_trouble, reach=failpoint(os.environ))
    log = SqliteStreamLog(database, clock.call_soon, clock.call_later)
    log.purge(clock.now() - LEFT_BEHIND_SECONDS)
    task_index = SqliteTaskIndex(
        database, clock.now, clock.call_later, settings.tracked_tasks, TASK_OWNERS_KEPT_SECONDS
    )
    task_index.purge()

    credentials = SqliteCredentials(database, clock.now, clock.call_soon, clock.call_later)
    audit = SqliteAudit(database, clock.now)

    async def erase_tenant(tenant: str) -> Mapping[str, int]:
        task_index.erase(tenant)
        counts = await erase(database, tenant)
        task_index.erase(tenant)  # what was asked for meanwhile
        return counts

    def close() -> None:
        task_index.flush()
        credentials.close()
        audit.flush()
        log.close()
        database.close()

    return Stores(
        SqliteDirectory(database),
        SqliteMailbox(database, clock.now),
        task_index,
        log,
        credentials,
        audit,
        erase_tenant,
        close,
        database.watch,
    )


def open_administration(settings: Settings) -> AdministrationStores:
    """Open a store beside the relay that may be running on it. Raises SettingsError for `memory:`, or StoreError."""
    from a2a_relay.stores.sqlite.audit import SqliteAudit
    from a2a_relay.stores.sqlite.credentials import SqliteCredentials
    from a2a_relay.stores.sqlite.database import Database
    from a2a_relay.stores.sqlite.erasure import erase

    if settings.store_file is None:
        raise SettingsError(f"store {settings.store!r}: only an sqlite store can be administered by itself")
    clock = LoopClock()
    database = Database(settings.store_file, on_trouble=_tell_store_trouble, is_guest=True)
    credentials = SqliteCredentials(database, clock.now, clock.call_soon, clock.call_later)
    audit = SqliteAudit(database, clock.now)

    def close() -> None:
        credentials.close()
        audit.flush()
        database.close()

    return AdministrationStores(credentials, audit, partial(erase, database), close)


def _tell_store_trouble(message: str) -> None:
    structlog.get_logger("a2a_relay").error("store_trouble", message=message)


def read_limits(settings: Settings) -> Limits:
    """The limits that settings ask for."""
    return Limits(
        max_body=settings.max_body,
        older_dialect_max_frame=settings.older_dialect_max_frame,
        max_first_frame=settings.max_first_frame,
        max_card=settings.max_card,
        card_updates_per_minute=settings.card_updates_per_minute,
        unary_in_flight=settings.unary_in_flight,
        streams_in_flight=settings.streams_in_flight,
        agents_per_tenant=settings.agents_per_tenant,
        stream_buffer_events=settings.stream_buffer_events,
        stream_buffer_bytes=settings.stream_buffer_bytes,
        link_backlog_bytes=settings.link_backlog_bytes,
        bodies_in_flight_bytes=settings.bodies_in_flight_bytes,
        login_failures=settings.login_failures,
        exempt_addresses=settings.exempt_addresses,
        unauthenticated_per_address=settings.unauthenticated_per_address,
        auth_timeout_seconds=settings.auth_timeout,
        request_timeout_seconds=settings.request_timeout,
        stream_window=Window(settings.stream_window_events, settings.stream_window_bytes),
        replay_events=settings.replay_events,
        replay_bytes=settings.replay_bytes,
        replay_total_bytes=settings.replay_total_bytes,
        replay_seconds=settings.replay_time,
        detach_grace_seconds=settings.detach_grace,
        resume_grace_seconds=settings.resume_grace,
        session_limit_seconds=settings.session_limit,
        session_grace_seconds=settings.leave_grace,
        letter_time_seconds=settings.letter_time,
        result_ttl_seconds=settings.result_ttl,
        dead_ttl_seconds=settings.dead_ttl,
        late_answer_seconds=settings.late_answer,
        idempotency_time_seconds=settings.idempotency_time,
        keyed_answers=settings.keyed_answers,
        keyed_answers_bytes=settings.keyed_answers_bytes,
        tracked_tasks=settings.tracked_tasks,
        receipt_feeds=settings.receipt_feeds,
        receipt_buffer=settings.receipt_buffer,
    )


def read_link_rules(settings: Settings) -> LinkRules:
    """What settings say of the links of all agents."""
    return LinkRules(
        refuses_second_session=settings.on_second_session == "refuse",
        takeover_hold_seconds=settings.takeover_hold,
        is_expiry_strict=settings.link_expiry == "strict",
    )


def read_default_limits(settings: Settings) -> dict[Subject, dict[str, float]]:
    """What settings say each tenant, key and agent may do. Raises SettingsError for limits that there are not."""
    given = {
        Subject.TENANT: settings.tenant_limits,
        Subject.KEY: settings.key_limits,
        Subject.AGENT: settings.agent_limits,
    }
    try:
        return {subject: check_limits(values, subject) for subject, values in given.items()}
    except ValueError as error:
        raise SettingsError(str(error)) from error


def read_stream_policy(settings: Settings) -> StreamPolicy:
    """What settings say of the streams of all agents, and of single ones."""
    rules = tuple(
        AgentRule(
            rule.tenant, rule.agent, rule.idle, rule.total, None if rule.window is None else rule.window == "durable"
        )
        for rule in settings.stream_rules
    )
    return StreamPolicy(StreamRules(settings.stream_idle, settings.stream_total), settings.stream_window, rules)


def read_mail_policy(settings: Settings) -> MailPolicy:
    """What settings say of the letters of all agents, and of single ones."""
    defaults = MailRules(
        offline_queues=settings.offline == "queue",
        room=Room(settings.mailbox_letters, settings.mailbox_bytes),
        ttl_seconds=settings.letter_ttl,
        attempts=settings.letter_attempts,
        contexts=settings.letter_contexts,
        sync_wait_seconds=settings.sync_wait,
    )
    return MailPolicy(
        defaults,
        tuple(
            AgentMailRule(
                rule.tenant,
                rule.agent,
                offline_queues=None if rule.offline is None else rule.offline == "queue",
                letters=rule.letters,
                bytes=rule.bytes,
                ttl_seconds=rule.ttl,
                attempts=rule.attempts,
                contexts=rule.contexts,
                sync_wait_seconds=rule.wait,
            )
            for rule in settings.mailbox_rules
        ),
    )


def build_authenticator(settings: Settings, credentials: CredentialStore, secret: str) -> AuthenticatorChain:
    """Whatever a relay takes for a credential; `secret` is what relay-go's tokens are signed with."""
    is_open = settings.tenants == "open"
    key_sets = KeySets(
        partial(fetch, allows_loopback=settings.is_loopback), LoopClock.monotonic, partial(_tell_trouble, "issuers")
    )
    return AuthenticatorChain(
        credentials,
        ApiKeys(credentials),
        SigningKeys(
            credentials, open_seal(settings), is_open=is_open, on_trouble=partial(_tell_trouble, "signing_keys")
        ),
        Issuers(credentials, key_sets, is_open=is_open),
        LegacyTokens(credentials, SharedSecret(secret), tenants=settings.legacy_tenants, is_open=is_open),
    )


def _tell_trouble(event: str, message: str) -> None:
    structlog.get_logger("a2a_relay").warning(event, message=message)


def build_signer(settings: Settings) -> StampSigner:
    """What vouches for senders. Raises SettingsError or MissingExtra for a key file that was named and is no good."""
    if settings.signing_key_file is None:
        return StampSigner(settings.data_dir / FILE_NAME)
    signer = StampSigner(settings.signing_key_file)
    _ = signer.key_set
    return signer


def build_node(settings: Settings, stores: Stores, clock: LoopClock, authenticator: Authenticator) -> RelayNode:
    """The node, with its ports."""
    ports = Ports(
        clock=clock,
        directory=stores.directory,
        authenticator=authenticator,
        observer=logs.LogObserver(_access_log(settings)),
        stream_logs=(MemoryStreamLog(), stores.durable_log),
        random=random.random,
        task_index=stores.task_index,
        mailbox=stores.mailbox,
        credentials=stores.credentials,
        audit=stores.audit,
        signer=build_signer(settings),
        reach=failpoint(os.environ),
    )
    node = RelayNode(
        ports,
        read_limits(settings),
        policy=read_stream_policy(settings),
        mail_policy=read_mail_policy(settings),
        link_rules=read_link_rules(settings),
        default_limits=read_default_limits(settings),
    )
    if node.mail is not None:
        stores.watch(partial(clock.call_soon, node.mail.renew))
    return node


def build_app(
    settings: Settings,
    node: RelayNode,
    *,
    on_startup: Callable[[], Awaitable[None]] | None = None,
    on_shutdown: Callable[[], Awaitable[None]],
    bound_url: str = "",
    admin: AdminApi | None = None,
) -> RelayApp:
    """The HTTP front around a node; `bound_url` where it is known that only this machine can reach it."""
    exposure = Exposure(
        settings.public_url,
        settings.trusted_proxies,
        bound_url=bound_url,
        allowed_origins=settings.allowed_origins,
    )
    rules = CallRules(
        pace=Pace(settings.stream_head_wait, settings.sse_heartbeat, settings.unary_keepalive),
        push_targets=PushTargets(_push_rule(settings)),
        body_timeout_seconds=settings.body_timeout,
        legacy_version=settings.legacy_version,
        root_agent=_root_agent(settings),
        relay_elixir=settings.relay_elixir_paths == "on",
    )
    information = Information(
        node,
        exposure,
        InformationRules(
            legacy_version=settings.legacy_version,
            card_max_age=int(settings.card_max_age),
            cards_are_public=_cards_are_public(settings),
            tenants_are_open=settings.tenants == "open",
            root_agent=_root_agent(settings),
        ),
    )
    letters = None
    if node.mail is not None:
        letters = Letters(
            node,
            LetterDesk(node.mail.parts),
            heartbeat_seconds=settings.sse_heartbeat,
            body_timeout_seconds=settings.body_timeout,
        )
    desk = CallDesk(node, exposure, rules, Cors(settings.cors_origins) if settings.cors_origins else None)
    front = None
    if admin is not None:
        front = AdminFront(node, admin.answer, admin.description, body_timeout_seconds=settings.body_timeout)
    return RelayApp(
        node,
        desk,
        information,
        exposure,
        on_startup=on_startup,
        on_shutdown=on_shutdown,
        letters=letters,
        admin=front,
    )


def build_admin(settings: Settings, stores: Stores | AdministrationStores, now: Callable[[], float]) -> AdminApi:
    """The admin API over a store; `now` is wall time in seconds."""
    return AdminApi(
        Administration(
            stores.credentials,
            stores.audit,
            open_seal(settings),
            stores.erase,
            is_open=settings.tenants == "open",
            now=now,
        )
    )


def build_duties(settings: Settings, stores: Stores, clock: LoopClock) -> AuditDuties:
    """What the relay does for its audit log while it runs. Raises SettingsError."""
    return AuditDuties(
        stores.audit,
        clock,
        ship=settings.audit_ship,
        keep_seconds=settings.audit_keep,
        note=settings.data_dir / "audit-shipped",
    )


def create_app(settings: Settings | None = None) -> RelayApp:
    """The whole relay as an ASGI application, for any ASGI server.

    The server's lifespan shutdown makes the relay leave in order. Raises
    SettingsError or StoreError when it cannot start.
    """
    settings = settings or Settings.load()
    require_certificate(settings)
    clock = LoopClock()
    stores = open_stores(settings, clock)
    authenticator = build_authenticator(settings, stores.credentials, resolve_secret(settings))
    node = build_node(settings, stores, clock, authenticator)
    duties = build_duties(settings, stores, clock)

    async def leave() -> None:
        await node.leave(settings.leave_grace)
        await duties.close()
        stores.close()

    async def begin() -> None:
        clock.begin()
        authenticator.load()
        await duties.begin()

    return build_app(
        settings, node, on_startup=begin, on_shutdown=leave, admin=build_admin(settings, stores, clock.now)
    )


def serve(settings: Settings) -> int:
    """Run a relay until it is told to stop; the exit code. Raises SettingsError or StoreError."""
    from a2a_relay.fronts.http.crowding import Crowding
    from a2a_relay.fronts.http.protocol import HttpLimits
    from a2a_relay.fronts.http.server import Lane, RelayServer, bind, server_config

    logs.configure(log_format=settings.log_format, level=settings.log_level)
    secret = resolve_secret(settings)
    context = tls_context(settings)
    listener = bind(settings.host, settings.port)
    clock = LoopClock()
    stores = open_stores(settings, clock)
    base_url = _base_url(settings, listener.getsockname()[1])
    authenticator = build_authenticator(settings, stores.credentials, secret)
    node = build_node(settings, stores, clock, authenticator)

    duties = build_duties(settings, stores, clock)

    async def begin() -> None:
        clock.begin()
        authenticator.load()
        await duties.begin()

    async def close_store() -> None:
        await duties.close()
        stores.close()

    async def leave() -> None:
        await node.leave(settings.leave_grace)

    app = build_app(
        settings,
        node,
        on_startup=begin,
        on_shutdown=close_store,
        admin=build_admin(settings, stores, clock.now),
        bound_url=base_url if settings.is_loopback else "",
    )
    config = server_config(
        app,
        HttpLimits(
            settings.max_header_bytes,
            settings.max_headers,
            settings.max_target,
            settings.header_timeout,
            settings.body_timeout,
        ),
        Lane(app.desk, app.exposure) if settings.lane == "fast" else None,
        crowding=Crowding(
            settings.connections_per_address, read_networks((*settings.exempt_addresses, *settings.trusted_proxies))
        ),
        hsts_seconds=int(settings.hsts) if settings.tls_cert else 0,
        compresses_links=settings.link_compression == "deflate",
        ws_max_size=max(node.limits.max_frame, node.limits.older_dialect_max_frame),
        timeout_keep_alive=int(settings.keep_alive),
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        ssl_context_factory=None if context is None else lambda *_: context,
    )
    _announce(settings, base_url)
    RelayServer(config, leave).run(sockets=[listener])
    return 0


def _announce(settings: Settings, base_url: str) -> None:
    """Say where the relay is and what is weak about it."""
    log = structlog.get_logger("a2a_relay")
    for warning in settings.warnings:
        log.warning("settings", message=warning)
    if settings.is_loopback:
        write_profile(settings, base_url)
    elif not settings.public_url:
        log.warning("settings", message="no public_url is set: cards carry whatever Host a client names")
    if settings.store.startswith("memory:"):
        log.warning("store", message="memory: registered agents are forgotten at exit", durability="memory")
    log.info("serving", url=base_url, store=settings.store, pid=os.getpid())


def failpoint(environ: Mapping[str, str]) -> Callable[[str], None]:
    """What `RELAY_FAILPOINT=name[:n]` asks for: the process kills itself when it passes that point the n-th time."""
    name, _, count = environ.get("RELAY_FAILPOINT", "").partition(":")
    left = int(count or 1)

    def reach(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach if name else _pass_by


def _pass_by(_: str) -> None:
    """No point was named."""


def _base_url(settings: Settings, port: int) -> str:
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"


def _root_agent(settings: Settings) -> Address | None:
    """`tenant/agent` that is served at `/`; None: the caller's only agent is."""
    tenant, _, agent = settings.root_agent.partition("/")
    return Address(tenant, agent) if agent else None


def _cards_are_public(settings: Settings) -> bool:
    """`auto`: anybody may read cards where anybody may be a tenant, and nobody else's where strangers share (S8)."""
    return settings.card_visibility == "public" or (settings.card_visibility == "auto" and settings.tenants == "open")


def _push_rule(settings: Settings) -> str:
    """`auto`: anything goes at home, only public targets where strangers call (decision 27)."""
    if settings.push_targets != "auto":
        return settings.push_targets
    return ANY if settings.is_loopback and settings.tenants == "open" else PUBLIC


def _access_log(settings: Settings) -> str:
    """`auto`: a person at a terminal sees every call, a log file what went wrong (decision 25)."""
    if settings.access_log != "auto":
        return settings.access_log
    return "all" if sys.stderr.isatty() else "failed"
