"""Decisions without I/O: who may do what, where a call goes, what state it is in.

Nothing here reads a clock, draws a random number or waits; `now` and ids come in.
"""
