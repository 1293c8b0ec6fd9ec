"""A link's dialogue as text, played against a real node.

    >> {"type": "auth", "token": "$token"}         the agent sends this frame
    << {"type": "auth_ok", "tenant": "acme", ...}  the relay has written this one next
    << nothing                                     ... and no other
    ++ 30                                          seconds pass
    xx 4003                                        the relay has closed the link with this code
    xx                                             the agent hangs up
    # a remark

`...` at the end of an object allows for further members; `$name` is replaced by
what the playbook was given. A frame that is no JSON is sent as it stands.
"""

from __future__ import annotations

import json
from string import Template
from typing import Any

from a2a_relay.node.relay_node import RelayNode
from a2a_relay.testing.clock import FakeClock
from a2a_relay.testing.transport import MemoryTransport
from a2a_relay.wire.dialects import Dialect

_MORE = "..."
BASE_URL = "https://relay.example"


class UnexpectedFrame(AssertionError):
    """The relay did not say what the playbook says it says."""


class Playbook:
    """One agent's link to a node. `names` are what `$name` stands for; `dialect` is what the upgrade has settled."""

    def __init__(
        self,
        node: RelayNode,
        clock: FakeClock,
        *,
        base_url: str = BASE_URL,
        transport: MemoryTransport | None = None,
        dialect: Dialect | None = None,
        **names: str,
    ) -> None:
        self._node = node
        self._clock = clock
        self._names = names
        self.transport = transport or MemoryTransport()
        self.link = node.open_link(self.transport, base_url, dialect)

    def play(self, script: str) -> None:
        """Play every line. Raises UnexpectedFrame with the line that did not come true."""
        for line in script.splitlines():
            text = Template(line.strip()).safe_substitute(self._names)
            if text and not text.startswith("#"):
                self._play_line(text[:2], text[2:].strip())

    def _play_line(self, mark: str, text: str) -> None:
        match mark:
            case ">>":
                self.transport.hear()
                self.link.receive(text.encode())
            case "<<":
                self._expect(text)
            case "++":
                self._clock.advance(float(text))
            case "xx":
                self._expect_close(int(text)) if text else self._node.link_ended(self.link)
            case _:
                raise ValueError(f"a playbook's line begins with >>, <<, ++ or xx: {mark} {text}")

    def _expect(self, text: str) -> None:
        if text == "nothing":
            if self.transport.unread:
                raise UnexpectedFrame(f"expected nothing more, the relay wrote {self.transport.unread[0]!r}")
            return
        if not self.transport.unread:
            raise UnexpectedFrame(f"the relay wrote no further frame; expected {text}")
        frame = self.transport.take()
        if not matches(_read_pattern(text), frame):
            raise UnexpectedFrame(f"expected {text}\nthe relay wrote {json.dumps(frame)}")

    def _expect_close(self, code: int) -> None:
        found = self.transport.close_code
        if found is None or found.code != code:
            raise UnexpectedFrame(f"expected the close code {code}, found {found}")


def matches(pattern: Any, document: Any) -> bool:
    """Whether a document is what a pattern says: equal, but for members beyond a `...`."""
    if isinstance(pattern, dict) and isinstance(document, dict):
        wanted = {name: item for name, item in pattern.items() if name != _MORE}
        if _MORE not in pattern and wanted.keys() != document.keys():
            return False
        return all(name in document and matches(item, document[name]) for name, item in wanted.items())
    if isinstance(pattern, list) and isinstance(document, list):
        return len(pattern) == len(document) and all(map(matches, pattern, document))
    return type(pattern) is type(document) and bool(pattern == document)


def _read_pattern(text: str) -> Any:
    """A pattern's JSON, in which `, ...}` or `{...}` is written for `"...": 0`."""
    return json.loads(text.replace(", ...}", ', "...": 0}').replace("{...}", '{"...": 0}'))
