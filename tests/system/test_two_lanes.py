"""The fast lane and the plain one are two ways to the same answers: the same raw bytes, sent to both, compared.

`LANES_REQUESTS` says how many random requests are sent: 1,500 unless told, 100,000 in a long run (with `--timeout 0`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

from programs import Relay, running_relay
from websockets.asyncio.client import connect

REQUESTS = int(os.environ.get("LANES_REQUESTS", "1500"))
BATCH = 150 if REQUESTS < 10_000 else 800
SEED = int(os.environ.get("LANES_SEED", "20261122"))
QUIET_SECONDS = 0.25 if REQUESTS < 10_000 else 1.5
"""After this long without a byte an answer is taken to be whole."""

BASE = b"/t/acme/a2a/zaf"
TARGETS = [
    BASE + b"/",
    BASE,
    BASE + b"/message:send",
    BASE + b"/message:stream",
    BASE + b"/message/send",
    BASE + b"/tasks",
    BASE + b"/tasks/t1?historyLength=2",
    BASE + b"/tasks/t1?historyLength=x&a=1&a=2",
    BASE + b"/tasks/t1:cancel",
    BASE + b"/tasks/t1:subscribe",
    BASE + b"/tasks/t%2F1",
    BASE + b"/tasks/%00",
    BASE + b"/tasks/..",
    BASE + b"/tasks/%2e%2e",
    BASE + b"/tasks//x",
    BASE + b"/ten/tasks/t1",
    BASE + b"/tasks/t1/pushNotificationConfigs",
    BASE + b"/tasks/t1/pushNotificationConfigs/c",
    BASE + b"/extendedAgentCard",
    BASE + b"/v1/message:send",
    BASE + b"/v1/card",
    BASE + b"/nothing",
    BASE + b"/.well-known/agent-card.json",
    b"/t/acme/a2a/nobody/",
    b"/t/other/a2a/zaf/",
    b"/t/acme/agents",
    b"/acme/zaf/",
    b"/acme/zaf/message/stream",
    b"/acme/zaf/.well-known/agent.json",
    b"/admin/zaf/",
    b"/",
    b"//",
    b"/t/%61cme/a2a/zaf/",
    b"/t/acme/a2a/zaf/%3F",
    b"http://evil.example/t/acme/a2a/zaf/",
    b"*",
    b"/livez",
    b"/" + b"a" * 9000,
]
OPTIONS = ("--relay-elixir-paths", "on", "--detach-grace", "0")
VERBS = [b"POST"] * 8 + [b"GET"] * 4 + [b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"BREW"]
BODIES = [
    b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER"}}}',
    b'{"jsonrpc":"2.0","id":"a","method":"message/send","params":{"message":{"kind":"message","role":"user"}}}',
    b'{"jsonrpc":"2.0","id":2,"method":"SendStreamingMessage","params":{"message":{"messageId":"m"}}}',
    b'{"jsonrpc":"2.0","id":2,"method":"message/stream","params":{"message":{"messageId":"fail"}}}',
    b'{"jsonrpc":"2.0","id":3,"method":"GetTask","params":{"id":"t","task_id":"u"}}',
    b'{"jsonrpc":"2.0","id":4,"method":"GetExtendedAgentCard"}',
    b'{"jsonrpc":"2.0","id":5,"method":"sendmessage","params":{}}',
    b'{"jsonrpc":"1.0","id":6,"method":"GetTask"}',
    b'[{"jsonrpc":"2.0","id":7,"method":"GetTask"}]',
    b'{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}]}}',
    b'{"message":{"messageId":"fail"}}',
    b'{"id":"t1"}',
    b"{}",
    b"",
    b"not json",
    b'{"a":"\xff"}',
    b"[" * 200,
    b'{"message":{"messageId":"m","metadata":{"x":"' + b"y" * 70_000 + b'"}}}',
]
HEADERS = [
    b"Content-Type: application/json",
    b"Content-Type: text/plain",
    b"Content-Type: multipart/form-data; boundary=x",
    b"A2A-Version: 1.0",
    b"A2A-Version: 0.3",
    b"A2A-Extensions: urn:x, urn:y",
    b"X-Odd: " + b"z" * 100,
    b"Content-Type: application/json\r\nContent-Type: text/html",
    b"Host: other.example",
    b"Connection: close",
    b"Connection: keep-alive",
    b"X-Huge: " + b"h" * 40_000,
    b"Content-Encoding: gzip",
]


@asynccontextmanager
async def agent_of(relay: Relay) -> AsyncIterator[None]:
    """An agent whose answers depend on nothing but the call."""
    async with connect(f"ws{relay.url.removeprefix('http')}/agent", proxy=None, max_size=None) as link:
        auth = {"type": "auth", "token": relay.token(role="agent", agent="zaf"), "protocol": "a2a-relay/1"}
        await link.send(json.dumps({**auth, "agent_card": {"name": "Zaf", "url": "http://10.0.0.1/"}}))
        assert json.loads(await link.recv())["type"] == "auth_ok"

        async def work() -> None:
            async for text in link:
                frame = json.loads(text)
                if frame["type"] == "a2a.request":
                    for answer in answers_to(frame["payload"]):
                        await link.send(json.dumps(answer))

        working = asyncio.ensure_future(work())
        yield
        working.cancel()


def answers_to(call: dict[str, object]) -> list[dict[str, object]]:
    id = call["id"]
    if '"fail"' in json.dumps(call["params"]):
        error = {"code": -32001, "message": "no such task", "data": [{"n": 1}]}
        return [{"type": "a2a.response", "payload": {"id": id, "error": error}}]
    result = {"method": call["method"], "params": call["params"], "url": "http://10.0.0.1/"}
    if not call["stream"]:
        headers = {"a2a-extensions": "urn:x"}
        return [{"type": "a2a.response", "payload": {"id": id, "result": result, "headers": headers}}]
    events = [{"type": "a2a.event", "payload": {"id": id, "seq": n, "result": {"n": n, **result}}} for n in (1, 2, 3)]
    return [*events, {"type": "a2a.end", "payload": {"id": id}}]


Dialogue = list[list[bytes]]
"""What is sent on one connection: turns, each after the answer to the one before, in pieces."""


def random_dialogue(chance: random.Random, token: str) -> Dialogue:
    """Mostly one turn with something odd in it; sometimes a client that repeats its headers, as clients do."""
    if chance.random() > 0.2:
        return [[_random_request(chance, token)]]
    lines = [b"Host: 127.0.0.1", b"Authorization: Bearer " + (token.encode() if chance.random() > 0.1 else b"no")]
    tame = [item for item in HEADERS if _is_tame(item)]
    lines += chance.sample(tame, chance.choice([0, 1]))
    length = chance.choice([b"Content-Length: %d", b"content-length:%d"])
    turns = []
    for _ in range(3):
        requests = []
        for _ in range(chance.choice([1, 1, 1, 2])):
            target, body = chance.choice([BASE + b"/", BASE + b"/message:send", *TARGETS[:24]]), chance.choice(BODIES)
            head = [b"POST %b HTTP/1.1" % target, *lines, length % len(body)]
            requests.append(b"\r\n".join(head) + b"\r\n\r\n" + body)
        data = b"".join(requests)
        cuts = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(chance.choice([0, 0, 1, 2])))})
        turns.append([data[start:end] for start, end in pairwise(cuts)])
    return turns


def _random_request(chance: random.Random, token: str) -> bytes:
    """One request, or a few in a row, often odd.

    Only the first may be one that is no HTTP: whether such a one gets an answer or only the end of the
    connection depends on whether the answer before it is out yet.
    """
    count = chance.choice([1, 1, 1, 1, 2, 3])
    return b"".join(_one_request(chance, token, is_http=count > 1) for _ in range(count))


def _is_tame(header: bytes) -> bool:
    """Whether others may come behind a request with this header: behind a last one they reset the connection."""
    return len(header) < 200 and header != b"Connection: close" and not header.startswith(b"Host:")


def _one_request(chance: random.Random, token: str, *, is_http: bool) -> bytes:
    target, verb = chance.choice(TARGETS), chance.choice(VERBS)
    if is_http:
        target, verb = target if target[:1] == b"/" and len(target) < 200 else b"/livez", verb.replace(b"BREW", b"GET")
    lines = [b"%b %b HTTP/1.%d" % (verb, target, chance.random() > 0.05)]
    lines.append(b"Host: 127.0.0.1")
    if chance.random() > 0.1:
        lines.append(b"Authorization: Bearer " + (token.encode() if chance.random() > 0.1 else b"nonsense"))
    lines += [item for item in chance.sample(HEADERS, chance.choice([0, 1, 1, 2, 3])) if not is_http or _is_tame(item)]
    body = chance.choice(BODIES)
    how = chance.random()
    if how < 0.2 and body:
        lines.append(b"Transfer-Encoding: chunked")
        if is_http:
            lines[0] = lines[0].replace(b"HTTP/1.0", b"HTTP/1.1")  # under 1.0 there are no chunks
        half = len(body) // 2
        pieces = [piece for piece in (body[:half], body[half:]) if piece]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif body or how < 0.7:
        lines.append(b"Content-Length: %d" % len(body))
    if how > 0.95:
        lines.append(b"Expect: 100-continue")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def answer_of(relay: Relay, dialogue: Dialogue, *, ends_writing: bool) -> bytes:
    host, port = relay.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    try:
        for pieces in dialogue:
            for number, piece in enumerate(pieces):
                if number:
                    await asyncio.sleep(0.01)
                writer.write(piece)
            if ends_writing:
                await asyncio.sleep(0.05)
                writer.write_eof()
            wait = 5.0
            with contextlib.suppress(TimeoutError):
                while data := await asyncio.wait_for(reader.read(1 << 16), wait):
                    received += data
                    if not received.endswith(b" Continue\r\n\r\n"):
                        wait = QUIET_SECONDS
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


_DIFFERS = re.compile(
    rb"(?i)\r\n(?:date|x-request-id|last-modified|etag|a2a-relay-stream): [^\r]*"
    rb"|[0-9a-f]{16}-[0-9a-f]+\.[0-9]+|127\.0\.0\.1:[0-9]+|id: [A-Za-z0-9_-]{22}\.[0-9a-f]+-"
    rb"|\"(?:connected_at|last_seen_at)\":\"[^\"]*\""
)


def comparable(answer: bytes) -> list[bytes]:
    """What must be equal: the lines of all answers in any order, without what differs by nature.

    `100 Continue` is left out: whether a body that is here already was asked for is a matter of timing.
    """
    return sorted(_DIFFERS.sub(b"", answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")).split(b"\r\n"))


def agree(ours: bytes, theirs: bytes) -> bool:
    """Whether one begins with the other: a client that has ended its half is taken for gone, and how much it still
    gets depends on what was answered by then. Its last answer may be cut off.
    """
    both = [answer.split(b"HTTP/1.1 ") for answer in (ours, theirs)]
    whole = min(map(len, both)) - 1
    return list(map(comparable, both[0][:whole])) == list(map(comparable, both[1][:whole]))


async def test_both_lanes_give_the_same_answers(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    (tmp_path / "fast").mkdir()
    (tmp_path / "plain").mkdir()
    with (
        running_relay(tmp_path / "fast", "--lane", "fast", *OPTIONS) as fast,
        running_relay(tmp_path / "plain", "--lane", "plain", *OPTIONS) as plain,
    ):
        async with agent_of(fast), agent_of(plain):
            token = fast.token()
            for _ in range(0, REQUESTS, BATCH):
                dialogues = [random_dialogue(chance, token) for _ in range(BATCH)]
                endings = [len(dialogue) == 1 and chance.random() < 0.05 for dialogue in dialogues]
                found = await asyncio.gather(
                    *(
                        answer_of(relay, dialogue, ends_writing=ending)
                        for dialogue, ending in zip(dialogues, endings, strict=True)
                        for relay in (fast, plain)
                    )
                )
                for number, dialogue in enumerate(dialogues):
                    ours, theirs = found[2 * number], found[2 * number + 1]
                    are_same = agree(ours, theirs) if endings[number] else comparable(ours) == comparable(theirs)
                    assert are_same, f"{str(dialogue)[:900]}\n{ours[:900]!r}\n{theirs[:900]!r}"
        for relay in (fast, plain):
            assert relay.program.process.poll() is None
            faults = [
                line for line in relay.program.output().splitlines() if "internal_error" in line or "Trace" in line
            ]
            assert faults == []
