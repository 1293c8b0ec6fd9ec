"""Protocol versions: which shape an answer takes that the relay makes itself.

The relay carries `A2A-Version` and never judges it; only for its own answers
does it have to know which version a client reads. Source: A2A 1.0.1 section 3.6.
"""

from __future__ import annotations

V03 = "0.3"
V10 = "1.0"

VERSION_HEADER = "a2a-version"


def is_v03(version: str | None) -> bool:
    """Whether a protocol version (`0.3`, `0.3.0`) is of the 0.3 line; None and empty are not known and count as no."""
    return version is not None and (version == "0.3" or version.startswith("0.3."))


def major_minor(version: str) -> str:
    """`1.0.1` -> `1.0`; patch parts do not matter on the wire."""
    return ".".join(version.split(".")[:2])
