"""Watching the relay: implementations of the observer port."""
