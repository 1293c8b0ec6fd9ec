"""Where tokens come from."""

from __future__ import annotations

import sys
from pathlib import Path

import jwt
import pytest

from a2a_relay.connector import tokens
from a2a_relay.connector.refused import ConnectorRefused
from a2a_relay.connector.tokens import MintedToken, StaticToken, TokenCommand, TokenFile, TokenUnavailable

SECRET = "a-secret-of-a-test-that-is-long-enough"


def printing(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_token_is_given_as_it_is() -> None:
    assert await StaticToken(" abc\n").read() == "abc"
    assert await tokens.as_source("abc").read() == "abc"
    with pytest.raises(TokenUnavailable):
        await StaticToken("").read()


async def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = TokenFile(path)
    with pytest.raises(TokenUnavailable, match="cannot be read"):
        await source.read()
    path.write_text("first\n")
    assert await source.read() == "first"
    path.write_text("second")
    assert await source.read() == "second"


@pytest.mark.parametrize("content", ["", " \n", "two words", "line\nline", "x" * 20_000, "caf\u00e9"])
async def test_a_file_that_holds_no_token_is_no_source(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TokenUnavailable):
        await TokenFile(path).read()


async def test_a_command_prints_the_token() -> None:
    assert await TokenCommand(printing("print('abc')")).read() == "abc"


@pytest.mark.parametrize(
    "command,says",
    [
        (["/no/such/program"], "cannot be started"),
        (printing("raise SystemExit(3)"), "exit code 3"),
        (printing("pass"), "gave no token"),
        ("", "empty"),
    ],
)
async def test_a_command_that_fails_says_how(command: str | list[str], says: str) -> None:
    with pytest.raises(TokenUnavailable, match=says):
        await TokenCommand(command).read()


async def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(TokenUnavailable, match="did not end"):
        await TokenCommand(printing("import time; time.sleep(60)"), timeout_seconds=0.2).read()


async def test_a_function_may_be_plain_or_async() -> None:
    async def later() -> str:
        return "async"

    assert await tokens.as_source(lambda: "plain").read() == "plain"
    assert await tokens.as_source(later).read() == "async"
    with pytest.raises(TokenUnavailable, match="ZeroDivisionError"):
        await tokens.as_source(lambda: str(1 / 0)).read()


def test_a_command_with_an_open_quote_is_refused() -> None:
    with pytest.raises(ConnectorRefused):
        TokenCommand("print 'x")


async def test_minted_tokens_are_renewed_only_near_their_end() -> None:
    now = [1_000_000.0]
    source = MintedToken(SECRET, "acme", "echo", now=lambda: now[0])
    first = await source.read()
    claims = jwt.decode(first, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"tenant": "acme", "agent_id": "echo", "role": "agent", "exp": 1_000_000 + 12 * 3600}
    now[0] += 11 * 3600
    assert await source.read() == first
    now[0] += 3100
    assert await source.read() != first


def test_a_token_says_itself_that_it_has_expired() -> None:
    token = jwt.encode({"exp": 100}, SECRET)
    assert tokens.is_expired(token, now=100)
    assert not tokens.is_expired(token, now=99)
    assert not tokens.is_expired("not.a.jwt", now=99)
    assert not tokens.is_expired("", now=99)
