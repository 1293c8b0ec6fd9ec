"""Who is asking, as the author of an agent finds it out."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from a2a_relay.auth.stamp_signer import StampSigner
from a2a_relay.connector import senders
from a2a_relay.connector.senders import KeySet, RelayKeys, SenderMiddleware, SenderRefused, verify
from a2a_relay.errors import MissingExtra
from a2a_relay.testing import FakeClock
from a2a_relay.wire.stamps import LETTER_TYPE, SENDER_TYPE

NOW = 1_000_000.0
CLAIMS = {
    "iss": "https://relay.example",
    "sub": "ann",
    "aud": "acme/zaf",
    "role": "sender",
    "tenant": "acme",
    "key": "k_1",
    "via": [],
    "iat": int(NOW),
    "exp": int(NOW) + 300,
    "jti": "j-1",
    "cnf": {"session": "e-1"},
}
TYPES = {"typ": SENDER_TYPE}


@pytest.fixture
def signer(tmp_path: Path) -> StampSigner:
    return StampSigner(tmp_path / "key.pem")


@pytest.fixture
def private(signer: StampSigner, tmp_path: Path) -> Ed25519PrivateKey:
    signer.sign("t", {})
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def kid_of(signer: StampSigner) -> str:
    return str(json.loads(signer.key_set)["keys"][0]["kid"])


def stated(signer: StampSigner, type: str = SENDER_TYPE, **claims: Any) -> str:
    return signer.sign(type, {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None})


def check(signer: StampSigner, statement: str, audience: str = "acme/zaf", now: float = NOW) -> senders.Sender:
    return verify(statement, KeySet.read(signer.key_set), audience, now=now)


def test_a_good_statement_says_who_asks(signer: StampSigner) -> None:
    sender = check(signer, stated(signer))
    assert (sender.identity, sender.role, sender.tenant, sender.key, sender.issuer) == (
        "ann",
        "sender",
        "acme",
        "k_1",
        "",
    )
    assert (sender.relay, sender.via, sender.is_letter) == ("https://relay.example", (), False)


def test_a_letter_says_so(signer: StampSigner) -> None:
    sender = check(signer, stated(signer, LETTER_TYPE, letter="rly-1", accepted_at=5))
    assert sender.is_letter
    assert sender.claims["accepted_at"] == 5


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "acme/other"},
        {"aud": "ACME/zaf"},
        {"aud": ["acme/zaf", "acme/other"]},
        {"aud": None},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": int(NOW) - 61},
        {"exp": int(NOW) + 361},
        {"sub": None},
        {"sub": 7},
        {"jti": None},
        {"role": ["admin"]},
        {"via": "x"},
        {"via": [1]},
        {"letter": "rly-1"},
    ],
)
def test_a_statement_that_says_anything_else_is_refused(signer: StampSigner, claims: dict[str, Any]) -> None:
    with pytest.raises(SenderRefused):
        check(signer, stated(signer, **claims))


def test_clocks_may_be_a_minute_apart(signer: StampSigner) -> None:
    for seconds in (-60, 0, 360):
        assert check(signer, stated(signer), now=NOW + seconds).identity == "ann"


def forged_with_none(signer: StampSigner, _: Ed25519PrivateKey) -> str:
    return jwt.encode(CLAIMS, None, "none", headers={**TYPES, "kid": kid_of(signer)})


def forged_by_the_public_key_as_a_secret(signer: StampSigner, private: Ed25519PrivateKey) -> str:
    secret = private.public_key().public_bytes_raw().ljust(64, b"\0")
    return jwt.encode(CLAIMS, secret, "HS256", headers={**TYPES, "kid": kid_of(signer)})


def signed_by_another(signer: StampSigner, _: Ed25519PrivateKey) -> str:
    return jwt.encode(CLAIMS, Ed25519PrivateKey.generate(), "EdDSA", headers={**TYPES, "kid": kid_of(signer)})


def of_an_unknown_key(_: StampSigner, private: Ed25519PrivateKey) -> str:
    return jwt.encode(CLAIMS, private, "EdDSA", headers={**TYPES, "kid": "../../key"})


def without_a_key(_: StampSigner, private: Ed25519PrivateKey) -> str:
    return jwt.encode(CLAIMS, private, "EdDSA", headers=TYPES)


def of_another_type(signer: StampSigner, private: Ed25519PrivateKey) -> str:
    return jwt.encode(CLAIMS, private, "EdDSA", headers={"typ": "JWT", "kid": kid_of(signer)})


def with_the_key_beside_it(signer: StampSigner, private: Ed25519PrivateKey) -> str:
    own = Ed25519PrivateKey.generate()
    x = urlsafe_b64encode(own.public_key().public_bytes_raw()).decode().rstrip("=")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x}
    return jwt.encode(CLAIMS, own, "EdDSA", headers={**TYPES, "kid": kid_of(signer), "jwk": jwk, "jku": "http://x"})


def that_is_critical(signer: StampSigner, private: Ed25519PrivateKey) -> str:
    return jwt.encode(CLAIMS, private, "EdDSA", headers={**TYPES, "kid": kid_of(signer), "crit": ["b64"], "b64": True})


def with_changed_claims(signer: StampSigner, private: Ed25519PrivateKey) -> str:
    head, _, signature = stated(signer).split(".")
    other = urlsafe_b64encode(json.dumps({**CLAIMS, "sub": "bob"}).encode()).decode().rstrip("=")
    return f"{head}.{other}.{signature}"


def without_a_signature(signer: StampSigner, _: Ed25519PrivateKey) -> str:
    return stated(signer).rpartition(".")[0] + "."


def too_long(signer: StampSigner, _: Ed25519PrivateKey) -> str:
    return stated(signer, sub="a" * 9000)


@pytest.mark.parametrize(
    "forge",
    [
        forged_with_none,
        forged_by_the_public_key_as_a_secret,
        signed_by_another,
        of_an_unknown_key,
        without_a_key,
        of_another_type,
        with_the_key_beside_it,
        that_is_critical,
        with_changed_claims,
        without_a_signature,
        too_long,
        lambda *_: "alice",
        lambda *_: "",
        lambda *_: "a.b.c",
        lambda *_: "\u00e9.\u00e9.\u00e9",
    ],
)
def test_a_forged_statement_is_refused(
    signer: StampSigner, private: Ed25519PrivateKey, forge: Callable[[StampSigner, Ed25519PrivateKey], str]
) -> None:
    with pytest.raises(SenderRefused):
        check(signer, forge(signer, private))


def test_no_change_of_a_single_character_passes(signer: StampSigner) -> None:
    statement = stated(signer)
    passed = []
    for place in range(0, len(statement) - 1, 3):  # the last digit has bits that mean nothing
        other = "A" if statement[place] != "A" else "B"
        try:
            check(signer, statement[:place] + other + statement[place + 1 :])
        except SenderRefused:
            continue
        passed.append(place)
    assert passed == []


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys":7}', b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AA"}]}']
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(SenderRefused):
        KeySet.read(document)


def test_keys_of_other_kinds_are_left_alone(signer: StampSigner) -> None:
    listed = [{"kty": "RSA", "kid": "r", "n": "AQ", "e": "AQAB"}, "x", *json.loads(signer.key_set)["keys"]]
    assert len(KeySet.read({"keys": listed})) == 1


class KeyServer:
    """What a relay answers when it is asked for its keys."""

    def __init__(self, *answers: bytes | int) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.clock = FakeClock()
        transport = httpx.MockTransport(self._answer)
        self.keys = RelayKeys(
            "https://relay.example/", transport=transport, now=lambda: NOW, monotonic=self.clock.monotonic
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, int):
            return httpx.Response(answer, headers={"location": "https://elsewhere.example/"})
        return httpx.Response(200, content=answer)


class TestKeysOfARelay:
    async def test_are_fetched_once_from_its_own_address(self, signer: StampSigner) -> None:
        server = KeyServer(signer.key_set)
        for number in range(3):
            assert (await server.keys.verify(stated(signer, jti=f"j{number}"), "acme/zaf")).identity == "ann"
        assert server.asked == ["https://relay.example/.well-known/jwks.json"]

    async def test_are_fetched_again_for_a_new_key_but_once_a_minute(self, signer: StampSigner, tmp_path: Path) -> None:
        later, never = StampSigner(tmp_path / "later.pem"), StampSigner(tmp_path / "never.pem")
        server = KeyServer(signer.key_set, later.key_set)
        await server.keys.verify(stated(signer), "acme/zaf")
        with pytest.raises(SenderRefused):
            await server.keys.verify(stated(later), "acme/zaf")
        server.clock.advance(61)
        assert (await server.keys.verify(stated(later), "acme/zaf")).identity == "ann"
        for _ in range(20):
            with pytest.raises(SenderRefused):
                await server.keys.verify(stated(never), "acme/zaf")
        assert len(server.asked) == 2

    async def test_that_were_taken_out_are_good_no_more(self, signer: StampSigner, tmp_path: Path) -> None:
        later = StampSigner(tmp_path / "later.pem")
        server = KeyServer(signer.key_set, later.key_set)
        await server.keys.verify(stated(signer), "acme/zaf")
        server.clock.advance(61)
        await server.keys.verify(stated(later), "acme/zaf")
        with pytest.raises(SenderRefused):
            await server.keys.verify(stated(signer), "acme/zaf")

    @pytest.mark.parametrize("answer", [404, 302, b"x" * 70_000, b"no keys"])
    async def test_that_cannot_be_read_refuse_and_are_asked_for_again_soon(
        self, signer: StampSigner, answer: bytes | int
    ) -> None:
        server = KeyServer(answer, signer.key_set)
        for _ in range(2):
            with pytest.raises(SenderRefused):
                await server.keys.verify(stated(signer), "acme/zaf")
        assert len(server.asked) == 1
        server.clock.advance(6)
        assert (await server.keys.verify(stated(signer), "acme/zaf")).identity == "ann"

    async def test_remember_a_statement_for_its_own_audience_only(self, signer: StampSigner) -> None:
        server, statement = KeyServer(signer.key_set), stated(signer)
        await server.keys.verify(statement, "acme/zaf")
        with pytest.raises(SenderRefused):
            await server.keys.verify(statement, "acme/other")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "is_available", lambda: False)
    with pytest.raises(MissingExtra, match=r"a2a-relay\[verify\]"):
        RelayKeys("https://relay.example")


class TestTheMiddleware:
    async def ask(
        self, signer: StampSigner, *headers: tuple[bytes, bytes], path: str = "/", **options: Any
    ) -> tuple[Any, list[Any]]:
        """The scope that the agent has seen, None if it was not asked; and what was sent."""
        seen: list[Any] = []
        sent: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope)

        async def send(message: Any) -> None:
            sent.append(message)

        guarded = SenderMiddleware(app, KeySet.read(signer.key_set), "acme/zaf", **options)
        method = "GET" if "well-known" in path else "POST"
        scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"x"), *headers]}
        await guarded(scope, lambda: None, send)  # type: ignore[arg-type, return-value]
        return (seen[0] if seen else None), sent

    @pytest.fixture(autouse=True)
    def now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(senders.time, "time", lambda: NOW)

    async def test_tells_the_agent_who_asks(self, signer: StampSigner) -> None:
        header = (b"a2a-relay-sender", stated(signer).encode())
        scope, _ = await self.ask(signer, header)
        assert scope["a2a_relay.sender"].identity == "ann"
        assert header in scope["headers"]

    async def test_takes_away_what_could_be_taken_for_the_sender(self, signer: StampSigner) -> None:
        header = (b"a2a-relay-sender", stated(signer).encode())
        scope, _ = await self.ask(signer, header, (b"a2a_relay_sender", b"mallory"))
        assert scope["headers"] == [(b"host", b"x"), header]

    @pytest.mark.parametrize(
        "name", [b"a2a-relay-sender", b"A2A-Relay-Sender", b"a2a_relay_sender", b"A2A-relay_sender"]
    )
    @pytest.mark.parametrize("value", [b"alice", b"a.b.c", b"\xff"])
    async def test_takes_away_what_is_not_signed(self, signer: StampSigner, name: bytes, value: bytes) -> None:
        scope, _ = await self.ask(signer, (name, value))
        assert scope["headers"] == [(b"host", b"x")]
        assert scope["a2a_relay.sender"] is None

    async def test_believes_neither_of_two(self, signer: StampSigner) -> None:
        header = (b"a2a-relay-sender", stated(signer).encode())
        scope, _ = await self.ask(signer, header, header)
        assert scope["headers"] == [(b"host", b"x")]
        assert scope["a2a_relay.sender"] is None

    async def test_refuses_calls_without_a_sender_where_one_is_required(self, signer: StampSigner) -> None:
        scope, sent = await self.ask(signer, is_required=True)
        assert scope is None
        assert sent[0]["status"] == 403
        scope, _ = await self.ask(signer, path="/.well-known/agent-card.json", is_required=True)
        assert scope is not None
