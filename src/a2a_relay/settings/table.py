"""The one table of settings: each field of `Settings` is a row with its kind, default and help."""
# ruff: noqa: RUF009 - a row is a dataclass field that carries its description

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from a2a_relay.settings.values import KIB, MAX_WAIT_SECONDS, MIB, Kind, LimitValue, MailboxRule, Setting, StreamRule

DAY = 24 * 3600


def _row(
    kind: Kind,
    default: Any,
    help: str,
    group: str,
    *,
    env: tuple[str, ...] = (),
    in_help: bool = False,
    secret: bool = False,
    choices: tuple[str, ...] = (),
    minimum: float = 0,
    maximum: float = math.inf,
    default_text: str = "",
) -> Any:
    row = Setting("", kind, default, help, group, env, in_help, secret, choices, minimum, maximum, default_text)
    if callable(default):
        return field(default_factory=default, metadata={"row": row})
    return field(default=default, repr=not secret, metadata={"row": row})


def _seconds(default: float, help: str, group: str = "times", minimum: float = 0, maximum: float = math.inf) -> Any:
    return _row(Kind.SECONDS, default, help, group, minimum=minimum, maximum=maximum)


def _bytes(default: int, help: str, group: str = "limits", minimum: int = KIB) -> Any:
    return _row(Kind.BYTES, default, help, group, minimum=minimum)


def _count(default: int, help: str, group: str = "limits") -> Any:
    return _row(Kind.INTEGER, default, help, group, minimum=1)


