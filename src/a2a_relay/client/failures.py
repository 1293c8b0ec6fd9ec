"""Why a command that talks to a relay has failed, in words for a person."""

from __future__ import annotations

from enum import StrEnum

from a2a_relay.errors import RelayError


class Speaker(StrEnum):
    """Whose words a failure reports: this command's own, the relay's or the agent's."""

    COMMAND = "command"
    RELAY = "relay"
    AGENT = "agent"


class ClientError(RelayError):
    """The command cannot go on; `reason` is the word a program can test, where the relay or agent gave one."""

    def __init__(self, message: str, reason: str = "", said_by: Speaker = Speaker.COMMAND) -> None:
        super().__init__(f"{message} ({reason})" if reason else message)
        self.message = message
        self.reason = reason
        self.said_by = said_by
