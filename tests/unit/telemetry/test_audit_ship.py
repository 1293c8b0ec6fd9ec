"""Audit entries on their way: all of them, in order, whatever the target does."""

from __future__ import annotations

import http.server
import json
import stat
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from a2a_relay.core.audit import FIRST_HASH, AuditFact, AuditRecord, is_chained
from a2a_relay.errors import SettingsError
from a2a_relay.stores.memory.audit import MemoryAudit
from a2a_relay.telemetry import audit_ship
from a2a_relay.telemetry.audit_ship import AuditShipper, FileTarget, StdoutTarget, WebhookTarget, open_target
from a2a_relay.testing.clock import FakeClock


class FailingTarget:
    """Takes what it is given, but for so many times."""

    def __init__(self) -> None:
        self.failures = 0
        self.tries = 0
        self.lines: list[bytes] = []
        self.is_closed = False

    async def deliver(self, lines: bytes) -> None:
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        self.lines += lines.splitlines()

    async def close(self) -> None:
        self.is_closed = True

    @property
    def numbers(self) -> list[int]:
        return [json.loads(line)["number"] for line in self.lines]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def audit(clock: FakeClock) -> MemoryAudit:
    return MemoryAudit(clock.now)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "data" / "audit-shipped"


def write(audit: MemoryAudit, count: int) -> None:
    for number in range(count):
        audit.write(AuditFact("acme", "store", "keys.create", f"k{number}\n\u2028"))


class TestShipper:
    async def test_ships_each_entry_once_and_in_order(self, audit: MemoryAudit, clock: FakeClock, note: Path) -> None:
        target = FailingTarget()
        shipper = AuditShipper(audit, target, note, clock.monotonic)
        await shipper.round()
        assert target.tries == 0
        write(audit, 3)
        await shipper.round()
        await shipper.round()
        write(audit, 2)
        await shipper.round()
        assert target.numbers == [1, 2, 3, 4, 5]

    async def test_ships_what_can_be_verified_by_whoever_gets_it(
        self, audit: MemoryAudit, clock: FakeClock, note: Path
    ) -> None:
        target = FailingTarget()
        write(audit, 3)
        await AuditShipper(audit, target, note, clock.monotonic).round()
        previous = FIRST_HASH
        for line in target.lines:
            entry = json.loads(line)
            fact = AuditFact(**{name: entry[name] for name in AuditFact._fields})
            assert entry["previous"] == previous
            assert is_chained(AuditRecord(entry["number"], entry["at"], fact, entry["previous"], entry["hash"]))
            previous = entry["hash"]

    async def test_tries_again_ever_more_rarely_and_loses_nothing(
        self, audit: MemoryAudit, clock: FakeClock, note: Path
    ) -> None:
        target = FailingTarget()
        target.failures = 40
        shipper = AuditShipper(audit, target, note, clock.monotonic)
        tries = []
        for _ in range(3600):
            write(audit, 1)
            before = target.tries
            try:
                await shipper.round()
            except ConnectionError:
                tries.append(clock.monotonic())
            if target.tries > before and not target.failures:
                break
            clock.advance(1)
        pauses = [later - sooner for sooner, later in pairwise(tries)]
        assert pauses[:6] == [2, 4, 8, 16, 32, 60]
        assert max(pauses) == 60
        clock.advance(60)
        await shipper.round()
        assert target.numbers == list(range(1, audit.head.number + 1))

    async def test_goes_on_after_a_restart_where_it_was(self, audit: MemoryAudit, clock: FakeClock, note: Path) -> None:
        write(audit, 3)
        await AuditShipper(audit, FailingTarget(), note, clock.monotonic).round()
        write(audit, 2)
        target = FailingTarget()
        await AuditShipper(audit, target, note, clock.monotonic).round()
        assert target.numbers == [4, 5]

    @pytest.mark.parametrize("damage", ["", "{", "[]", '{"number": "x"}', '{"number": 3, "hash": "other"}'])
    async def test_begins_at_the_beginning_of_a_log_it_does_not_know(
        self, audit: MemoryAudit, clock: FakeClock, note: Path, damage: str
    ) -> None:
        write(audit, 3)
        note.parent.mkdir()
        note.write_text(damage)
        target = FailingTarget()
        await AuditShipper(audit, target, note, clock.monotonic).round()
        assert target.numbers == [1, 2, 3]

    async def test_goes_on_behind_entries_that_are_too_old_by_now(
        self, audit: MemoryAudit, clock: FakeClock, note: Path
    ) -> None:
        write(audit, 3)
        await AuditShipper(audit, FailingTarget(), note, clock.monotonic).round()
        write(audit, 2)
        await audit.purge(clock.now() + 1)
        target = FailingTarget()
        await AuditShipper(audit, target, note, clock.monotonic).round()
        assert target.numbers == [5]

    async def test_ships_a_long_log_in_batches(
        self, audit: MemoryAudit, clock: FakeClock, note: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_ship, "BATCH", 10)
        write(audit, 35)
        target = FailingTarget()
        await AuditShipper(audit, target, note, clock.monotonic).round()
        assert (target.tries, len(target.lines)) == (4, 35)

    async def test_ships_what_is_left_when_it_closes(self, audit: MemoryAudit, clock: FakeClock, note: Path) -> None:
        target = FailingTarget()
        shipper = AuditShipper(audit, target, note, clock.monotonic)
        write(audit, 1)
        await shipper.close()
        assert (target.numbers, target.is_closed) == ([1], True)

    async def test_closes_when_its_target_does_not_take_anything(
        self, audit: MemoryAudit, clock: FakeClock, note: Path
    ) -> None:
        target = FailingTarget()
        target.failures = 5
        write(audit, 1)
        await AuditShipper(audit, target, note, clock.monotonic).close()
        assert target.is_closed


