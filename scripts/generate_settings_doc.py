"""Write docs/settings.md from the one table of settings; with --check only say whether it is up to date."""

import argparse
import sys
from itertools import groupby
from pathlib import Path

from a2a_relay.settings import SETTINGS, Kind, Setting

TARGET = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """\
<!-- Written by scripts/generate_settings_doc.py from the table in src/a2a_relay/settings/table.py. -->
# Settings

Each setting can be given in four ways; the first of them that speaks counts:

1. a flag of `relay serve`: `--request-timeout 10m`
2. the environment: `RELAY_REQUEST_TIMEOUT=10m`. An empty variable counts as not set.
3. a TOML file: `request_timeout = "10m"`. It is named by `--config` or `RELAY_CONFIG`; otherwise `relay.toml` in the
   data directory is read if it is there. Sections such as `[limits]` only group the keys. Paths are relative to the
   file. An unknown key is refused.
4. the default.

`relay config` shows every setting with its value and where it came from; secrets are masked.

Durations are numbers of seconds or `250ms`, `30s`, `10m`, `12h`, `1d`. Sizes are numbers of bytes or `64KiB`, `4MiB`.
Lists are separated by commas, or TOML lists. A secret on the command line can be seen by everybody on the machine:
use the environment or a file.

```toml
public_url = "https://relay.example.com"
trusted_proxies = ["10.0.0.0/8"]
jwt_secret_file = "jwt_secret"

[limits]
max_body = "8MiB"
unary_in_flight = 512
```
"""

TITLES = {
    "relay": "The relay",
    "secrets": "Secrets",
    "network": "Network",
    "logs": "Logs",
    "limits": "Limits",
    "quotas": "Quotas",
    "times": "Times",
    "letters": "Letters",
}

TAIL = """
## The secret

Tokens are signed with one shared secret of at least 32 bytes, for example from `openssl rand -hex 32`. A relay that
listens on loopback and has none makes one on its first start and keeps it as `jwt_secret` in the data directory
(mode 0600). Beyond loopback it does not start without one.

## The local profile

A relay on loopback writes `profile.json` into its data directory (mode 0600): its URL, the tenant `local`, and where
its secret is. `relay connect`, `relay send`, `relay agents`, `relay doctor` and `relay token` find everything they need
there when the same user runs them on the same machine.
"""


def default_of(setting: Setting) -> str:
    """Show a default as a person would write it."""
    if setting.default_text:
        return f"*{setting.default_text}*" if " " in setting.default_text else f"`{setting.default_text}`"
    if setting.default in (None, "", ()):
        return ""
    if setting.kind is Kind.SECONDS:
        days = setting.default / 86400
        return f"`{days:g}d`" if days >= 1 else f"`{setting.default:g}s`"
    if setting.kind is Kind.BYTES:
        mib, kib = setting.default / 2**20, setting.default / 2**10
        return f"`{mib:g}MiB`" if mib >= 1 else f"`{kib:g}KiB`"
    return f"`{setting.default}`"


def row(setting: Setting) -> str:
    """Write one line of a table."""
    kind = ", ".join(f"`{choice}`" for choice in setting.choices) or setting.kind
    if setting.kind is Kind.SAMPLE:
        kind += ", or a number"
    variables = "<br>".join(f"`{variable}`" for variable in setting.env)
    return f"| `{setting.name}` | {kind} | {default_of(setting)} | {variables} | {setting.help} |\n"


def document() -> str:
    """Write the whole page."""
    text = HEAD
    for group, settings in groupby(SETTINGS, key=lambda setting: setting.group):
        text += f"\n## {TITLES[group]}\n\n| setting | value | default | environment | |\n|---|---|---|---|---|\n"
        text += "".join(row(setting) for setting in settings)
    return text + TAIL


def main() -> int:
    """Write or check the page; the exit code is 1 when it is out of date."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true")
    if not options.parse_args().check:
        TARGET.write_text(document(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != document():
        print(f"{TARGET} is out of date: run scripts/generate_settings_doc.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
