"""Where values come from: a flag, else the environment, else the TOML file, else the table's default."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from a2a_relay.errors import SettingsError
from a2a_relay.settings.table import BY_NAME, SETTINGS, Settings, user_data_dir
from a2a_relay.settings.values import Setting, read

FILE_NAME = "relay.toml"


def load(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings of this start. `flags` by setting name; None means not given. Raises SettingsError."""
    given = _from_environ(environ) | _from_flags(flags)
    path = _file_path(given)
    if path is not None:
        given = _from_file(path, found_by_itself="config" not in given) | given
    _choose_secret(given)
    settings = Settings(**_parse_all(given), origins=_origins(given))
    _require_consistent(settings)
    return replace(settings, warnings=_warnings(settings))


def load_only(names: tuple[str, ...], flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Some settings from flags and environment, whatever the rest may hold. Raises SettingsError."""
    found = _from_environ({key: environ[key] for name in names for key in BY_NAME[name].env if key in environ})
    given = found | _from_flags({name: flags.get(name) for name in names})
    return Settings(**_parse_all(given), origins=_origins(given))


class _Given(NamedTuple):
    """A raw value, where it stands, and which of two sources wins."""

    raw: Any
    origin: str
    rank: int
    beside: Path | None = None


def _from_flags(flags: Mapping[str, Any]) -> dict[str, _Given]:
    return {name: _Given(raw, f"flag {BY_NAME[name].flag}", 3) for name, raw in flags.items() if raw is not None}


def _from_environ(environ: Mapping[str, str]) -> dict[str, _Given]:
    """An empty variable counts as not set: that is how compose files leave things out."""
    given = {
        setting.name: _Given(environ[key], f"env {key}", 2)
        for setting in SETTINGS
        for key in reversed(setting.env)
        if environ.get(key)
    }
    for name in FROM_FILES:
        key = f"RELAY_{name.upper()}_FILE"
        if environ.get(key):
            _add_secret_file(given, name, Path(environ[key]), f"env {key}", 2)
    return given


FROM_FILES = tuple(setting.name for setting in SETTINGS if setting.secret and f"{setting.name}_file" not in BY_NAME)
"""Secrets that may stand in a file of their own, which `<name>_file` names, without a setting for that."""


def _add_secret_file(given: dict[str, _Given], name: str, path: Path, origin: str, rank: int) -> None:
    """A secret's value from the file that holds it, without blanks around it. Raises SettingsError."""
    if name in given:
        raise SettingsError(f"set either {name} or {name}_file, not both ({given[name].origin}, {origin})")
    try:
        text = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{origin}: {path} cannot be read: {error}") from error
    if not text:
        raise SettingsError(f"{origin}: {path} is empty")
    given[name] = _Given(text, origin, rank)


def _file_path(given: Mapping[str, _Given]) -> Path | None:
    if "config" in given:
        path: Path = _parse(BY_NAME["config"], given["config"])
        if not path.is_file():
            raise SettingsError(f"{given['config'].origin}: there is no file {path}")
        return path
    found = given.get("data_dir")
    path = (_parse(BY_NAME["data_dir"], found) if found else user_data_dir()) / FILE_NAME
    return path if path.is_file() else None


def _from_file(path: Path, *, found_by_itself: bool) -> dict[str, _Given]:
    """The file's values; sections only group them. Raises SettingsError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    given: dict[str, _Given] = {}
    pairs = [(key, value) for key, value in document.items() if not isinstance(value, dict)]
    pairs += [pair for section in document.values() if isinstance(section, dict) for pair in section.items()]
    for key, value in pairs:
        if key.removesuffix("_file") in FROM_FILES and key not in BY_NAME:
            _add_secret_file(given, key.removesuffix("_file"), path.parent / str(value), f"file {path}", 1)
            continue
        if key not in BY_NAME or key == "config":
            raise SettingsError(f"{path}: there is no setting {key!r} (`relay config` lists them all)")
        if key == "data_dir" and found_by_itself:
            raise SettingsError(f"{path} was found in the data directory and cannot name another: use --config")
        if key in given:
            raise SettingsError(f"{path}: {key} is set twice")
        given[key] = _Given(value, f"file {path}", 1, path.parent)
    return given


def _choose_secret(given: dict[str, _Given]) -> None:
    """Of the secret and its file the stronger source counts."""
    text, file = given.get("jwt_secret"), given.get("jwt_secret_file")
    if text is None or file is None:
        return
    if text.rank == file.rank:
        raise SettingsError(f"set either jwt_secret or jwt_secret_file, not both ({text.origin}, {file.origin})")
    del given["jwt_secret" if text.rank < file.rank else "jwt_secret_file"]


def _require_consistent(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("tls_cert and tls_key are needed together")
    if (settings.tls_client_certs != "off") is not (settings.tls_client_ca is not None):
        raise SettingsError("tls_client_ca is needed with tls_client_certs = optional or required, and only then")
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise SettingsError("tls_client_ca needs tls_cert and tls_key")
    if settings.max_card > settings.max_first_frame:
        raise SettingsError("max_first_frame must hold a card: it is smaller than max_card")


def _warnings(settings: Settings) -> tuple[str, ...]:
    found = []
    if settings.origin("jwt_secret") == "env JWT_SECRET":
        found.append("the secret comes from JWT_SECRET: please name it RELAY_JWT_SECRET")
    if not settings.is_loopback and settings.tls_cert is None and not settings.trusted_proxies:
        found.append(
            f"listening on {settings.host} without TLS: set tls_cert and tls_key, or trusted_proxies when a proxy"
            " in front has TLS"
        )
    return tuple(found)


def _origins(given: Mapping[str, _Given]) -> dict[str, str]:
    return {name: found.origin for name, found in given.items()}


def _parse_all(given: Mapping[str, _Given]) -> dict[str, Any]:
    return {name: _parse(BY_NAME[name], found) for name, found in given.items()}


def _parse(setting: Setting, given: _Given) -> Any:
    """A path in a file is relative to the file. A secret is never repeated in the complaint."""
    try:
        value = read(setting, given.raw)
    except ValueError as error:
        got = "" if setting.secret else f", not {str(given.raw)[:80]!r}"
        raise SettingsError(f"{setting.name} ({given.origin}) must be {error}{got}") from error
    if given.beside is not None and isinstance(value, Path):
        return given.beside / value
    return value
