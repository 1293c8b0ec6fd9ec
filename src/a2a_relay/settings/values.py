"""What a setting's value may look like, and how it is read from text or TOML."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

KIB = 1024
MIB = 1024 * KIB
MAX_WAIT_SECONDS = 60
"""No call is held longer than this before it is queued."""


class Kind(StrEnum):
    """What a value looks like, as the docs name it."""

    TEXT = "text"
    PATH = "path"
    URL = "URL"
    INTEGER = "number"
    SECONDS = "duration"
    BYTES = "size"
    CHOICE = "choice"
    SAMPLE = "choice or N"
    NETWORKS = "list of addresses"
    TENANTS = "list of tenants"
    ORIGINS = "list of origins"
    ADDRESS = "tenant/agent"
    STREAM_RULES = "list of rules"
    MAILBOX_RULES = "list of mailbox rules"
    LIMITS = "list of limits"


class Setting(NamedTuple):
    """One row of the table. `name` is its attribute and its key in the file; flag and environment derive from it."""

    name: str
    kind: Kind
    default: Any
    help: str
    group: str
    env: tuple[str, ...]
    in_help: bool
    secret: bool
    choices: tuple[str, ...]
    minimum: float
    maximum: float
    default_text: str

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return "--" + self.name.replace("_", "-")


def read(setting: Setting, raw: Any) -> Any:
    """The value of a setting from text, or from what TOML holds. Raises ValueError that says what it must be."""
    return _READERS[setting.kind](raw.strip() if isinstance(raw, str) else raw, setting)


def _text(raw: Any, setting: Setting) -> str:
    if isinstance(raw, list) and setting.name == "push_targets":
        raw = ",".join(str(item) for item in raw)
    if not isinstance(raw, str) or not raw or not raw.isprintable():
        raise ValueError("one line of text")
    return raw


def _path(raw: Any, _: Setting) -> Path:
    if isinstance(raw, Path):
        return raw
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise ValueError("a path")
    return Path(raw).expanduser()


def _url(raw: Any, _: Setting) -> str:
    what = "a URL such as https://relay.example.com"
    try:
        parts = urlsplit(raw if isinstance(raw, str) else "")
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(what) from error
    if not is_whole or not str(raw).isprintable() or " " in str(raw):
        raise ValueError(what)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a URL without credentials, query or fragment")
    return str(raw).rstrip("/")


def _in_range(value: float, setting: Setting, what: str) -> None:
    if not setting.minimum <= value <= setting.maximum:
        limit = f"at least {setting.minimum:g}" if value < setting.minimum else f"at most {setting.maximum:g}"
        raise ValueError(f"{what}, {limit}")


def _integer(raw: Any, setting: Setting) -> int:
    if isinstance(raw, bool) or not re.fullmatch(r"[0-9]{1,15}", str(raw), re.ASCII):
        raise ValueError("a whole number")
    _in_range(int(raw), setting, "a whole number")
    return int(raw)


_UNIT_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT_BYTES = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB, "kb": 1000, "mb": 10**6, "gb": 10**9}


def seconds(raw: Any) -> float:
    """A duration: a number of seconds, or text such as `250ms`, `30s`, `10m`, `12h`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d|)", str(raw), re.ASCII)
    if found is None or isinstance(raw, bool):
        raise ValueError("a duration such as 30s or 10m")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


def _duration(raw: Any, setting: Setting) -> float:
    _in_range(seconds(raw), setting, "a duration such as 30s or 10m")
    return seconds(raw)


def _size(raw: Any, setting: Setting) -> int:
    found = re.fullmatch(r"([0-9]{1,15}) ?([kmg]?i?b|)", str(raw).lower(), re.ASCII)
    if found is None or isinstance(raw, bool) or found[2] not in _UNIT_BYTES:
        raise ValueError("a size such as 65536, 64KiB or 4MiB")
    _in_range(int(found[1]) * _UNIT_BYTES[found[2]], setting, "a size in bytes")
    return int(found[1]) * _UNIT_BYTES[found[2]]


def _choice(raw: Any, setting: Setting) -> str:
    if raw not in setting.choices:
        raise ValueError(" or ".join(setting.choices))
    return str(raw)


def _sample(raw: Any, setting: Setting) -> str:
    if not isinstance(raw, bool) and re.fullmatch(r"[1-9][0-9]{0,8}", str(raw), re.ASCII):
        return str(raw)
    if raw not in setting.choices:
        raise ValueError(f"{', '.join(setting.choices)} or a number")
    return str(raw)


def _networks(raw: Any, _: Setting) -> tuple[str, ...]:
    items = [item.strip() for item in raw.split(",")] if isinstance(raw, str) else raw
    if raw == "none":
        return ()
    if not isinstance(items, list):
        raise ValueError("a list of IP addresses and CIDR ranges")
    for item in items:
        try:
            ipaddress.ip_network(item if isinstance(item, str) else "", strict=False)
        except ValueError as error:
            raise ValueError("a list of IP addresses and CIDR ranges") from error
    return tuple(items)


def _tenants(raw: Any, _: Setting) -> tuple[str, ...]:
    items = [item.strip() for item in raw.split(",")] if isinstance(raw, str) else raw
    name = re.compile(r"[A-Za-z0-9._~-]{1,128}|\*", re.ASCII)
    if not isinstance(items, list) or not all(isinstance(item, str) and name.fullmatch(item) for item in items):
        raise ValueError("a list of tenants, or * for all")
    return tuple(items)


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s,]+|null|\*", re.ASCII)


