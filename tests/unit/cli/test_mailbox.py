"""`relay mailbox` and `relay agents register`, against a relay that listens on this machine, in either lane."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from a2a_relay.assembly import build_app
from a2a_relay.cli import main
from a2a_relay.client.tokens import mint
from a2a_relay.core.address import Address
from a2a_relay.core.letter import DeadReason, Draft, Room
from a2a_relay.fronts.http.protocol import HttpLimits
from a2a_relay.fronts.http.server import Lane, bind, server_config
from a2a_relay.node.clock import LoopClock
from a2a_relay.ports.mailbox import Mailbox
from a2a_relay.settings import Settings
from a2a_relay.stores.memory.mailbox import MemoryMailbox
from a2a_relay.testing import TEST_SECRET, make_node


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)


class Machine:
    """A relay with a mailbox, and commands that find it."""

    def __init__(self, url: str, mailbox: Mailbox, read: Callable[[], tuple[str, str]]) -> None:
        self.url = url
        self.mailbox = mailbox
        self._read = read
        self._made = 0

    def run(self, *words: str, role: str | None = None) -> Ran:
        """Run a command as the tenant's admin, or in a role."""
        token = mint(TEST_SECRET, time.time(), 600, tenant="acme", role=role, user="ann")
        try:
            code = main([*words, "--relay", self.url, "--token", token])
        except SystemExit as left:
            code = int(left.code or 0)
        return Ran(code, *self._read())

    def letter(self, agent: str = "zaf", owner: str = "sender:ann", context_id: str = "c1") -> str:
        """Put a letter into a mailbox."""
        self._made += 1
        id = f"rly-{self._made}"
        draft = Draft(id, Address("acme", agent), owner, id, id, context_id, b"{}", b'{"secret":1}', 3600)
        asyncio.run(self.mailbox.accept(draft, Room()))
        return id

    def dead_letter(self, agent: str = "zaf") -> str:
        """Put a letter into a mailbox that has died."""
        id, address = self.letter(agent), Address("acme", agent)

        async def bury() -> None:
            await self.mailbox.lease(address, "s1", 1)
            await self.mailbox.bury(address, id, "s1", DeadReason.TOO_LARGE, 3600)

        asyncio.run(bury())
        return id


