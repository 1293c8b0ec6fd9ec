"""The relay's settings: one table, which feeds the command line, the environment, the file and the docs."""

from a2a_relay.settings.profile import LOCAL_TENANT, Profile, read_profile, write_profile
from a2a_relay.settings.secret import (
    read_secret,
    require_certificate,
    resolve_secret,
    secret_file,
    tls_context,
    write_private,
)
from a2a_relay.settings.sources import load, load_only
from a2a_relay.settings.table import BY_NAME, SETTINGS, Settings, is_loopback
from a2a_relay.settings.values import Kind, Setting, rule_text, seconds

__all__ = [
    "BY_NAME",
    "LOCAL_TENANT",
    "SETTINGS",
    "Kind",
    "Profile",
    "Setting",
    "Settings",
    "is_loopback",
    "load",
    "load_only",
    "read_profile",
    "read_secret",
    "require_certificate",
    "resolve_secret",
    "rule_text",
    "seconds",
    "secret_file",
    "tls_context",
    "write_private",
    "write_profile",
]