class TestFile:
    async def test_gets_lines_appended_that_its_owner_alone_may_read(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "audit.jsonl"
        target = FileTarget(path)
        await target.deliver(b"1\n")
        path.rename(tmp_path / "rotated")
        await target.deliver(b"2\n")
        await target.deliver(b"3\n")
        await target.close()
        assert path.read_bytes() == b"2\n3\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_that_cannot_be_written_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        with pytest.raises(OSError):
            await FileTarget(tmp_path).deliver(b"1\n")


async def test_standard_output_gets_the_lines(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    await StdoutTarget().deliver(b'{"number":1}\n')
    assert capfdbinary.readouterr().out == b'{"number":1}\n'


class Hook:
    """A webhook on loopback: what it got, and what it answers."""

    def __init__(self) -> None:
        hook = self
        self.status = 204
        self.bodies: list[tuple[str, bytes]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.bodies.append((self.headers["Content-Type"], body))
                self.send_response(hook.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/audit"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.close()


class TestWebhook:
    async def test_gets_batches_of_lines(self, hook: Hook) -> None:
        target = WebhookTarget(hook.url)
        await target.deliver(b"1\n2\n")
        await target.close()
        assert hook.bodies == [("application/x-ndjson", b"1\n2\n")]

    @pytest.mark.parametrize("status", [302, 400, 500])
    async def test_that_does_not_say_yes_has_not_taken_them(self, hook: Hook, status: int) -> None:
        hook.status = status
        target = WebhookTarget(hook.url)
        with pytest.raises(OSError, match=str(status)):
            await target.deliver(b"1\n")
        await target.close()
        assert len(hook.bodies) == 1

    async def test_that_is_away_has_not_taken_them_either(self) -> None:
        hook = Hook()
        hook.close()
        target = WebhookTarget(hook.url)
        with pytest.raises(OSError, match="cannot be reached"):
            await target.deliver(b"1\n")
        await target.close()


@pytest.mark.parametrize(
    ("ship", "kind"),
    [
        ("none", None),
        ("stdout", StdoutTarget),
        ("/var/log/audit.jsonl", FileTarget),
        ("audit.jsonl", FileTarget),
        ("https://siem.example/in", WebhookTarget),
        ("http://127.0.0.1:1/in", WebhookTarget),
    ],
)
async def test_the_setting_names_the_target(ship: str, kind: type | None) -> None:
    target = open_target(ship)
    assert type(target) is (kind or type(None))
    if target is not None:
        await target.close()


@pytest.mark.parametrize("ship", ["http://siem.example/in", "https://", "http:///x"])
def test_entries_cross_no_network_in_clear(ship: str) -> None:
    with pytest.raises(SettingsError):
        open_target(ship)