@pytest.fixture(params=["fast", "plain"])
def machine(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Machine]:
    """One relay for a test, stopped after it."""
    for name in ("RELAY_URL", "RELAY_TOKEN", "RELAY_JWT_SECRET", "JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELAY_DATA_DIR", str(tmp_path))
    listener = bind("127.0.0.1", 0)
    listener.listen()  # who comes before the server has started waits
    clock = LoopClock()
    mailbox = MemoryMailbox(clock.now)
    node = make_node(clock=clock, mailbox=mailbox)

    async def nothing() -> None:
        return None

    app = build_app(Settings(), node, on_shutdown=nothing)
    lane = Lane(app.desk, app.exposure) if request.param == "fast" else None
    config = server_config(app, HttpLimits(32_768, 100, 8192, 10), lane, compresses_links=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Machine(f"http://127.0.0.1:{listener.getsockname()[1]}", mailbox, capsys.readouterr)
    finally:
        server.should_exit = True
        thread.join()


# letters


def test_letters_are_listed_for_people_and_for_programs(machine: Machine) -> None:
    assert machine.run("mailbox").out == "no letters\n"
    dead, queued = machine.dead_letter(), machine.letter("zoe")
    title, *rows = machine.run("mailbox", "list").out.splitlines()
    assert title.split() == ["LETTER", "AGENT", "STATE", "REASON", "ATTEMPT", "ACCEPTED", "EXPIRES", "SENDER"]
    assert [row.split()[:4] for row in rows] == [[queued, "zoe", "queued", "-"], [dead, "zaf", "dead", "too_large"]]
    listed = machine.run("mailbox", "list", "--json").json
    assert ([letter["id"] for letter in listed["letters"]], listed["total"]) == ([queued, dead], 2)


@pytest.mark.parametrize(
    "words, found",
    [
        (("dead",), [1]),
        (("list", "--state", "queued"), [3, 2]),
        (("list", "--agent", "zoe"), [3]),
        (("list", "--reason-is", "too_large"), [1]),
        (("list", "--reason-is", "attempts_exhausted"), []),
        (("list", "--id", "rly-2"), [2]),
        (("list", "--before", "2000-01-01T00:00:00Z"), []),
        (("list", "--limit", "2"), [3, 2]),
    ],
)
def test_letters_are_chosen_by_options(machine: Machine, words: tuple[str, ...], found: list[int]) -> None:
    machine.dead_letter()
    machine.letter()
    machine.letter("zoe")
    listed = machine.run("mailbox", *words, "--json").json
    assert [letter["id"] for letter in listed["letters"]] == [f"rly-{number}" for number in found]


def test_a_long_list_is_read_page_by_page_and_says_what_it_leaves_out(machine: Machine) -> None:
    for _ in range(205):
        machine.letter()
    listed = machine.run("mailbox", "list", "--limit", "204", "--json").json
    assert [letter["id"] for letter in listed["letters"]] == [f"rly-{number}" for number in range(205, 1, -1)]
    assert machine.run("mailbox", "list", "--limit", "3").out.endswith("3 of 205 letters: --limit shows more\n")


def test_a_letter_is_shown_with_its_history_and_without_its_body(machine: Machine) -> None:
    id = machine.dead_letter()
    shown = machine.run("mailbox", "show", id)
    assert "too_large" in shown.out
    assert [line.split()[1] for line in shown.out.splitlines()[-3:]] == ["accepted", "leased", "dead"]
    assert [entry["event"] for entry in machine.run("mailbox", "show", id, "--json").json["history"]] == [
        "accepted",
        "leased",
        "dead",
    ]
    assert "secret" not in shown.out


def test_a_sender_sees_its_own_letters_and_changes_none(machine: Machine) -> None:
    own, other = machine.letter(), machine.letter(owner="sender:bob")
    listed = machine.run("mailbox", role="client")
    assert (own in listed.out, other in listed.out, "SENDER" in listed.out) == (True, False, False)
    unknown = machine.run("mailbox", "show", other, role="client")
    assert (unknown.code, unknown.err) == (1, "relay: no such letter\n")
    refused = machine.run("mailbox", "purge", "--id", own, "--why", "mine", role="client")
    assert (refused.code, refused.err) == (1, "relay: this credential may not do that\n")


def test_what_a_stranger_wrote_cannot_reach_into_the_terminal(machine: Machine) -> None:
    id = machine.letter(owner="sender:\x1b[2J\n\u202eevil", context_id="\x1b]0;title\x07")
    for words in (("list",), ("show", id)):
        out = machine.run("mailbox", *words).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "\\x1b[2J\\n" in out


# changes


def test_dead_letters_are_redriven_and_letters_purged(machine: Machine) -> None:
    machine.dead_letter()
    machine.dead_letter("zoe")
    assert machine.run("mailbox", "redrive", "--agent", "zaf", "--why", "mended").out == "1 letter redriven\n"
    assert machine.run("mailbox", "redrive", "--all", "--why", "mended", "--json").json == {"redriven": 1}
    assert machine.run("mailbox", "dead").out == "no letters\n"
    assert machine.run("mailbox", "purge", "--all", "--why", "a test").out == "2 letters purged\n"


def test_a_mailbox_is_paused_and_resumed(machine: Machine) -> None:
    machine.run("agents", "register", "zaf")
    machine.letter()
    assert machine.run("mailbox", "boxes").out.splitlines()[1].split()[0] == "zaf"
    assert machine.run("mailbox", "pause", "zaf", "--why", "sick").out == "the mailbox of zaf is paused\n"
    assert machine.run("mailbox", "boxes", "--json").json["mailboxes"][0]["paused"] is True
    assert machine.run("mailbox", "resume", "zaf", "--why", "well").out == "the mailbox of zaf is resumed\n"
    assert machine.run("mailbox", "boxes", "--json").json["mailboxes"][0]["paused"] is False
    assert machine.run("mailbox", "pause", "nobody", "--why", "x").err == "relay: no such agent\n"


def test_without_letters_no_mailbox_holds_anything(machine: Machine) -> None:
    assert machine.run("mailbox", "boxes").out == "no mailbox holds anything\n"


# agents


def test_an_agent_is_registered_before_it_attaches(machine: Machine, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text('{"name":"Zaf"}', encoding="utf-8")
    registered = machine.run("agents", "register", "zaf", "--card", str(card))
    assert (registered.out, registered.err) == ("zaf is registered\n", "")
    assert machine.run("agents", "register", "zaf", "--json").json["agent"]["name"] == "Zaf"
    rows = machine.run("agents").out.splitlines()[1:]
    assert [row.split()[:3] for row in rows] == [["zaf", "away", "-"]]
    assert machine.run("agents", "register", "a.b").code == 1
    card.write_text("{", encoding="utf-8")
    broken = machine.run("agents", "register", "zoe", "--card", str(card))
    assert (broken.code, broken.err.startswith(f"relay: the card in {card} cannot be read")) == (1, True)


# what makes no sense


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("mailbox", "nonsense"), "nonsense"),
        (("mailbox", "show"), "takes the letter's ID"),
        (("mailbox", "list", "rly-1"), "takes no name"),
        (("mailbox", "pause", "--why", "x"), "takes the agent's NAME"),
        (("mailbox", "pause", "zaf"), "needs --why"),
        (("mailbox", "list", "--why", "x"), "takes no --why"),
        (("mailbox", "boxes", "--agent", "zaf"), "takes no filter"),
        (("mailbox", "dead", "--state", "done"), "takes no --state"),
        (("mailbox", "purge", "--why", "x"), "needs a filter, or --all"),
        (("mailbox", "redrive", "--why", "x"), "needs a filter, or --all"),
        (("mailbox", "purge", "--all", "--agent", "zaf", "--why", "x"), "in the place of a filter"),
        (("mailbox", "list", "--all"), "in the place of a filter"),
        (("mailbox", "list", "--limit", "0"), "--limit"),
        (("agents", "register"), "NAME"),
        (("agents", "list", "zaf"), "NAME"),
        (("agents", "forget", "zaf", "--card", "x"), "--card"),
    ],
)
def test_what_an_action_does_not_take_is_refused(
    words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert complaint in capsys.readouterr().err