def user_data_dir() -> Path:
    """Where this user's programs keep such data, by the habits of the operating system."""
    return Path(platformdirs.user_data_dir("a2a-relay", appauthor=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set about a relay, and where each value came from.

    Sizes in bytes, durations in seconds. `warnings` are sentences for the person who starts it.
    """

    config: Path | None = _row(
        Kind.PATH, None, "TOML file with settings", "relay", in_help=True, default_text="<data_dir>/relay.toml"
    )
    host: str = _row(Kind.TEXT, "127.0.0.1", "address to listen on", "relay", env=("BIND",), in_help=True)
    port: int = _row(
        Kind.INTEGER, 8080, "port to listen on (0: any free one)", "relay", env=("PORT",), in_help=True, maximum=65535
    )
    data_dir: Path = _row(
        Kind.PATH,
        user_data_dir,
        "directory of the store, the local secret and the local profile",
        "relay",
        in_help=True,
        default_text="the user's data directory",
    )
    store: str = _row(
        Kind.TEXT,
        "",
        "where registered agents are kept: memory: or sqlite:///path",
        "relay",
        in_help=True,
        default_text="sqlite:///<data_dir>/relay.db",
    )
    public_url: str = _row(
        Kind.URL,
        "",
        "the URL under which others reach the relay (else the bound address on loopback, the Host header beyond)",
        "relay",
        in_help=True,
    )
    root_agent: str = _row(Kind.ADDRESS, "", "the agent served at / (else the caller's only agent)", "relay")
    tenants: str = _row(
        Kind.CHOICE,
        "open",
        "who may be a tenant: whoever holds a token (open), or who was created (registered)",
        "relay",
        choices=("open", "registered"),
    )
    on_second_session: str = _row(
        Kind.CHOICE,
        "replace",
        "another instance attaches as an agent whose session is alive: it takes over (replace), or is refused (refuse)",
        "relay",
        choices=("replace", "refuse"),
    )
    link_expiry: str = _row(
        Kind.CHOICE,
        "lenient",
        "links of agents that cannot renew their tokens: they outlive them (lenient), or end with them (strict)",
        "relay",
        choices=("lenient", "strict"),
    )
    card_visibility: str = _row(
        Kind.CHOICE,
        "auto",
        "who may read agent cards: anybody, or who may call the agent (auto: public where tenants are open)",
        "relay",
        choices=("auto", "public", "tenant"),
    )
    legacy_version: str = _row(
        Kind.CHOICE, "1.0", "protocol version of agents whose card names none", "relay", choices=("1.0", "0.3")
    )
    stream_window: str = _row(
        Kind.CHOICE,
        "agent",
        "where events wait for readers that come back: memory, durable (they survive the relay), or agent (durable for"
        " agents whose cards ask for it)",
        "relay",
        choices=("agent", "memory", "durable"),
    )
    stream_rules: tuple[StreamRule, ...] = _row(
        Kind.STREAM_RULES,
        (),
        "streams of single agents: tenant/agent (or *), then idle=, total=, window=memory|durable",
        "relay",
    )
    push_targets: str = _row(
        Kind.TEXT,
        "auto",
        "push notification targets clients may give agents: any, public, a list of hosts, or auto"
        " (any on loopback where tenants are open, else public)",
        "relay",
    )

    jwt_secret: str = _row(
        Kind.TEXT, "", "secret that signs tokens, at least 32 bytes", "secrets", env=("JWT_SECRET",), secret=True
    )
    jwt_secret_file: Path | None = _row(Kind.PATH, None, "file that holds the secret", "secrets", in_help=True)
    legacy_tenants: tuple[str, ...] = _row(
        Kind.TENANTS, ("*",), "tenants for which tokens signed with that secret are taken; * stands for all", "secrets"
    )
    master_key_file: Path | None = _row(
        Kind.PATH,
        None,
        "file with the key under which secrets of signing keys are stored; made when it is first needed",
        "secrets",
        default_text="<data_dir>/master_key",
    )
    signing_key_file: Path | None = _row(
        Kind.PATH,
        None,
        "Ed25519 keys (PEM) that the relay vouches for senders with: the first signs, all are published",
        "secrets",
        default_text="<data_dir>/signing_key.pem, made when it is first needed",
    )

    tls_cert: Path | None = _row(Kind.PATH, None, "certificate chain (PEM)", "network", in_help=True)
    tls_key: Path | None = _row(Kind.PATH, None, "private key of the certificate (PEM)", "network", in_help=True)
    tls_client_certs: str = _row(
        Kind.CHOICE,
        "off",
        "certificates of clients and agents: not asked for, taken if shown, or needed",
        "network",
        choices=("off", "optional", "required"),
    )
    tls_client_ca: Path | None = _row(
        Kind.PATH, None, "who has signed the certificates of clients and agents (PEM)", "network"
    )
    trusted_proxies: tuple[str, ...] = _row(
        Kind.NETWORKS, (), "proxies whose X-Forwarded-* headers count: IP addresses and CIDR ranges", "network"
    )
    cors_origins: tuple[str, ...] = _row(
        Kind.ORIGINS,
        (),
        "origins of web pages that may read answers, such as https://app.example.com, or * (else none)",
        "network",
    )
    allowed_origins: tuple[str, ...] = _row(
        Kind.ORIGINS, (), "origins of web pages that may open agent links (else any: they authenticate)", "network"
    )
    hsts: float = _row(Kind.SECONDS, 0, "Strict-Transport-Security where tls_cert is set (0: not said)", "network")
    exempt_addresses: tuple[str, ...] = _row(
        Kind.NETWORKS,
        ("127.0.0.0/8", "::1/128"),
        "addresses from which neither failed logins nor connections are counted: IP addresses and CIDR ranges, or none",
        "network",
    )

    lane: str = _row(
        Kind.CHOICE,
        "fast",
        "how relayed calls are served; plain is slower and means the same",
        "network",
        choices=("fast", "plain"),
    )
    link_compression: str = _row(
        Kind.CHOICE,
        "off",
        "compression of agent links: deflate costs time and saves bytes, for agents that ask for it",
        "network",
        choices=("off", "deflate"),
    )
    relay_elixir_paths: str = _row(
        Kind.CHOICE,
        "off",
        "relay-elixir's paths beside the relay's own: /ws/agent for agents, /{tenant}/{agent}/ for clients",
        "network",
        choices=("off", "on"),
    )
    access_log: str = _row(
        Kind.SAMPLE,
        "auto",
        "calls to log: failed, all, off, one in N, or auto (all in a terminal, else failed)",
        "logs",
        in_help=True,
        choices=("auto", "failed", "all", "off"),
    )
    log_format: str = _row(
        Kind.CHOICE,
        "auto",
        "form of log lines (auto: console in a terminal)",
        "logs",
        choices=("auto", "console", "json"),
    )
    log_level: str = _row(
        Kind.CHOICE, "info", "least level to log", "logs", choices=("debug", "info", "warning", "error")
    )
    audit_ship: str = _row(
        Kind.TEXT,
        "none",
        "where audit entries go as JSON lines: none, stdout, a file's path, or an https:// URL that takes them by POST",
        "logs",
    )
    audit_keep: float = _seconds(90 * DAY, "how long audit entries are kept", "logs", minimum=60)

    max_body: int = _bytes(4 * MIB, "largest request or answer")
    max_header_bytes: int = _bytes(32 * KIB, "all headers of a request together")
    max_headers: int = _count(100, "headers of a request")
    max_target: int = _bytes(8 * KIB, "longest request target", minimum=256)
    max_first_frame: int = _bytes(128 * KIB, "an agent's first frame")
    max_card: int = _bytes(64 * KIB, "an agent card")
    card_updates_per_minute: int = _count(10, "card updates of one agent in a minute")
    older_dialect_max_frame: int = _bytes(MIB, "frame for agents that do not say what they take")
    unary_in_flight: int = _count(256, "calls in flight per agent")
    streams_in_flight: int = _count(1024, "streams in flight per agent")
    agents_per_tenant: int = _count(100_000, "registered agents per tenant")
    stream_window_events: int = _count(64, "events that an agent may be ahead of a stream's reader")
    stream_window_bytes: int = _bytes(256 * KIB, "bytes that an agent may be ahead of a stream's reader")
    stream_buffer_events: int = _count(1024, "events that wait for a slow reader where the agent cannot")
    stream_buffer_bytes: int = _bytes(4 * MIB, "bytes that wait for a slow reader where the agent cannot")
    replay_events: int = _row(Kind.INTEGER, 1000, "events of a stream kept for a reader that comes back", "limits")
    replay_bytes: int = _bytes(4 * MIB, "bytes of a stream kept for a reader that comes back", minimum=0)
    replay_total_bytes: int = _bytes(256 * MIB, "bytes kept of all streams together (one tenant: half of it)")
    link_backlog_bytes: int = _bytes(16 * MIB, "bytes that wait for one slow agent")
    bodies_in_flight_bytes: int = _bytes(512 * MIB, "request bodies held at once; one tenant may hold half of it")
    connections_per_address: int = _row(
        Kind.INTEGER, 2000, "HTTP connections of one address (IPv6: /64) at a time (0: any number)", "limits"
    )
    login_failures: int = _row(
        Kind.INTEGER,
        20,
        "failed logins of one key or token's names from one address (IPv6: /64) in a minute (0: any number)",
        "limits",
    )
    unauthenticated_per_address: int = _count(200, "links of one address that have not authenticated after 5 s")

    header_timeout: float = _seconds(10, "for the whole head of a request", minimum=0.1)
    body_timeout: float = _seconds(60, "for the next piece of a request's body", minimum=0.1)
    keep_alive: float = _seconds(75, "an idle connection stays open")
    auth_timeout: float = _seconds(30, "for an agent's first frame", minimum=0.1)
    request_timeout: float = _seconds(600, "for an agent's answer", minimum=0.1)
    stream_idle: float = _seconds(600, "for the next event of a stream", minimum=0.1)
    stream_total: float = _seconds(0, "for a whole stream (0: no limit)")
    detach_grace: float = _seconds(30, "an agent goes on with a stream that nobody reads (0: not at all)")
    resume_grace: float = _seconds(30, "the calls of a link that was cut wait for their agent (0: not at all)")
    replay_time: float = _seconds(300, "what was streamed is kept behind a stream's end")
    stream_head_wait: float = _seconds(2, "wait for a stream's first event before its head is sent")
    sse_heartbeat: float = _seconds(3, "silence on a stream before a comment is sent", minimum=0.1)
    unary_keepalive: float = _seconds(3, "silence of a JSON-RPC call before a space is sent (0: never)")
    leave_grace: float = _seconds(20, "calls in flight may still take when the relay leaves")
    card_max_age: float = _seconds(60, "clients may keep a card")
    takeover_hold: float = _seconds(30, "letters are held back after another instance took a live agent over (0: not)")
    session_limit: float = _seconds(0, "longest life of an agent's link before it is asked to reconnect (0: no limit)")

    tenant_limits: tuple[LimitValue, ...] = _row(
        Kind.LIMITS,
        (),
        "what each tenant may do, unless it has limits of its own: calls_per_second=, calls_in_flight=, ...",
        "quotas",
    )
    key_limits: tuple[LimitValue, ...] = _row(
        Kind.LIMITS, (), "the same of each key, and of each party that comes with a token", "quotas"
    )
    agent_limits: tuple[LimitValue, ...] = _row(
        Kind.LIMITS, (), "the same of the calls to each agent: calls_per_second=, calls_burst=", "quotas"
    )

    offline: str = _row(
        Kind.CHOICE,
        "queue",
        "calls to an agent that is away: kept for it as letters (queue), or refused (reject)",
        "letters",
        in_help=True,
        choices=("queue", "reject"),
    )
    mailbox_rules: tuple[MailboxRule, ...] = _row(
        Kind.MAILBOX_RULES,
        (),
        "letters of single agents: tenant/agent (or *), then offline= (queue, reject), ttl=, letters=, bytes=,"
        " attempts=, wait=, contexts=",
        "letters",
    )
    mailbox_letters: int = _count(999, "letters that wait for one agent", "letters")
    mailbox_bytes: int = _bytes(64 * MIB, "bytes of letters that wait for one agent", "letters")
    letter_ttl: float = _seconds(9 * DAY, "a letter waits; a client may ask for less", "letters", minimum=1)
    letter_attempts: int = _count(5, "times that a letter is handed over before it is dead", "letters")
    letter_contexts: int = _count(4, "contexts of one agent whose letters are handed over at a time", "letters")
    letter_time: float = _seconds(DAY, "for an agent's answer to a letter", "letters", minimum=1)
    sync_wait: float = _seconds(
        3, "a call waits for an agent that is away before it is queued (0: not)", "letters", maximum=MAX_WAIT_SECONDS
    )
    result_ttl: float = _seconds(DAY, "the answer to a letter is kept", "letters", minimum=1)
    dead_ttl: float = _seconds(9 * DAY, "a letter that is dead or has expired is kept", "letters", minimum=1)
    late_answer: float = _seconds(3600, "for the answer to a live call that has timed out (0: not kept)", "letters")
    idempotency_time: float = _seconds(DAY, "an Idempotency-Key is remembered", "letters", minimum=1)
    keyed_answers: int = _count(10_000, "answers kept in memory for calls that come again with their key", "letters")
    keyed_answers_bytes: int = _bytes(64 * MIB, "bytes of these answers", "letters")
    tracked_tasks: int = _count(100_000, "tasks of agents whose owners are remembered", "letters")
    receipt_feeds: int = _count(10, "feeds of receipts that one party may read at a time", "letters")
    receipt_buffer: int = _count(1024, "receipts that wait for the reader of a feed", "letters")

    warnings: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.store:
            path = (self.data_dir / "relay.db").absolute().as_posix()
            object.__setattr__(self, "store", f"sqlite:///{path.lstrip('/')}")

    @classmethod
    def default(cls, **overrides: Any) -> Settings:
        """The defaults with some attributes given, for tests and for embedding."""
        return cls(**overrides)

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of this process: see `sources.load`. Raises SettingsError."""
        from a2a_relay.settings.sources import load

        return load(flags or {}, os.environ if environ is None else environ)

    def origin(self, name: str) -> str:
        """Where a setting's value came from: `flag --port`, `env PORT`, `file /x/relay.toml` or `default`."""
        return self.origins.get(name, "default")

    @property
    def store_file(self) -> Path | None:
        """The file of an SQLite store; None for another."""
        scheme, _, rest = self.store.partition(":")
        if scheme != "sqlite" or not rest.strip("/"):
            return None
        return Path("/" + rest.lstrip("/") if rest.startswith("/") else rest).absolute()

    @property
    def is_loopback(self) -> bool:
        """Whether the relay listens to its own machine alone."""
        return is_loopback(self.host)


def _named(name: str, row: Setting) -> Setting:
    return row._replace(name=name, env=(f"RELAY_{name.upper()}", *row.env))


SETTINGS: tuple[Setting, ...] = tuple(
    _named(found.name, found.metadata["row"]) for found in fields(Settings) if "row" in found.metadata
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
