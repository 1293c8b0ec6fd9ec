"""Clients: what they send and ask, and what they may be told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from sim_ledger import Ledger, Story

from a2a_relay.a2a import spans
from a2a_relay.a2a.methods import BY_NAME
from a2a_relay.core.address import Address
from a2a_relay.core.call import Call
from a2a_relay.core.exchange import Result
from a2a_relay.core.principal import Principal
from a2a_relay.core.stream import Stream
from a2a_relay.errors import Refused
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.testing import RecordingSink, make_call

STATES_OF_QUEUED = ("TASK_STATE_SUBMITTED",)


@dataclass(eq=False)
class Asked:
    """One call of a client. `is_cut`: its connection is gone, by its own will or with the relay."""

    call: Call
    sink: RecordingSink
    token: str
    node: RelayNode
    about: str = ""
    """The relay's task that it names."""
    before: tuple[Story, ...] = ()
    """The letters of its context that were accepted before it was sent."""
    taken: Any = None
    is_cut: bool = False
    seen: int = 0


class SimClient:
    """One caller. It knows the tasks and contexts that it was told of."""

    def __init__(self, principal: Principal, ledger: Ledger, chance: Random) -> None:
        self.principal = principal
        self._ledger = ledger
        self._chance = chance
        self.asked: list[Asked] = []
        self.tasks: list[tuple[Address, str, str]] = []
        """Address, task and context."""
        self.keys: list[tuple[Address, str, bytes, str, str]] = []
        """Address, method, params, key and token."""
        self._unread: dict[Asked, None] = {}
        self._sent = 0

    # calls

    def send(self, node: RelayNode, address: Address) -> Asked:
        """A message: a new one, one that goes on with a task or a context, or one whose key was used before."""
        chance, options = self._chance, self._options()
        if self.keys and chance.random() < 0.2:
            address, method, params, key, token = chance.choice(self.keys)
            if chance.random() < 0.25:
                params = params.replace(b'"messageId"', b'"metadata": {"n": 1}, "messageId"')
            return self._make(node, address, method, params, token, idempotency_key=key, **options)
        self._sent += 1
        token = f"{self.principal.identity}-{self._sent}"
        message: dict[str, Any] = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": token}]}
        known = [task for task in self.tasks if task[0] == address]
        if known and chance.random() < 0.45:
            _, task, context = chance.choice(known)
            message["contextId"] = context
            if chance.random() < 0.4:
                message["taskId"] = task
        elif chance.random() < 0.2:
            message["contextId"] = f"ctx-{self.principal.identity}"
        params: dict[str, Any] = {"message": message}
        if chance.random() < 0.2:
            params["configuration"] = {"returnImmediately": True}
        method = chance.choice(("SendMessage", "SendMessage", "SendStreamingMessage"))
        body = json.dumps(params).encode()
        if chance.random() < 0.3:
            options["idempotency_key"] = f"k{self._sent}"
            self.keys.append((address, method, body, options["idempotency_key"], token))
        return self._make(node, address, method, body, token, **options)

    def _options(self) -> dict[str, Any]:
        chance, options = self._chance, {}
        if chance.random() < 0.2:
            options["ttl_seconds"] = chance.choice((1, 3, 20))
        if chance.random() < 0.15:
            options["respond_async"] = True
        if chance.random() < 0.3:
            options["wait_seconds"] = chance.choice((0.0, 0.5, 2.0))
        return options

    def ask(self, node: RelayNode, method: str) -> Asked | None:
        """Something about a task that it was told of."""
        if not self.tasks:
            return None
        address, task, _ = self._chance.choice(self.tasks)
        return self.ask_about(node, method, address, task)

    def ask_about(self, node: RelayNode, method: str, address: Address, task: str) -> Asked:
        """Something about this task."""
        params = {} if method == "ListTasks" else {"id": task}
        return self._make(node, address, method, json.dumps(params).encode(), "", about=params.get("id", ""))

    def _make(
        self, node: RelayNode, address: Address, method: str, params: bytes, token: str, about: str = "", **options: Any
    ) -> Asked:
        read = spans.read(BY_NAME[method].operation, params)
        call = make_call(method, params, address=address, principal=self.principal, spans=read, **options)
        is_slow = call.streams and self._chance.random() < 0.2
        sink = RecordingSink(room=1 if is_slow else None)
        asked = Asked(call, sink, token, node, about or (read.task_id or ""))
        if token and read.context_id is not None:
            asked.before = self._ledger.accepted_before(address, read.context_id)
        self.asked.append(asked)
        self._unread[asked] = None
        try:
            asked.taken = node.stream(call, sink) if call.streams else node.submit(call, sink)
        except Refused as refused:
            if not sink.is_over:
                sink.answer(refused)
        return asked

    def hang_up(self) -> None:
        """One of its connections that wait for something is gone."""
        waiting = [asked for asked in self.asked if not asked.sink.is_over and not asked.is_cut]
        if not waiting:
            return
        asked = self._chance.choice(waiting)
        asked.is_cut = True
        if isinstance(asked.taken, Stream):
            asked.node.leave_stream(asked.taken, asked.sink)
        elif asked.taken is not None:
            asked.node.abandon(asked.taken)

    def lose(self, node: RelayNode) -> None:
        """The relay is dead, and with it the connections."""
        for asked in self.asked:
            if asked.node is node and not asked.sink.is_over:
                asked.is_cut = True

    def read_on(self) -> None:
        """Slow readers take more."""
        for asked in self.asked:
            if isinstance(asked.taken, Stream) and not asked.is_cut and not asked.sink.is_over:
                asked.sink.make_room(1)
                asked.node.read_on(asked.taken, asked.sink)

    # what it is told

    def look(self) -> None:
        """Read what has come since the last look, hold it to the rules, and learn tasks from it."""
        for asked in list(self._unread):
            sink = asked.sink
            bodies = sink.bodies + [answer.body for answer in sink.answers if isinstance(answer, Result)]
            for body in bodies[asked.seen :]:
                self._read(asked, body)
            asked.seen = len(bodies)
            if sink.is_over:
                del self._unread[asked]

    def _read(self, asked: Asked, body: bytes) -> None:
        if asked.call.method == "ListTasks":
            return
        said = json.loads(body)
        task = said.get("task", said)
        status = task.get("status") or {}
        if asked.about.startswith("rly-"):
            self._require_own_names(asked, body)
        id = task.get("id", "") if "contextId" in task and status else ""
        if not id:
            return
        if id.startswith("rly-") and status.get("state") in STATES_OF_QUEUED:
            stories = [
                story for story in self._ledger.stories.values() if id in (story.letter.id, story.letter.task_id)
            ]
            self._ledger.require(
                any(story.is_told for story in stories), "a queued answer comes after the letter was accepted", id
            )
            self._require_own_names(asked, body)
        if asked.about and asked.call.method in ("GetTask", "CancelTask"):
            self._ledger.require(id == asked.about, "a task is answered under the id it was asked by", asked.about, id)
        known = (asked.call.address, id, task["contextId"])
        if known not in self.tasks:
            self.tasks.append(known)

    def _require_own_names(self, asked: Asked, body: bytes) -> None:
        self._ledger.require(
            b"agt-" not in body, "the agent's ids are not shown for the relay's task", asked.about, body
        )
