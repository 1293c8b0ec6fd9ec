"""Tokens: minted, found, and sent only where they belong."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from a2a_relay.auth.shared_secret import SharedSecret
from a2a_relay.client import tokens
from a2a_relay.client.credentials import Credentials
from a2a_relay.client.failures import ClientError
from a2a_relay.core.credential import Credential
from a2a_relay.core.principal import Role
from a2a_relay.settings import Profile

SECRET = "a secret that is long enough for anybody"
NOW = 1_800_000_000.0
LOCAL = "http://127.0.0.1:8080"


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    (tmp_path / "jwt_secret").write_text(SECRET, encoding="utf-8")
    return Profile(LOCAL, "local", tmp_path / "jwt_secret")


def claims(token: str | None) -> dict[str, Any]:
    assert token is not None
    return jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})


def test_a_minted_token_is_what_the_relay_takes() -> None:
    relay = SharedSecret(SECRET)
    agent = relay.authenticate(
        Credential(tokens.mint(SECRET, NOW, 3600, tenant="acme", role="agent", agent="echo")), NOW
    )
    assert (agent.role, str(agent.address)) == (Role.AGENT, "acme/echo")
    client = relay.authenticate(
        Credential(tokens.mint(SECRET, NOW, 86400, tenant="acme", role="client", user="ann")), NOW
    )
    assert (client.role, client.identity, client.tenant) == (Role.SENDER, "ann", "acme")
    assert relay.authenticate(Credential(tokens.mint(SECRET, NOW, 60, tenant="acme")), NOW).role is Role.ADMIN


@pytest.mark.parametrize("life_seconds", [0, -1, 86401])
def test_no_token_is_minted_that_the_relay_would_not_take(life_seconds: float) -> None:
    with pytest.raises(ClientError, match="at most 24 h"):
        tokens.mint(SECRET, NOW, life_seconds, tenant="acme")


def test_a_token_that_is_no_jwt_tells_nothing_of_itself() -> None:
    assert tokens.claims_of("an-opaque-key") is None


def test_a_token_comes_from_a_file_or_a_command(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" abc\n", encoding="utf-8")
    assert tokens.from_file(tmp_path / "token") == "abc"
    assert tokens.from_command(python("print('abc')")) == "abc"


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "é", "a\x1b[0m"])
def test_what_is_no_token_is_refused_without_repeating_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    with pytest.raises(ClientError, match=r"holds no token$"):
        tokens.from_file(tmp_path / "token")


@pytest.mark.parametrize("command", ["", "no-such-program-anywhere", "'unbalanced"])
def test_a_command_that_cannot_be_run_is_one_clear_line(command: str) -> None:
    with pytest.raises(ClientError, match="cannot be run"):
        tokens.from_command(command)


def test_a_command_that_fails_is_one_clear_line() -> None:
    with pytest.raises(ClientError, match="exit code 3"):
        tokens.from_command(python("raise SystemExit(3)"))


# --- which relay, which token ---


def test_a_flag_counts_more_than_the_environment_and_that_more_than_the_profile(profile: Profile) -> None:
    environ = {"RELAY_URL": "https://env.example/"}
    assert Credentials(environ, profile, relay_flag="https://flag.example/").relay == "https://flag.example"
    assert Credentials(environ, profile).relay == "https://env.example"
    assert Credentials({}, profile).relay == LOCAL
    assert Credentials({}).relay is None


def test_beside_a_local_relay_tokens_are_minted_for_the_tenant_in_question(profile: Profile) -> None:
    credentials = Credentials({}, profile)
    assert credentials.tenant == "local"
    found = claims(credentials.token_for(f"{LOCAL}/t/acme/a2a/echo", "acme", NOW, role="client"))
    assert (found["tenant"], found["role"], found["exp"]) == ("acme", "client", NOW + 300)
    assert found["user_id"]


def test_the_local_profile_says_nothing_about_another_relay(profile: Profile) -> None:
    credentials = Credentials({"RELAY_URL": "https://relay.example"}, profile)
    assert credentials.tenant is None
    assert credentials.token_for("https://relay.example/t/a/a2a/b", "a", NOW, role="client") is None


@pytest.mark.parametrize("environ", [{"RELAY_TOKEN": "abc"}, {"RELAY_JWT_SECRET": SECRET}])
def test_a_token_of_the_environment_goes_to_the_relay_in_use_alone(environ: dict[str, str]) -> None:
    credentials = Credentials(environ | {"RELAY_URL": "https://relay.example"})
    assert credentials.token_for("https://relay.example/t/a/a2a/b", "a", NOW, role="client")
    assert credentials.token_for("https://evil.example/t/a/a2a/b", "a", NOW, role="client") is None


def test_a_token_that_is_given_goes_where_it_is_told_and_names_the_tenant() -> None:
    token = tokens.mint(SECRET, NOW, 60, tenant="acme")
    credentials = Credentials({}, token=token)
    assert credentials.token_for("https://anywhere.example/", None, NOW, role=None) == token
    assert credentials.tenant == "acme"
    assert Credentials({"RELAY_TOKEN": token}).tenant == "acme"
    assert Credentials({"RELAY_TOKEN": token}, tenant_flag="other").tenant == "other"


def test_what_is_missing_is_asked_for() -> None:
    with pytest.raises(ClientError, match="which relay"):
        Credentials({}).require_relay()
    with pytest.raises(ClientError, match="which tenant"):
        Credentials({}).require_tenant()


def test_a_token_is_not_in_the_repr() -> None:
    assert "hush" not in repr(Credentials({}, token="hush"))
