"""Agents of several kinds: they take what the relay hands over, and answer it when and how the schedule says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sim_kinds import Kind
from sim_ledger import Ledger, token_of

from a2a_relay.a2a import jsonrpc
from a2a_relay.a2a.agent_card import RELAY_EXTENSION
from a2a_relay.core.address import Address
from a2a_relay.errors import Reason, Refused
from a2a_relay.node.agent_link import AgentLink
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.testing import TEST_SECRET, FakeClock, MemoryTransport, make_token

COMPLETED, WORKING, INPUT = "TASK_STATE_COMPLETED", "TASK_STATE_WORKING", "TASK_STATE_INPUT_REQUIRED"
SENDS = ("SendMessage", "SendStreamingMessage", "message/send", "message/stream")
CONNECTORS_REASONS = (Reason.AGENT_OFFLINE, Reason.AGENT_TIMEOUT, Reason.AGENT_DISCONNECTED)
NO_TASK = {"code": -32001, "message": "no such task"}
NORMAL = 1000


@dataclass(eq=False)
class Run:
    """What an agent makes of one message: for a letter that it remembers, over several deliveries."""

    token: str
    context_id: str
    task_id: str
    letter: str = ""
    events: list[Any] = field(default_factory=list)
    final: dict[str, Any] | None = None
    """`{}` is the regular end of a stream, else an answer or an error."""
    adopted: bool = False


@dataclass(eq=False)
class Delivery:
    """One request that is still to be answered, as its frame said."""

    id: str
    method: str
    params: dict[str, Any]
    is_stream: bool
    run: Run | None = None
    said: int = 0
    """Events of its run that were said over this one."""
    seq: int = 0
    frames: list[Any] = field(default_factory=list)
    """The events that this delivery has got, for an agent that resumes."""
    is_accepted: bool = False


class Transport(MemoryTransport):
    """Hands what the relay writes on at once; after a cut nothing arrives."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        super().__init__()
        self._take = take
        self.is_cut = False

    def send(self, frame: bytes) -> None:
        if self.close_code is not None:
            raise AssertionError(f"a frame after the close: {frame!r}")
        if not self.is_cut:
            self._take(json.loads(frame))


