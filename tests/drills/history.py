"""What clients and agents have seen of a mailbox, and the one checker that judges it afterwards.

A history is a file of JSON lines. Each line is one record with `kind`, `at` (wall time in seconds, one clock for all
writers and the relay) and what belongs to its kind:

| kind | written by | says |
|---|---|---|
| `send` | a client, before it sends | `send` (a name of its own), `tenant`, `agent`, `context`, `key` |
| `answer` | the same, later | `send`, `outcome`: `accepted` with `letter` (and `expires_at`), `refused` or `unknown` |
| `delivery` | an agent | `tenant`, `agent`, `letter`, `attempt`, `session`, `key` (of the call's body), `expires_at` |
| `ack` | an agent, before it answers | `letter`, `key`, `result` |
| `result` | a client that has asked for it | `letter`, `key`, `result` |
| `event` | a client that reads a stream | `stream`, `task`, `number` |
| `end` | whoever asks the relay at the end | `letter`, `state` (`lost`: it knows none), `done`: how often it was done |

What came first is what stands first: a clock may have been set back. Files of several writers are merged by `at`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Record = dict[str, Any]
ENDED = frozenset({"done", "expired", "dead", "canceled"})
WAITING = frozenset({"queued", "leased"})
MAX_VIOLATIONS = 50
"""More are counted, and not told one by one."""


class History:
    """A file that takes records as they happen. What is written survives the writer's own death."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def note(self, kind: str, at: float, **fields: Any) -> None:
        """Write one record."""
        self._file.write(json.dumps({"kind": kind, "at": at, **fields}, separators=(",", ":")) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Record]:
    """The records of a file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@dataclass
class Verdict:
    """What a history amounts to."""

    sends: int = 0
    accepted: int = 0
    delivered: int = 0
    duplicated: int = 0
    """Deliveries beyond each letter's first: allowed, and counted."""
    answered: int = 0
    lost: int = 0
    violations: list[str] = field(default_factory=list)
    """The first of them, in words."""
    violated: int = 0

    def blame(self, rule: str, what: str) -> None:
        """Note one violation of a rule."""
        self.violated += 1
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(f"{rule}: {what}")

    def add(self, other: Verdict) -> None:
        """Take the figures of another history in."""
        for name in ("sends", "accepted", "delivered", "duplicated", "answered", "lost", "violated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.violations = (self.violations + other.violations)[:MAX_VIOLATIONS]


@dataclass
class _Call:
    """Everything that was sent under one key."""

    tenant: str
    agent: str
    context: str
    sent_at: int
    outcomes: list[str] = field(default_factory=list)
    open_sends: int = 0
    letters: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)


@dataclass
class _Story:
    """Everything about one letter. Places are those in the order of the whole history."""

    key: str = ""
    accepted_at: int | None = None
    expires_at: float | None = None
    deliveries: list[int] = field(default_factory=list)
    result_at: int | None = None
    state: str = ""
    done: int = 0