def _origins(raw: Any, _: Setting) -> tuple[str, ...]:
    items = [item.strip() for item in raw.split(",")] if isinstance(raw, str) else raw
    if not isinstance(items, list) or not all(isinstance(item, str) and _ORIGIN.fullmatch(item) for item in items):
        raise ValueError("origins such as https://app.example.com, or *")
    return tuple(items)


def _address(raw: Any, _: Setting) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}/[A-Za-z0-9._~-]{1,128}", raw, re.ASCII):
        raise ValueError("tenant/agent")
    return raw


class StreamRule(NamedTuple):
    """What holds for the streams of one agent, or of all (`*`); None: what holds otherwise. Durations in seconds."""

    tenant: str
    agent: str
    idle: float | None = None
    total: float | None = None
    window: str | None = None


class MailboxRule(NamedTuple):
    """What holds for the letters of one agent, or of all (`*`); None: what holds otherwise. Durations in seconds."""

    tenant: str
    agent: str
    offline: str | None = None
    ttl: float | None = None
    letters: int | None = None
    bytes: int | None = None
    attempts: int | None = None
    wait: float | None = None
    contexts: int | None = None


class LimitValue(NamedTuple):
    """A limit by its name; whether there is one of this name, the relay says."""

    name: str
    value: float


class _RuleForm(NamedTuple):
    """What rules of one kind are made of: a setting for each word, as if it stood alone; and an example."""

    make: Callable[..., Any]
    words: Mapping[str, Setting]
    example: str


def _word(kind: Kind, *, minimum: float = 0, maximum: float = math.inf, choices: tuple[str, ...] = ()) -> Setting:
    return Setting("", kind, None, "", "", (), False, False, choices, minimum, maximum, "")


_COUNT = _word(Kind.INTEGER, minimum=1)
_STREAM_FORM = _RuleForm(
    StreamRule,
    {
        "idle": _word(Kind.SECONDS, minimum=0.1),
        "total": _word(Kind.SECONDS),
        "window": _word(Kind.CHOICE, choices=("memory", "durable")),
    },
    "acme/echo idle=30s total=10m window=durable",
)
_MAILBOX_FORM = _RuleForm(
    MailboxRule,
    {
        "offline": _word(Kind.CHOICE, choices=("queue", "reject")),
        "ttl": _word(Kind.SECONDS, minimum=1),
        "letters": _COUNT,
        "bytes": _word(Kind.BYTES, minimum=KIB),
        "attempts": _COUNT,
        "wait": _word(Kind.SECONDS, maximum=MAX_WAIT_SECONDS),
        "contexts": _COUNT,
    },
    "acme/echo ttl=1h letters=10 offline=queue",
)


def _rules(raw: Any, form: _RuleForm) -> tuple[Any, ...]:
    items = raw.split(",") if isinstance(raw, str) else raw
    try:
        if isinstance(items, list):
            return tuple(_rule(item, form) for item in items)
    except ValueError as error:
        raise ValueError(f"rules such as {form.example}") from error
    raise ValueError(f"rules such as {form.example}")


def _rule(raw: Any, form: _RuleForm) -> Any:
    """One rule: `tenant/agent name=value ...`; a name that is given twice counts as it stands last."""
    address, *words = raw.split() if isinstance(raw, str) and raw.split() else [""]
    found = re.fullmatch(r"([A-Za-z0-9._~-]{1,128}|\*)/([A-Za-z0-9._~-]{1,128}|\*)", address, re.ASCII)
    pairs = [word.partition("=") for word in words]
    if found is None or not pairs or any(name not in form.words for name, _, _ in pairs):
        raise ValueError
    return form.make(found[1], found[2], **{name: read(form.words[name], text) for name, _, text in pairs})


def _limits(raw: Any, _: Setting) -> tuple[LimitValue, ...]:
    """`name=value ...`, separated by blanks or commas; a value may be a size, such as 64MiB."""
    items = raw.replace(",", " ").split() if isinstance(raw, str) else raw
    what = "limits such as calls_per_second=50 calls_burst=100"
    if not isinstance(items, list):
        raise ValueError(what)
    return tuple(_limit(item, what) for item in items)


def _limit(raw: Any, what: str) -> LimitValue:
    found = re.fullmatch(
        r"([a-z_]{1,64})=(?:([0-9]{1,15}\.[0-9]{1,6})|([0-9]{1,15}) ?([kmg]?i?b|))", str(raw).lower(), re.ASCII
    )
    if found is None or (found[3] and found[4] not in _UNIT_BYTES):
        raise ValueError(what)
    return LimitValue(found[1], float(found[2]) if found[2] else int(found[3]) * _UNIT_BYTES[found[4]])


def rule_text(rule: StreamRule | MailboxRule | LimitValue) -> str:
    """A rule, or a limit, as it may be written."""
    if isinstance(rule, LimitValue):
        return f"{rule.name}={rule.value:.15g}"
    words = [f"{name}={value}" for name, value in rule._asdict().items() if value is not None]
    return " ".join((f"{rule.tenant}/{rule.agent}", *words[2:]))


_READERS: dict[Kind, Callable[[Any, Setting], Any]] = {
    Kind.TEXT: _text,
    Kind.PATH: _path,
    Kind.URL: _url,
    Kind.INTEGER: _integer,
    Kind.SECONDS: _duration,
    Kind.BYTES: _size,
    Kind.CHOICE: _choice,
    Kind.SAMPLE: _sample,
    Kind.NETWORKS: _networks,
    Kind.TENANTS: _tenants,
    Kind.ORIGINS: _origins,
    Kind.ADDRESS: _address,
    Kind.STREAM_RULES: lambda raw, _: _rules(raw, _STREAM_FORM),
    Kind.LIMITS: _limits,
    Kind.MAILBOX_RULES: lambda raw, _: _rules(raw, _MAILBOX_FORM),
}
