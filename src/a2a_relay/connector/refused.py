"""How the connector gives up."""

from __future__ import annotations

import traceback

from a2a_relay.errors import RelayError

EXIT_REFUSED = 2
EXIT_REPLACED = 3
_MAX_LINE_CHARS = 300


class ConnectorRefused(RelayError):
    """Retrying as before cannot help. The message is one line for a person; `exit_code` is for the process."""

    def __init__(self, message: str, exit_code: int = EXIT_REFUSED) -> None:
        self.message = one_line(message)
        self.exit_code = exit_code
        super().__init__(self.message)


def place_of(error: BaseException) -> str:
    """Where foreign code has failed, for the log: type, file and line, and nothing of what it worked on."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return one_line(f"{type(error).__name__}{where}")


def one_line(text: str) -> str:
    """Foreign text as one bounded line that no terminal takes for a command."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:_MAX_LINE_CHARS])
    return shown if len(text) <= _MAX_LINE_CHARS else f"{shown}..."
