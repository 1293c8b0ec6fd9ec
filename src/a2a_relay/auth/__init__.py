"""Authenticators: each knows one kind of credential."""
