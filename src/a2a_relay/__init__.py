"""a2a-relay: a public A2A address for agents that only dial out."""

__version__ = "0.1.0"
