"""What passes over a link, as values: events are what one side has read, requests what the relay writes.

Bodies (`params`, `result`, `error`, cards) are JSON bytes and stay so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from a2a_relay.errors import Reason

NATIVE_PROTOCOL = "a2a-relay/1"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


CHUNKS = "chunks"
CREDIT = "credit"
RESUME = "resume"
LETTERS = "letters"
STAMP = "stamp"
RENEW = "renew"
PROOF = "proof"


class Claim(NamedTuple):
    """A stream that an agent can go on with: it holds the events `first` to `last`, and perhaps the end."""

    id: str
    first: int
    last: int


class Resume(NamedTuple):
    """What an agent holds of an earlier session whose link was cut: streams, and calls whose answer is still due."""

    session: str = ""
    streams: tuple[Claim, ...] = ()
    calls: tuple[str, ...] = ()


class Resumed(NamedTuple):
    """What becomes of a stream that was claimed: it goes on after `through`, or None: it is gone."""

    id: str
    through: int | None


class Auth(NamedTuple):
    """The first frame of an agent. `dialect` is what it asked for, or empty; `features` what else it can.

    `instance` names the process that attaches, over all of its links; empty where it names none.
    """

    token: str
    agent_card: bytes | None = None
    dialect: str = ""
    adopts_ids: bool = False
    rest_v03: bool = False
    max_frame: int | None = None
    features: frozenset[str] = frozenset()
    resume: Resume = Resume()
    instance: str = ""


class AuthProof(NamedTuple):
    """The answer to a challenge: a signature over its statement."""

    signature: bytes


class TokenRenew(NamedTuple):
    """A new token for the link that is there."""

    token: str


class Response(NamedTuple):
    """The one answer of a call: `result` or `error`.

    `http_status` only for 0.3 REST (decision 1); `headers` are the agent's `a2a-*` answer headers.
    """

    id: str
    result: bytes | None = None
    error: bytes | None = None
    http_status: int | None = None
    headers: Mapping[str, str] = NO_HEADERS


class StreamEvent(NamedTuple):
    """One event of a stream; `seq` counts from 1, or is None where the dialect has none."""

    id: str
    seq: int | None
    result: bytes
    headers: Mapping[str, str] = NO_HEADERS


class StreamEnd(NamedTuple):
    """The end of a stream, with the agent's error if it failed."""

    id: str
    error: bytes | None = None


class Nack(NamedTuple):
    """The agent has not taken this call: nothing was delivered. `retry_after_seconds` is when to try again."""

    id: str
    reason: str = ""
    retry_after_seconds: int | None = None


class Accept(NamedTuple):
    """The agent works on the letter that was delivered under this id."""

    id: str


class AgentState(NamedTuple):
    """The agent says whether it can work (`ready`) or not (`paused`), and why."""

    is_ready: bool
    reason: str = ""


class CardUpdate(NamedTuple):
    """A new agent card, without reconnecting."""

    agent_card: bytes


class Ping(NamedTuple):
    """An application-level ping, to be answered."""


class Pong(NamedTuple):
    """The answer to one."""


class Probe(NamedTuple):
    """A proof of life that went through the agent's dispatch path."""

    id: str


class Ignored(NamedTuple):
    """A well-formed frame that means nothing here."""

    type: str


class Unreadable(NamedTuple):
    """A frame that could not be read. `ids` may be that of the call it belongs to, which then fails at once."""

    reason: Reason
    ids: tuple[str, ...] = ()


class Chunk(NamedTuple):
    """A piece of a frame that belongs to a call; the pieces of one frame come in order."""

    id: str
    data: memoryview
    is_last: bool


class ChunkTaken(NamedTuple):
    """How many bytes of a frame in pieces the other side has taken so far."""

    id: str
    taken: int


AgentFrame = (
    Auth
    | AuthProof
    | TokenRenew
    | Chunk
    | ChunkTaken
    | Response
    | StreamEvent
    | StreamEnd
    | Nack
    | Accept
    | AgentState
    | CardUpdate
    | Ping
    | Pong
    | Probe
    | Ignored
    | Unreadable
)


@dataclass(frozen=True, slots=True)
class Rest:
    """A 0.3 REST call as it crosses the link: parts of the target, never the target itself."""

    verb: str
    segments: tuple[str, ...]
    query: str


class Meta(Protocol):
    """What an agent is told beside the body."""

    @property
    def version(self) -> str | None:
        """The A2A version that the client asked for."""

    @property
    def service_headers(self) -> Mapping[str, str]:
        """The client's `a2a-*` headers."""

    @property
    def json(self) -> bytes:
        """As a JSON object."""


class Request(Protocol):
    """One call on its way to an agent, as a dialect writes it. `client_id` is the JSON-RPC id that the client chose."""

    @property
    def method(self) -> str: ...

    @property
    def params(self) -> bytes: ...

    @property
    def streams(self) -> bool: ...

    @property
    def meta(self) -> Meta: ...

    @property
    def client_id(self) -> bytes: ...

    @property
    def rest(self) -> Rest | None: ...


@dataclass(frozen=True, slots=True)
class Welcome:
    """What `auth_ok` tells an agent."""

    agent: str
    tenant: str
    session: str
    heartbeat_seconds: int
    max_frame: int
    max_body: int
    public_urls: Mapping[str, str]
    resume_seconds: int = 0
    """For how long the exchanges of a link that was cut wait for their agent."""
    streams: tuple[Resumed, ...] = ()
    calls: tuple[str, ...] = ()
    """Of the calls that the agent has claimed, those whose answer is still awaited."""
    stamp_key: bytes = field(default=b"", repr=False)
    """The key of the MACs of this session's calls; empty where calls are not stamped."""
