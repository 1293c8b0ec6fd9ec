"""Tokens have one spelling, and live a day at most."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_relay.auth.tokens import MAX_TOKEN_CHARS, read_token, require_names, require_plain, require_times
from a2a_relay.errors import Refused

NOW = 1_700_000_000.0
DAY = 24 * 3600


def encoded(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def spelled(header: str | bytes = '{"alg":"HS256"}', claims: str | bytes = '{"a":1}', signature: bytes = b"s") -> str:
    return ".".join(map(encoded, (header, claims, signature)))


def test_a_token_is_read_as_it_was_written() -> None:
    token = read_token(spelled('{"alg":"ES256","kid":"k"}', '{"tenant":"acme","n":[1.5]}', b"\xff\xfe"))
    assert token is not None
    assert (token.algorithm, token.key_id, token.claim("tenant"), token.claim("n")) == ("ES256", "k", "acme", "")
    assert token.signature == b"\xff\xfe"
    assert (
        token.signed.decode() == spelled('{"alg":"ES256","kid":"k"}', '{"tenant":"acme","n":[1.5]}').rpartition(".")[0]
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "...",
        spelled() + ".",
        spelled() + "." + encoded("x"),
        spelled() + "=",
        spelled(signature=b"ss")[:-1] + "x" if not spelled(signature=b"ss").endswith("x") else "",
        spelled().replace(".", ". ", 1),
        spelled() + "\n",
        spelled(signature=b"\xff\xff\xff").replace("____", "////"),
        spelled('{"alg":"HS256","alg":"none"}'),
        spelled(claims='{"tenant":"acme","tenant":"other"}'),
        spelled(claims='{"a":{"b":1,"b":2}}'),
        spelled(claims='{"exp":NaN}'),
        spelled(claims='{"exp":Infinity}'),
        spelled(claims='{"exp":-Infinity}'),
        spelled(claims="[1]"),
        spelled('"HS256"'),
        spelled(claims=b'{"a":"\xff"}'),
        spelled(claims=b"\xef\xbb\xbf{}"),
        spelled(claims='{"a":1'),
        spelled(claims='{"a":' + "9" * 5000 + "}"),
        spelled(claims='{"a":' + "[" * 3000 + "]" * 3000 + "}"),
        spelled(claims=json.dumps({"a": "x" * MAX_TOKEN_CHARS})),
        "é" + spelled()[1:],
    ],
)
def test_what_has_another_spelling_is_no_token(text: str) -> None:
    assert read_token(text) is None


@given(
    st.text(max_size=60) | st.lists(st.sampled_from(["e30", "e31", ".", "=", "-_", "A", "{"]), max_size=9).map("".join)
)
def test_reading_never_fails(text: str) -> None:
    read_token(text)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+JWT"])
def test_access_tokens_are_of_these_types(typ: str) -> None:
    require_plain(read_token(spelled(json.dumps({"alg": "HS256", "typ": typ}))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        {"crit": []},
        {"crit": ["exp"]},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"typ": "dpop+jwt"},
        {"typ": None},
        {"typ": 7},
        {"kid": 7},
        {"kid": ""},
        {"kid": "k" * 257},
        {"kid": ["a"]},
    ],
)
def test_a_header_that_asks_for_more_is_refused(header: dict[str, Any]) -> None:
    token = read_token(spelled(json.dumps({"alg": "HS256", **header})))
    assert token is not None
    with pytest.raises(Refused):
        require_plain(token)


@pytest.mark.parametrize(
    "claims, expected",
    [
        ({"exp": NOW + 5}, NOW + 5),
        ({"exp": NOW - 60}, NOW - 60),
        ({"exp": NOW + DAY + 60}, NOW + DAY + 60),
        ({"exp": NOW + 5, "nbf": NOW + 60, "iat": NOW + 60}, NOW + 5),
        ({"exp": NOW + 0.5, "iat": 0}, NOW + 0.5),
    ],
)
def test_a_token_lives_within_a_minutes_leeway(claims: dict[str, Any], expected: float) -> None:
    assert require_times(claims, NOW) == expected


@pytest.mark.parametrize(
    "claims, message",
    [
        ({}, "the token needs an exp claim"),
        ({"exp": NOW - 60.5}, "the token has expired"),
        ({"exp": NOW + DAY + 61}, "the token expires more than 24 h ahead"),
        ({"exp": NOW, "nbf": NOW + 61}, "the token's nbf is ahead"),
        ({"exp": NOW, "iat": NOW + 61}, "the token's iat is ahead"),
        *(
            ({"exp": NOW} | {name: found}, f"the token's {name} is not an instant")
            for name in ("exp", "nbf", "iat")
            for found in (True, None, "1700000000", -1, 1e12, 1e300, float("inf"), float("nan"), [NOW], {})
        ),
    ],
)
def test_a_token_is_refused_outside_of_its_life(claims: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        require_times(claims, NOW)
    assert refused.value.message == message


@pytest.mark.parametrize("found", [True, None, 1.5, [], {}])
@pytest.mark.parametrize("name", ["sub", "jti"])
def test_names_are_text_or_whole_numbers(name: str, found: object) -> None:
    require_names({name: "x"})
    require_names({name: 7})
    with pytest.raises(Refused):
        require_names({name: found})
