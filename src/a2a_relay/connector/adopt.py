"""Two lines in an agent on the official SDK, and its tasks have the ids that the relay has promised (decision 3).

    adopt.announce(card)
    handler = DefaultRequestHandler(..., request_context_builder=adopt.context_builder())

A letter has a task id before its agent wakes. An agent without these lines works as well: the relay keeps its own id
as an alias of the agent's. With them there is one id, also where the relay is not asked. The suggestion counts where a
message names no task, or no context, of its own; it comes in headers, which are as true as `A2A-Relay-Sender` is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from a2a_relay.a2a.agent_card import ADOPTS_IDS, RELAY_EXTENSION
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.service_headers import CONTEXT_ID_HEADER, TASK_ID_HEADER

if TYPE_CHECKING:
    from a2a.server.agent_execution import RequestContext, RequestContextBuilder
    from a2a.server.context import ServerCallContext
    from a2a.types import AgentCard, SendMessageRequest, Task

_TASK_ID = re.compile(r"rly-[A-Za-z0-9_-]{1,64}", re.ASCII)
_CONTEXT_ID = re.compile(r"[!-~]{1,256}")


def announce(card: AgentCard) -> None:
    """Say on an agent's card, under the relay's extension, that it takes suggested ids."""
    extensions = card.capabilities.extensions
    extension = next((found for found in extensions if found.uri == RELAY_EXTENSION), None)
    if extension is None:
        extension = extensions.add(uri=RELAY_EXTENSION)
    extension.params.update({ADOPTS_IDS: True})


def context_builder(inner: RequestContextBuilder | None = None) -> RequestContextBuilder:
    """A `request_context_builder` that takes suggested ids, and leaves the rest to `inner` (default: the SDK's own).

    Raises `ConnectorRefused` where the SDK is not installed.
    """
    try:
        from a2a.server.agent_execution import RequestContextBuilder, SimpleRequestContextBuilder
    except ImportError as error:
        raise ConnectorRefused("adopting ids needs the official SDK: pip install 'a2a-sdk>=1.3,<2'") from error

    class _Adopting(RequestContextBuilder):
        def __init__(self, inner: RequestContextBuilder) -> None:
            self._inner = inner

        async def build(
            self,
            context: ServerCallContext,
            params: SendMessageRequest | None = None,
            task_id: str | None = None,
            context_id: str | None = None,
            task: Task | None = None,
        ) -> RequestContext:
            if params is not None and not (task_id or params.message.task_id):
                _suggest(params.message, context.state.get("headers"), has_context=bool(context_id))
            return await self._inner.build(context, params, task_id, context_id, task)

    return _Adopting(inner if inner is not None else SimpleRequestContextBuilder())


def _suggest(message: Any, headers: object, *, has_context: bool) -> None:
    """Write the suggested ids into a message that begins a task."""
    if not isinstance(headers, dict):
        return
    message.task_id = _id(_TASK_ID, headers.get(TASK_ID_HEADER))
    if not (has_context or message.context_id):
        message.context_id = _id(_CONTEXT_ID, headers.get(CONTEXT_ID_HEADER))


def _id(form: re.Pattern[str], found: object) -> str:
    return found if isinstance(found, str) and form.fullmatch(found) else ""