class _Checker:
    """One pass over the records in their order, then the rules that need all of them."""

    def __init__(self, transit_seconds: float) -> None:
        self.verdict = Verdict()
        self.transit_seconds = transit_seconds
        self.calls: dict[str, _Call] = {}
        self.sends: dict[str, str] = {}
        self.stories: dict[str, _Story] = defaultdict(_Story)
        self.last_events: dict[str, int] = {}

    def take(self, place: int, record: Record) -> None:
        getattr(self, f"_take_{record['kind']}")(place, record)

    def _take_send(self, place: int, record: Record) -> None:
        key = record["key"]
        call = self.calls.setdefault(key, _Call(record["tenant"], record["agent"], record["context"], place))
        call.open_sends += 1
        self.sends[record["send"]] = key
        self.verdict.sends += 1

    def _take_answer(self, place: int, record: Record) -> None:
        key = self.sends[record["send"]]
        call = self.calls[key]
        call.open_sends -= 1
        call.outcomes.append(record["outcome"])
        if record["outcome"] != "accepted":
            return
        call.letters.add(record["letter"])
        story = self._story(record["letter"], key)
        if story.accepted_at is None:
            story.accepted_at, story.expires_at = place, record.get("expires_at")
            self.verdict.accepted += 1
        elif story.expires_at != record.get("expires_at", story.expires_at):
            self.verdict.blame("one letter per key", f"{record['letter']} expires at two instants")

    def _take_delivery(self, place: int, record: Record) -> None:
        letter, key = record["letter"], record["key"]
        call = self.calls.get(key)
        if call is None:
            self.verdict.blame("nothing unasked", f"{letter} was delivered with a body that nobody has sent: {key!r}")
            return
        if (record["tenant"], record["agent"]) != (call.tenant, call.agent):
            there = f"{record['tenant']}/{record['agent']}"
            self.verdict.blame("nothing across", f"{letter} for {call.tenant}/{call.agent} was delivered to {there}")
        story = self._story(letter, key)
        call.letters.add(letter)
        if story.result_at is not None:
            self.verdict.blame("nothing after its end", f"{letter} was delivered after its result was told")
        expires_at = record.get("expires_at") or story.expires_at
        if expires_at is not None and record["at"] > expires_at + self.transit_seconds:
            late = record["at"] - expires_at
            self.verdict.blame("nothing after its expiry", f"{letter} was delivered {late:.3f} s late")
        story.deliveries.append(place)
        if len(story.deliveries) == 1:
            self.verdict.delivered += 1
        else:
            self.verdict.duplicated += 1

    def _take_ack(self, place: int, record: Record) -> None:
        if not self.stories[record["letter"]].deliveries:
            self.verdict.blame("nothing unasked", f"{record['letter']} was answered and never delivered")

    def _take_result(self, place: int, record: Record) -> None:
        story = self._story(record["letter"], record["key"])
        if story.result_at is None:
            story.result_at = place
            self.verdict.answered += 1
        if record["key"] in self.calls:
            self.calls[record["key"]].results.add(record["result"])

    def _take_event(self, place: int, record: Record) -> None:
        stream, number = record["stream"], record["number"]
        last = self.last_events.get(stream)
        if last is not None and number != last + 1:
            what = f"{record['task']}: {number} after {last} on {stream}"
            self.verdict.blame("events in order", what)
        self.last_events[stream] = number

    def _take_end(self, place: int, record: Record) -> None:
        story = self.stories[record["letter"]]
        story.state, story.done = record["state"], record.get("done", 0)

    def _story(self, letter: str, key: str) -> _Story:
        story = self.stories[letter]
        if story.key and story.key != key:
            self.verdict.blame("one letter per key", f"{letter} stands for {story.key} and for {key}")
        story.key = key
        return story

    # what can be said at the end only

    def finish(self) -> Verdict:
        for key, call in self.calls.items():
            self._judge_call(key, call)
        for letter, story in self.stories.items():
            self._judge_story(letter, story)
        self._judge_order()
        return self.verdict

    def _judge_call(self, key: str, call: _Call) -> None:
        if len(call.letters) > 1:
            self.verdict.blame("one letter per key", f"{key} made {len(call.letters)}: {sorted(call.letters)}")
        if len(call.results) > 1:
            self.verdict.blame("one result per key", f"{key} has {len(call.results)}: {sorted(call.results)}")
        may_exist = call.open_sends or "unknown" in call.outcomes or "accepted" in call.outcomes
        if call.letters and not may_exist:
            self.verdict.blame("nothing unasked", f"{key} was refused, and delivered as {sorted(call.letters)}")

    def _judge_story(self, letter: str, story: _Story) -> None:
        if story.done > 1:
            self.verdict.blame("one result per key", f"{letter} was done {story.done} times")
        if story.result_at is not None and not story.deliveries and story.state == "done":
            self.verdict.blame("nothing unasked", f"{letter} has a result, and no agent has seen it")
        if story.accepted_at is None:
            return
        if story.state not in ENDED | WAITING:
            self.verdict.lost += 1
            self.verdict.blame("nothing is lost", f"{letter} ({story.key}) was accepted; at the end: {story.state!r}")
        elif story.result_at is not None and story.state != "done":
            self.verdict.lost += 1
            self.verdict.blame("nothing is lost", f"{letter} had a result, and is {story.state} at the end")

    def _judge_order(self) -> None:
        """A letter that was accepted before another of its context was sent is delivered before it, or never."""
        contexts: dict[tuple[str, str, str], list[_Story]] = defaultdict(list)
        for story in self.stories.values():
            call = self.calls.get(story.key)
            if call is not None and call.context:
                contexts[call.tenant, call.agent, call.context].append(story)
        for (tenant, agent, context), stories in contexts.items():
            delivered = [story for story in stories if story.deliveries]
            for later in delivered:
                for earlier in stories:
                    if self._is_overtaken(earlier, later):
                        where = f"{tenant}/{agent} in {context}"
                        self.verdict.blame("first in, first out", f"{later.key} overtook {earlier.key} at {where}")

    def _is_overtaken(self, earlier: _Story, later: _Story) -> bool:
        if earlier.accepted_at is None or earlier.accepted_at >= self.calls[later.key].sent_at:
            return False
        if earlier.deliveries:
            return earlier.deliveries[0] > later.deliveries[0]
        return earlier.state in WAITING


def merge(*paths: Path) -> list[Record]:
    """The records of several files, written beside each other with one clock that was never set back."""
    return sorted((record for path in paths for record in read(path)), key=lambda record: record["at"])


def check(records: Iterable[Record], *, transit_seconds: float = 0.0) -> Verdict:
    """Judge a whole history, whose records are in the order in which they happened.

    `transit_seconds`: how much later than the relay has sent it an agent may have noted a delivery; it counts for
    expiry alone.
    """
    checker = _Checker(transit_seconds)
    for place, record in enumerate(records):
        checker.take(place, record)
    return checker.finish()
