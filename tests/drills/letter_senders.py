"""Clients of a drill: they send letters, repeat what was not answered with the same key, and ask for results."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from history import History
from lives import token
from plain_http import Answer, Connection, NoAnswer

DONE = "TASK_STATE_COMPLETED"
PATIENT_TRIES = 4
"""How often a client repeats a send that was not answered, before it never learns what became of it."""


@dataclass
class Sent:
    """One call under its key."""

    key: str
    tenant: str
    agent: str
    context: str
    ttl_seconds: int = 0
    tries: int = 0
    letter: str = ""
    has_result: bool = False


@dataclass
class Post:
    """All that a drill's clients know together."""

    port: int
    history: History
    chance: random.Random
    now: Callable[[], float]
    letters: dict[str, Sent] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
    _sends: int = 0
    _followed: int = 0

    def headers(self, tenant: str, **more: str) -> dict[str, str]:
        """What each request of a tenant's client carries."""
        if tenant not in self._tokens:
            self._tokens[tenant] = token(tenant)
        return {
            "Authorization": f"Bearer {self._tokens[tenant]}",
            "Content-Type": "application/json",
            "A2A-Version": "1.0",
        } | more

    async def send(self, connection: Connection, sent: Sent) -> bool:
        """Send a letter, or send it again; whether there is an answer, good or bad."""
        self._sends += 1
        name, message = f"s{self._sends}", {"messageId": sent.key, "role": "ROLE_USER", "parts": [{"text": sent.key}]}
        if sent.context:
            message["contextId"] = sent.context
        more = {"Idempotency-Key": sent.key, "Prefer": "respond-async, wait=0"}
        if sent.ttl_seconds:
            more["A2A-Relay-TTL"] = str(sent.ttl_seconds)
        self.history.note(
            "send", self.now(), send=name, tenant=sent.tenant, agent=sent.agent, context=sent.context, key=sent.key
        )
        sent.tries += 1
        path = f"/t/{sent.tenant}/a2a/{sent.agent}/"
        body = _call("SendMessage", {"message": message})
        try:
            answer = await connection.ask("POST", path, self.headers(sent.tenant, **more), body)
        except NoAnswer:
            self.history.note("answer", self.now(), send=name, outcome="unknown")
            return False
        return self._note(name, sent, answer)

    def _note(self, name: str, sent: Sent, answer: Answer) -> bool:
        document = answer.json
        task = document.get("result", {}).get("task")
        if answer.status == 200 and task is not None and task["id"].startswith("rly-"):
            sent.letter = task["id"]
            self.letters[sent.letter] = sent
            self.history.note("answer", self.now(), send=name, outcome="accepted", letter=sent.letter, **_expiry(task))
            return True
        reason = _reason(document) or f"{answer.status}: {answer.body[:200]!r}"
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        # A failure of the store, or the same key in flight, does not say whether there is a letter.
        outcome = "unknown" if answer.status >= 500 or answer.status == 409 else "refused"
        self.history.note("answer", self.now(), send=name, outcome=outcome)
        return outcome == "refused"

    async def ask_result(self, connection: Connection, sent: Sent) -> bool:
        """GetTask; whether the task is completed now. Raises NoAnswer."""
        path, body = f"/t/{sent.tenant}/a2a/{sent.agent}/", _call("GetTask", {"id": sent.letter})
        answer = await connection.ask("POST", path, self.headers(sent.tenant), body)
        task = answer.json.get("result", {}) if answer.status == 200 else {}
        status = task.get("status", {})
        if status.get("state") != DONE:
            return False
        sent.has_result = True
        text = status["message"]["parts"][0]["text"]
        self.history.note("result", self.now(), letter=sent.letter, key=sent.key, result=text)
        return True

    async def follow(self, connection: Connection, sent: Sent) -> None:
        """Read a letter's events until their end."""
        self._followed += 1
        number = self._followed
        path, body = f"/t/{sent.tenant}/a2a/{sent.agent}/", _call("SubscribeToTask", {"id": sent.letter})
        async for document in connection.events(path, self.headers(sent.tenant), body):
            update = document.get("result", {}).get("artifactUpdate")
            if update is not None:
                count, _, result = update["artifact"]["parts"][0]["text"].partition(" ")
                stream = f"f{number} {result}"
                self.history.note("event", self.now(), stream=stream, task=sent.letter, number=int(count))

    async def state(self, connection: Connection, sent: Sent) -> str:
        """What has become of a letter; `lost` when the relay knows none. Raises NoAnswer."""
        return str((await self._receipt(connection, sent)).get("state", "lost"))

    async def note_end(self, connection: Connection, sent: Sent) -> str:
        """Ask for a letter's state at the end of everything, and note it. Raises NoAnswer."""
        receipt = await self._receipt(connection, sent)
        state = str(receipt.get("state", "lost"))
        done = sum(entry["event"] == "done" for entry in receipt.get("history", ()))
        self.history.note("end", self.now(), letter=sent.letter, state=state, done=done)
        return state

    async def _receipt(self, connection: Connection, sent: Sent) -> dict[str, Any]:
        answer = await connection.ask("GET", f"/t/{sent.tenant}/letters/{sent.letter}", self.headers(sent.tenant))
        found: dict[str, Any] = answer.json if answer.status == 200 else {}
        return found


def _call(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def _reason(document: dict[str, Any]) -> str:
    for detail in document.get("error", {}).get("data") or ():
        if isinstance(detail, dict) and "reason" in detail:
            return str(detail["reason"])
    return ""


def _expiry(task: dict[str, Any]) -> dict[str, float]:
    """When the relay says that the letter expires; the Task of one that is done does not say it any more."""
    for facts in (task.get("metadata") or {}).values():
        if isinstance(facts, dict) and "expires_at" in facts:
            return {"expires_at": datetime.fromisoformat(facts["expires_at"]).timestamp()}
    return {}
