"""Calls that no agent can be handed now: waited with, queued, delivered later, and answered for meanwhile."""
