"""Where a call goes: to a live session, or nowhere with a reason.

Precedence: the live session of this node, then a refusal that says what is known
of the agent. What can be queued is, before anybody asks here (`node.mail`). Other nodes and peer relays join here as
further verdicts.
"""

from __future__ import annotations

from a2a_relay.core.call import Call
from a2a_relay.core.session import Session
from a2a_relay.errors import Reason, Refused

Verdict = Session | Refused
"""Hand the call to this session, or do not take it."""

OFFLINE_RETRY_AFTER_SECONDS = 5


def route(call: Call, session: Session | None, *, is_known: bool) -> Verdict:
    """Decide on one call. `session` is the agent's live one; `is_known` whether the tenant has such an agent."""
    if session is None and not is_known:
        return Refused(Reason.AGENT_NOT_FOUND)
    if session is None or not session.is_ready:
        return away(session)
    if call.rest is not None and not session.serves_rest_v03:
        return Refused(Reason.BINDING_NOT_SERVED, "the agent does not serve HTTP+JSON 0.3")
    return session


def away(session: Session | None) -> Refused:
    """Why a call cannot be made at an agent that is away, and is not queued either."""
    message = None if session is None else f"the agent is paused: {session.paused_because or 'no reason given'}"
    return Refused(Reason.AGENT_OFFLINE, message, retry_after_seconds=OFFLINE_RETRY_AFTER_SECONDS)