class SimAgent:
    """One agent, over all its links. Its tasks and the letters that it remembers outlive them."""

    def __init__(self, address: Address, kind: Kind, ledger: Ledger, clock: FakeClock, chance: Random) -> None:
        self.address = address
        self.kind = kind
        self._ledger = ledger
        self._clock = clock
        self._chance = chance
        self._link: AgentLink | None = None
        self._transport: Transport | None = None
        self._session = ""
        self._tasks: dict[str, Run] = {}
        self._remembered: dict[str, Run] = {}
        self.open: dict[str, Delivery] = {}
        """Requests that are still to be answered, by frame id."""
        self._to_claim: dict[str, Delivery] = {}
        self.on_delivery: Callable[[SimAgent, dict[str, Any], str, str], None] = lambda *_: None
        self.is_paused = False
        self._made = 0
        self.closing: list[tuple[RelayNode, AgentLink]] = []

    @property
    def is_attached(self) -> bool:
        return self._link is not None

    # links

    def attach(self, node: RelayNode) -> None:
        """A new link; one that is still there is replaced by it."""
        held = self.open if self.kind.resumes else {}
        self._to_claim = {**self._to_claim, **held} if self.kind.resumes else {}
        self.open = {}
        self.is_paused = False
        transport = Transport(lambda frame: self._receive(transport, frame))
        link = node.open_link(transport, "https://relay.example")
        transport.on_close = lambda: self._closed(node, link, transport)
        self._link, self._transport = link, transport
        link.receive(json.dumps(self._auth()).encode())

    def _auth(self) -> dict[str, Any]:
        kind = self.kind
        params = {"idempotent": kind.is_idempotent}
        card = {
            "name": self.address.agent,
            "capabilities": {
                "streaming": kind.streams,
                "extensions": [{"uri": RELAY_EXTENSION, "params": params}],
            },
        }
        claims = {"tenant": self.address.tenant, "agent_id": self.address.agent, "role": "agent"}
        token = make_token(TEST_SECRET, {**claims, "exp": self._clock.now() + 3600})
        frame: dict[str, Any] = {"type": "auth", "token": token, "agent_card": card}
        if kind.is_native:
            features = ["credit", *["letters"] * kind.remembers, *["resume"] * kind.resumes]
            frame |= {"protocol": "a2a-relay/1", "features": features, "adopts_ids": kind.adopts}
        if kind.resumes and self._session:
            streams = [
                {"id": id, "first": 1, "last": delivery.seq}
                for id, delivery in self._to_claim.items()
                if delivery.is_stream
            ]
            calls = [id for id, delivery in self._to_claim.items() if not delivery.is_stream]
            frame["resume"] = {"session": self._session, "streams": streams, "calls": calls}
        return frame

    def cut(self, node: RelayNode, *, is_clean: bool) -> None:
        """The link is gone; the relay hears of it at once, and whether the agent meant it."""
        link, transport = self._link, self._transport
        if link is None or transport is None:
            return
        transport.is_cut = True
        self._lose_link()
        node.link_ended(link, NORMAL if is_clean else None)

    def lose(self) -> None:
        """The relay is dead, and with it the link."""
        if self._transport is not None:
            self._transport.is_cut = True
            self._lose_link()

    def _lose_link(self) -> None:
        if self.kind.resumes:
            self._to_claim |= self.open
        self.open = {}
        self._link = self._transport = None

    def _closed(self, node: RelayNode, link: AgentLink, transport: Transport) -> None:
        """The relay has closed a link: a moment later it has ended."""
        self.closing.append((node, link))
        transport.is_cut = True
        if self._transport is transport:
            self._lose_link()

    # what comes

    def _receive(self, transport: Transport, frame: dict[str, Any]) -> None:
        if transport is not self._transport:
            return
        payload = frame.get("payload", {})
        match frame["type"]:
            case "auth_ok":
                self._session = frame.get("session", "")
                self._go_on(frame)
            case "a2a.request":
                self._take(payload)
            case "a2a.cancel":
                stopped = self.open.pop(payload["id"], None)
                if stopped is not None and stopped.run is not None:
                    self._remembered.pop(stopped.run.letter, None)

    def _go_on(self, welcome: dict[str, Any]) -> None:
        """What was claimed goes on where the relay wants it; the rest waits for its letter to be delivered again."""
        claimed, self._to_claim = self._to_claim, {}
        for stream in welcome.get("streams", ()):
            delivery = claimed.get(stream["id"])
            if delivery is not None and "through" in stream:
                self.open[delivery.id] = delivery
                for number, event in enumerate(delivery.frames, start=1):
                    if number > stream["through"]:
                        self._write("a2a.event", id=delivery.id, seq=number, result=event)
        for id in welcome.get("calls", ()):
            self.open[id] = claimed[id]

    def _take(self, payload: dict[str, Any]) -> None:
        delivery = Delivery(payload["id"], payload["method"], payload["params"], payload.get("stream", False))
        if not self.kind.is_native:
            delivery.is_stream = False
        self.open[delivery.id] = delivery
        if delivery.method not in SENDS:
            return
        meta = payload.get("meta", {})
        letter, token = meta.get("letter", ""), token_of(json.dumps(payload["params"]).encode())
        run = self._remembered.get(letter) if letter and self.kind.remembers else None
        self.on_delivery(self, payload, letter, token)
        if run is None:
            run = self._begin(delivery, letter, token, meta)
        else:
            for other in list(self.open.values()):
                if other.run is run and other is not delivery:
                    del self.open[other.id]
            delivery.said = 0 if run.final is not None else len(run.events)  # what the relay took is not said again
        delivery.run = run

    def _begin(self, delivery: Delivery, letter: str, token: str, meta: dict[str, Any]) -> Run:
        message = delivery.params["message"]
        known = self._tasks.get(message.get("taskId", ""))
        self._made += 1
        if known is not None:
            run = Run(token, known.context_id, known.task_id, letter)
        elif message.get("taskId"):
            run = Run(token, "", message["taskId"], letter, final={"error": NO_TASK})
        elif self.kind.adopts and letter:
            run = Run(token, message.get("contextId") or f"actx-{self._made}", meta["task_id"], letter, adopted=True)
            if run.task_id in self._tasks:  # as the SDK does: a task that has ended takes no second message
                run.final = {"error": {"code": -32004, "message": "the task has ended"}}
        else:
            context = message.get("contextId") or f"actx-{self.address.agent}-{self._made}"
            if self._chance.random() < 0.1:
                context = f"actx-{self.address.agent}-{self._made}"
            run = Run(token, context, f"agt-{self.address.agent}-{self._made}", letter)
        if letter and self.kind.remembers:
            self._remembered[letter] = run
        return run

    # what the schedule makes it do

    def act(self, *, is_good: bool = False) -> str:
        """Answer one of the open requests, or go on with it; what was done, in a word."""
        if not self.open or self._link is None:
            return "nothing"
        delivery = self._chance.choice(list(self.open.values()))
        if delivery.run is None:
            return self._reply(delivery)
        if delivery.run.final is not None or delivery.said < len(delivery.run.events):
            return self._replay(delivery)
        return self._finish(delivery) if is_good else self._do(delivery, delivery.run)

    def _do(self, delivery: Delivery, run: Run) -> str:
        chance = self._chance.random()
        if self.kind.is_native and chance < 0.08 and not run.events and not delivery.is_accepted:
            self.open.pop(delivery.id)
            self._remembered.pop(run.letter, None)
            self._forget_delivery(run)
            self._write("a2a.nack", id=delivery.id, reason="not now", retry_after_ms=self._chance.choice((500, 2000)))
            return "nacked"
        if self.kind.is_native and chance < 0.12:
            delivery.is_accepted = True
            self._write("a2a.accept", id=delivery.id)
            return "accepted"
        if self.kind.remembers and chance < 0.16:
            self.open.pop(delivery.id)
            self._remembered.pop(run.letter, None)
            reason = self._chance.choice(CONNECTORS_REASONS)
            self._fail(delivery, json.loads(jsonrpc.refusal(Refused(reason, "the upstream gave no answer"))))
            return "failed at the connector"
        if chance < 0.22:
            run.final = {"error": {"code": -32603, "message": "boom"}}
            self._say_final(delivery, run)
            return "failed"
        if delivery.is_stream and chance < 0.65:
            run.events.append(self._event(run))
            self._say_events(delivery, run)
            return "streamed"
        return self._finish(delivery)

    def _finish(self, delivery: Delivery) -> str:
        run = delivery.run
        assert run is not None
        if delivery.is_stream and (run.events or self._chance.random() < 0.7):
            state = self._chance.choice((COMPLETED, INPUT))
            run.events.append({"task": self._task(run, state)} if not run.events else self._status(run, state))
            run.final = {}
            self._say_events(delivery, run)
        else:
            run.final = {"result": self._result(run)}
        self._say_final(delivery, run)
        return "answered"

    def _replay(self, delivery: Delivery) -> str:
        run = delivery.run
        assert run is not None
        if delivery.is_stream:
            self._say_events(delivery, run)
        if run.final is not None:
            self._say_final(delivery, run)
        return "said it again"

    def _say_events(self, delivery: Delivery, run: Run) -> None:
        for event in run.events[delivery.said :]:
            delivery.seq += 1
            delivery.frames.append(event)
            self._write("a2a.event", id=delivery.id, seq=delivery.seq, result=event)
        delivery.said = len(run.events)

    def _say_final(self, delivery: Delivery, run: Run) -> None:
        self.open.pop(delivery.id, None)
        final = run.final or {}
        if "error" in final:
            self._fail(delivery, final["error"])
        elif "result" in final:
            self._write("a2a.response", id=delivery.id, result=final["result"])
            if self._chance.random() < 0.1:
                self._write("a2a.response", id=delivery.id, result=final["result"])
        elif delivery.is_stream:
            self._write("a2a.end", id=delivery.id)
        else:
            self._write("a2a.response", id=delivery.id, result={"task": self._task(run)})

    def _fail(self, delivery: Delivery, error: dict[str, Any]) -> None:
        if delivery.is_stream and delivery.seq:
            self._write("a2a.end", id=delivery.id, error=error)
        else:
            self._write("a2a.response", id=delivery.id, error=error)

    def _reply(self, delivery: Delivery) -> str:
        """Questions about tasks."""
        self.open.pop(delivery.id, None)
        run = self._tasks.get(str(delivery.params.get("id")))
        is_orphan = run is not None and run.final is None and all(other.run is not run for other in self.open.values())
        if run is not None and is_orphan and self._chance.random() < 0.5:
            run.final = {}  # it goes on at the agent, whoever is linked with it
        if delivery.method == "ListTasks":
            tasks = [self._task(known) for known in self._tasks.values()]
            self._write("a2a.response", id=delivery.id, result={"tasks": tasks, "totalSize": len(tasks)})
        elif run is None:
            self._write("a2a.response", id=delivery.id, error=NO_TASK)
        elif delivery.method == "CancelTask":
            self._write("a2a.response", id=delivery.id, result=self._task(run, "TASK_STATE_CANCELED"))
        elif delivery.method == "SubscribeToTask" and delivery.is_stream:
            state = COMPLETED if run.final is not None else self._chance.choice((WORKING, COMPLETED))
            self._write("a2a.event", id=delivery.id, seq=1, result={"task": self._task(run, state)})
            self._write("a2a.end", id=delivery.id)
        else:
            self._write("a2a.response", id=delivery.id, result=self._task(run))
        return "replied"

    def set_paused(self, *, is_paused: bool) -> None:
        """Say whether it can work."""
        if self._link is not None and self.kind.is_native:
            self.is_paused = is_paused
            self._write("agent.state", state="paused" if is_paused else "ready", reason="lunch")

    def _forget_delivery(self, run: Run) -> None:
        for story in self._ledger.by_token.get(run.token, ()):
            story.deliveries = max(story.deliveries - 1, 0)

    # what it says

    def _task(self, run: Run, state: str | None = None) -> dict[str, Any]:
        self._tasks.setdefault(run.task_id, run)
        shown = state or _state_of(run)
        return {"id": run.task_id, "contextId": run.context_id, "status": {"state": shown}, "history": [
            {"messageId": "h", "role": "ROLE_USER", "parts": [{"text": run.token}], "taskId": run.task_id}
        ]}  # fmt: skip

    def _status(self, run: Run, state: str) -> dict[str, Any]:
        self._tasks.setdefault(run.task_id, run)
        return {"statusUpdate": {"taskId": run.task_id, "contextId": run.context_id, "status": {"state": state}}}

    def _event(self, run: Run) -> dict[str, Any]:
        if not run.events:
            return {"task": self._task(run, WORKING)}
        if self._chance.random() < 0.5:
            return self._status(run, WORKING)
        artifact = {"artifactId": f"x{len(run.events)}", "parts": [{"text": run.token}]}
        return {"artifactUpdate": {"taskId": run.task_id, "contextId": run.context_id, "artifact": artifact}}

    def _result(self, run: Run) -> dict[str, Any]:
        if self._chance.random() < 0.3 and not run.adopted:
            said = {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": run.token}], "contextId": run.context_id}
            return {"message": said}
        return {"task": self._task(run, self._chance.choice((COMPLETED, COMPLETED, INPUT, WORKING)))}

    def _write(self, kind: str, **payload: Any) -> None:
        if self._link is not None:
            self._link.receive(json.dumps({"type": kind, "payload": payload}).encode())


def _state_of(run: Run) -> str:
    """What a task's agent says of it when it is asked."""
    return WORKING if run.final is None else COMPLETED
