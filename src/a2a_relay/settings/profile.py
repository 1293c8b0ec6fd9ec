"""The local profile: what a relay on loopback leaves in its data directory for commands on the same machine.

`profile.json`, readable by its owner alone: `{"relay": URL, "tenant": "local", "secret_file": path or null}`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from a2a_relay.errors import SettingsError
from a2a_relay.settings.secret import secret_file, write_private
from a2a_relay.settings.table import Settings

FILE_NAME = "profile.json"
LOCAL_TENANT = "local"
"""The tenant of agents and calls for which nobody has named another."""


class Profile(NamedTuple):
    """Where the local relay is, and the file of the secret that signs its tokens (None: it is not in a file)."""

    relay: str
    tenant: str
    secret_file: Path | None


def write_profile(settings: Settings, base_url: str) -> Path | None:
    """Leave the profile of a relay that listens at `base_url`; beyond loopback there is none. Raises SettingsError."""
    if not settings.is_loopback:
        return None
    file = secret_file(settings)
    document = {"relay": base_url, "tenant": LOCAL_TENANT, "secret_file": str(file) if file else None}
    path = settings.data_dir / FILE_NAME
    write_private(path, json.dumps(document, indent=2) + "\n")
    return path


def read_profile(data_dir: Path) -> Profile | None:
    """The profile in a data directory, if there is one. Raises SettingsError when it cannot be read."""
    path = data_dir / FILE_NAME
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        file = document["secret_file"]
        return Profile(str(document["relay"]), str(document["tenant"]), Path(file) if file else None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"the local profile {path} cannot be read ({error}): remove it and restart the relay"
        ) from error
