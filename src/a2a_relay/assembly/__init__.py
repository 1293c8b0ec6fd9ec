"""The composition root: settings become a running relay. The only module that knows every room."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from a2a_relay.admin.administration import Administration
from a2a_relay.admin.api import AdminApi
from a2a_relay.assembly.rules import (
    read_default_limits,
    read_limits,
    read_link_rules,
    read_mail_policy,
    read_stream_policy,
)
from a2a_relay.assembly.stores import AdministrationStores, Stores, failpoint, open_stores
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
from a2a_relay.core.networks import read_networks
from a2a_relay.core.push_targets import ANY, PUBLIC, PushTargets
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
from a2a_relay.ports.authenticator import Authenticator
from a2a_relay.ports.credentials import CredentialStore
from a2a_relay.settings import Settings, require_certificate, resolve_secret, tls_context, write_profile
from a2a_relay.stores.memory.stream_log import MemoryStreamLog
from a2a_relay.telemetry import logs
from a2a_relay.telemetry.audit_duties import AuditDuties


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
