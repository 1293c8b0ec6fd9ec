"""The operations of A2A, one row each, with their names in every binding and version.

Source: A2A 1.0.1 section 9.4 and 11.3, A2A 0.3.0 section 7; `a2a.proto`.
The method names of the two versions do not collide, so that the name alone
tells which version a JSON-RPC call speaks.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple


class Operation(StrEnum):
    """What a call asks for, whatever the binding or version calls it."""

    SEND = "send"
    STREAM = "stream"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"
    SUBSCRIBE = "subscribe"
    PUSH_SET = "push_set"
    PUSH_GET = "push_get"
    PUSH_LIST = "push_list"
    PUSH_DELETE = "push_delete"
    EXTENDED_CARD = "extended_card"
    EXTENSION = "extension"
    """A method that A2A does not know; extensions may add such (handed to the agent as it is)."""


class Method(NamedTuple):
    """One operation's names; `v03` is empty where 0.3 has no JSON-RPC name for it."""

    operation: Operation
    v10: str
    v03: str
    streams: bool = False


METHODS = (
    Method(Operation.SEND, "SendMessage", "message/send"),
    Method(Operation.STREAM, "SendStreamingMessage", "message/stream", streams=True),
    Method(Operation.GET, "GetTask", "tasks/get"),
    Method(Operation.LIST, "ListTasks", ""),
    Method(Operation.CANCEL, "CancelTask", "tasks/cancel"),
    Method(Operation.SUBSCRIBE, "SubscribeToTask", "tasks/resubscribe", streams=True),
    Method(Operation.PUSH_SET, "CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set"),
    Method(Operation.PUSH_GET, "GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get"),
    Method(Operation.PUSH_LIST, "ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list"),
    Method(Operation.PUSH_DELETE, "DeleteTaskPushNotificationConfig", "tasks/pushNotificationConfig/delete"),
    Method(Operation.EXTENDED_CARD, "GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"),
)

BY_OPERATION = {method.operation: method for method in METHODS}
BY_NAME = {name: method for method in METHODS for name in (method.v10, method.v03) if name}

# relay-go's name for ListTasks; 0.3 itself has none.
RELAY_GO_LIST = "tasks/list"
BY_NAME[RELAY_GO_LIST] = BY_OPERATION[Operation.LIST]

_BY_FOLDED_NAME = {name.lower(): name for name in BY_NAME}
_NAME = re.compile(r"[A-Za-z0-9_./$-]{1,100}", re.ASCII)


def is_acceptable_name(name: str) -> bool:
    """Whether the relay hands a method of this name on (security rule S12).

    A name that differs from a known one only in case is not: a lenient agent
    might take it for the known method behind the relay's back.
    """
    if name in BY_NAME:
        return True
    return _NAME.fullmatch(name) is not None and name.lower() not in _BY_FOLDED_NAME


def relay_go_name(name: str) -> str:
    """The name under which relay-go sends this method to its agents."""
    method = BY_NAME.get(name)
    if method is None:
        return name
    return method.v03 or RELAY_GO_LIST


def speaks_v10(name: str) -> bool:
    """Whether a JSON-RPC method name belongs to A2A 1.0 (and not to 0.3)."""
    method = BY_NAME.get(name)
    return method is None or name == method.v10
