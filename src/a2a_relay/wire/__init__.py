"""The language of agent links, without I/O: frames, dialects and close codes.

Shared by the relay and the connector. A dialect turns frames into events and
back; which one a link speaks is decided by `dialects.choose`.
"""
