"""The command line: what it prints, what it refuses, and what it does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from a2a_relay.cli import COMMANDS, connect_log, main
from a2a_relay.core.address import Address
from a2a_relay.ports.directory import AgentRecord
from a2a_relay.settings import SETTINGS, Settings, resolve_secret, write_profile
from a2a_relay.stores.sqlite.database import Database
from a2a_relay.stores.sqlite.directory import SqliteDirectory

SECRET = "a secret that is long enough for anybody"


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an environment that says nothing but where the data is."""
    for name in [*os.environ]:
        if name.startswith("RELAY_") or name in ("JWT_SECRET", "PORT", "BIND"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RELAY_DATA_DIR", str(tmp_path))

    def run_command(*words: str, **environ: str) -> Ran:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(words)
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run_command


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)


# --- as a whole ---


def test_every_command_explains_itself(run: Run) -> None:
    assert all(name in run("--help").out for name in COMMANDS)
    for name in COMMANDS:
        shown = run(name, "--help")
        assert shown.code == 0
        assert "Usage: relay " + name in shown.out


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").out.startswith("relay ")


@pytest.mark.parametrize("words", [("nonsense",), ("send",), ("agents", "forget"), ("serve", "--nonsense")])
def test_a_command_line_that_makes_no_sense_ends_with_2(words: tuple[str, ...], run: Run) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert "Error: " in ran.err


def test_the_client_commands_import_no_part_of_the_server() -> None:
    rooms = "'fronts', 'node', 'stores', 'assembly', 'telemetry'"
    ran = python(
        "import importlib, sys; from a2a_relay import cli\n"
        "for name in cli.COMMANDS: importlib.import_module(f'a2a_relay.cli.{name}')\n"
        f"found = [m for m in sys.modules if m.partition('a2a_relay.')[2].partition('.')[0] in ({rooms})]\n"
        "found += [m for m in ('uvicorn', 'starlette', 'httptools', 'uvloop') if m in sys.modules]\n"
        "sys.exit(str(found) if found else 0)"
    )
    assert ran.returncode == 0, ran.stderr


def test_serve_without_the_server_packages_says_the_one_command_that_mends_it(tmp_path: Path) -> None:
    ran = python(
        "import sys; sys.modules['uvicorn'] = None\n"
        f"from a2a_relay.cli import main; sys.exit(main(['serve', '--data-dir', {str(tmp_path)!r}]))"
    )
    assert ran.returncode == 2
    assert ran.stderr.strip() == "relay: relay serve needs an extra package: pip install 'a2a-relay[server]'"


# --- serve ---


def test_serves_help_shows_the_few_that_matter_and_all_others_are_taken(run: Run) -> None:
    shown = run("serve", "--help").out
    for setting in SETTINGS:
        assert (f"\n  {setting.flag} " in shown) is setting.in_help
    assert json.loads(run("config", "--request-timeout", "5m", "--json").out)["settings"]["request_timeout"] == {
        "value": 300,
        "origin": "flag --request-timeout",
    }


@pytest.mark.parametrize(
    "words,complaint",
    [
        (("--port", "http"), "relay: port (flag --port) must be a whole number, not 'http'"),
        (
            ("--tls-cert", "/c", "--tls-key", "/k"),
            "relay: tls_cert /c and tls_key /k: [Errno 2] No such file or directory",
        ),
        (("--tls-cert", "c.pem"), "relay: tls_cert and tls_key are needed together"),
        (("--config", "/nowhere.toml"), "relay: flag --config: there is no file /nowhere.toml"),
    ],
)
def test_serve_refuses_bad_settings_in_one_line(words: tuple[str, ...], complaint: str, run: Run) -> None:
    ran = run("serve", *words)
    assert (ran.code, ran.err.strip()) == (2, complaint)


# --- config ---


def test_config_shows_every_setting_with_its_origin_and_hides_secrets(run: Run, tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text("max_headers = 7", encoding="utf-8")
    ran = run("config", "--port", "9000", "--json", RELAY_JWT_SECRET=SECRET, BIND="::1")
    assert SECRET not in ran.out
    shown = json.loads(ran.out)["settings"]
    assert set(shown) == {setting.name for setting in SETTINGS}
    assert shown["port"] == {"value": 9000, "origin": "flag --port"}
    assert shown["host"] == {"value": "::1", "origin": "env BIND"}
    assert shown["max_headers"] == {"value": 7, "origin": f"file {tmp_path / 'relay.toml'}"}
    assert shown["jwt_secret"] == {"value": "********", "origin": "env RELAY_JWT_SECRET"}


def test_config_for_a_person_is_one_line_per_setting_and_shows_warnings(run: Run) -> None:
    ran = run("config", "--host", "0.0.0.0")
    printed = ran.out.splitlines()
    assert len([line for line in printed if not line.startswith("warning: ")]) == len(SETTINGS)
    assert any(line.startswith("warning: listening on 0.0.0.0 without TLS") for line in printed)


# --- token ---


def claims(token: str, secret: str = SECRET) -> dict[str, Any]:
    return jwt.decode(token.strip(), secret, algorithms=["HS256"])


def test_a_token_is_minted_from_the_secret_of_the_environment(run: Run) -> None:
    ran = run("token", "--tenant", "acme", "--agent", "echo", "--role", "agent", RELAY_JWT_SECRET=SECRET)
    found = claims(ran.out)
    assert (found["tenant"], found["agent_id"], found["role"]) == ("acme", "echo", "agent")
    assert found["exp"] - found["iat"] == 12 * 3600


def test_a_token_is_minted_from_a_secret_file_whatever_the_environment_says(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another secret that is long enough, too", encoding="utf-8")
    ran = run("token", "--tenant", "a", "--jwt-secret-file", str(tmp_path / "secret"), RELAY_JWT_SECRET=SECRET)
    assert claims(ran.out, "another secret that is long enough, too")["tenant"] == "a"


def test_beside_a_local_relay_a_token_needs_no_flags(run: Run, tmp_path: Path) -> None:
    settings = Settings.default(data_dir=tmp_path)
    secret = resolve_secret(settings)
    write_profile(settings, "http://127.0.0.1:8080")
    found = claims(run("token").out, secret)
    assert (found["tenant"], "role" in found) == ("local", False)
    shown = json.loads(run("token", "--role", "client", "--user", "ann", "--expires", "5m", "--json").out)
    assert (shown["tenant"], shown["role"], shown["user"]) == ("local", "client", "ann")
    assert claims(shown["token"], secret)["exp"] == shown["expires_at"]


@pytest.mark.parametrize(
    "words,complaint",
    [
        ((), "--tenant is needed"),
        (("--tenant", "a/b"), "--tenant"),
        (("--tenant", "a", "--agent", ".."), "--agent"),
        (("--tenant", "a", "--role", "agent"), "needs --agent"),
        (("--tenant", "a", "--expires", "soon"), "duration"),
        (("--tenant", "a", "--role", "king"), "king"),
    ],
)
def test_token_asks_for_what_makes_sense(words: tuple[str, ...], complaint: str, run: Run) -> None:
    ran = run("token", *words, RELAY_JWT_SECRET=SECRET)
    assert ran.code == 2
    assert complaint in ran.err


def test_token_refuses_what_the_relay_would(run: Run) -> None:
    long_lived = run("token", "--tenant", "a", "--expires", "25h", RELAY_JWT_SECRET=SECRET)
    assert (long_lived.code, long_lived.err) == (1, "relay: a token lives at most 24 h\n")
    assert "has 5 bytes" in run("token", "--tenant", "a", RELAY_JWT_SECRET="short").err


def test_without_a_secret_token_says_where_it_looks(run: Run) -> None:
    ran = run("token", "--tenant", "a")
    assert (ran.code, ran.err) == (2, "relay: no secret: set RELAY_JWT_SECRET or give --jwt-secret-file\n")


# --- commands that talk to a relay, without one ---


@pytest.mark.parametrize(
    "words", [("send", "echo", "hi"), ("agents",), ("doctor",), ("connect", "--upstream", "http://x")]
)
def test_without_a_relay_every_command_asks_which(words: tuple[str, ...], run: Run) -> None:
    ran = run(*words)
    assert ran.code == 1
    assert ran.err.startswith("relay: which relay? Give --relay URL, set RELAY_URL")


def test_only_one_source_of_a_token_is_taken(run: Run) -> None:
    assert run("send", "echo", "hi", "--token", "a", "--token-file", "b").code == 2


def test_connect_says_when_a_token_is_for_another_agent(run: Run) -> None:
    token = run("token", "--tenant", "a", "--agent", "one", "--role", "agent", RELAY_JWT_SECRET=SECRET).out.strip()
    ran = run("connect", "--upstream", "http://x", "--relay", "http://127.0.0.1:9", "--agent", "two", RELAY_TOKEN=token)
    assert (ran.code, "for the agent 'one', not for 'two'" in ran.err) == (2, True)


def test_a_stranger_cannot_forge_lines_through_an_error(run: Run, tmp_path: Path) -> None:
    ran = run("send", "echo", "hi", "--token-file", str(tmp_path / "no\x1b[2J\nsuch"), "--relay", "http://127.0.0.1:9")
    assert ran.err.count("\n") == 1
    assert "\x1b" not in ran.err


# --- what connect tells ---


def test_the_public_url_is_told_when_the_agent_is_attached() -> None:
    event = {"tenant": "a", "agent": "e", "url": "http://r/t/a/a2a/e/"}
    assert connect_log.attached_line(event) == "a/e is attached: http://r/t/a/a2a/e/"


@pytest.mark.parametrize(
    "name,event,line",
    [
        ("detached", {"reason": "gone", "retry_in_seconds": 1.5}, "detached: gone; trying again in 1.5 s"),
        ("paused", {"reason": "\x1b[2J"}, "paused: \\x1b[2J"),
        ("detached", {}, "detached"),
        ("news", {"a": 1, "b": "x\ny"}, "news a=1 b=x\\ny"),
    ],
)
def test_the_connectors_log_is_told_in_lines(name: str, event: dict[str, Any], line: str) -> None:
    assert connect_log.line_of(name, event) == line


# --- backup and restore ---


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of a relay that has run here, with one agent in it."""
    file = tmp_path / "relay.db"
    database = Database(file)
    SqliteDirectory(database).put(AgentRecord(Address("acme", "zaf"), b'{"name":"Zaf"}', "x", 1.0, 2.0))
    database.close()
    return file


def agents_in(store: Path) -> list[str]:
    database = Database(store)
    try:
        return [record.address.agent for record in SqliteDirectory(database).of_tenant("acme")]
    finally:
        database.close()


def test_a_backup_is_taken_and_restored(run: Run, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    taken = run("backup", str(copy), "--verify")
    assert (taken.code, taken.out) == (0, f"{store} is copied to {copy}, and checked\n")
    assert copy.stat().st_mode & 0o777 == 0o600
    database = Database(store)
    SqliteDirectory(database).forget(Address("acme", "zaf"))
    database.close()
    assert agents_in(store) == []
    restored = run("restore", str(copy))
    assert restored.out == f"{copy} is restored to {store}\nletters that wait in it: 0\n"
    assert agents_in(store) == ["zaf"]


def test_a_backup_says_the_same_to_programs(run: Run, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    taken = json.loads(run("backup", str(copy), "--json").out)
    assert taken == {"store": str(store), "backup": str(copy), "bytes": copy.stat().st_size, "verified": False}
    other = tmp_path / "other.db"
    restored = json.loads(run("restore", str(copy), "--store", f"sqlite://{other}", "--json").out)
    assert restored == {"store": str(other), "backup": str(copy), "waiting": 0}
    assert agents_in(other) == ["zaf"]


def test_a_store_is_not_replaced_under_a_relay_that_runs_on_it(run: Run, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("backup", str(copy))
    database = Database(store)
    try:
        refused = run("restore", str(copy))
    finally:
        database.close()
    assert refused.code == 2
    assert refused.err == f"relay: a relay is running on {store}: stop it before a backup is restored\n"


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_is_no_file_is_neither_copied_nor_restored(command: str, run: Run, tmp_path: Path) -> None:
    nothing = run(command, str(tmp_path / "nothing.db"))
    assert (nothing.code, "there is no store" in nothing.err) == (2, True)
    memory = run(command, str(tmp_path / "copy.db"), "--store", "memory:")
    assert memory.err == "relay: store 'memory:' is no file: only sqlite: stores can be copied\n"
