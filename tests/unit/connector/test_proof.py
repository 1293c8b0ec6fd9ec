"""The connector proves that it holds its key, to the relay that it has dialled and to no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from small_relay import WELCOME, Link, echo, relay

from a2a_relay.connector import Connector, ConnectorRefused, relay_url
from a2a_relay.connector.proof import ProofKey
from a2a_relay.wire.proof import Challenge, read_signature

KEY = Ed25519PrivateKey.generate()
CHALLENGE = Challenge("n" * 43, "https://relay.example", "e", "acme", "zaf")


def pem(key: Any, password: bytes | None = None) -> bytes:
    lock = NoEncryption() if password is None else BestAvailableEncryption(password)
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "agent.pem"
    path.write_bytes(pem(KEY))
    return path


@pytest.mark.parametrize(
    "dialled", ["https://relay.example", "wss://relay.example/agent", "https://relay.example/"], ids=str
)
def test_a_challenge_of_the_relay_that_was_dialled_is_signed(key_file: Path, dialled: str) -> None:
    signature = ProofKey.read(key_file).answer(CHALLENGE, relay_url.read(dialled))
    KEY.public_key().verify(signature, CHALLENGE.statement)


def test_this_machine_has_several_names(key_file: Path) -> None:
    challenge = CHALLENGE._replace(relay="http://127.0.0.1:8080")
    assert ProofKey.read(key_file).answer(challenge, relay_url.read("http://localhost:8080"))


@pytest.mark.parametrize(
    "changed",
    [
        {"relay": "https://evil.example"},
        {"relay": "http://relay.example"},
        {"relay": "https://relay.example:8443"},
        {"relay": "nonsense"},
        {"nonce": "short"},
        {"tenant": "acme\nzaf"},
        {"agent": "z\u00e4f"},
    ],
    ids=str,
)
def test_any_other_challenge_is_not(key_file: Path, changed: dict[str, str]) -> None:
    with pytest.raises(ConnectorRefused, match=r"relay\.example was dialled"):
        ProofKey.read(key_file).answer(CHALLENGE._replace(**changed), relay_url.read("https://relay.example"))


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", pem(KEY, b"password"), pem(generate_private_key(SECP256R1()))],
    ids=["empty", "nonsense", "password", "another kind"],
)
def test_a_file_without_an_ed25519_key_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agent.pem"
    path.write_bytes(content)
    with pytest.raises(ConnectorRefused, match=r"agent\.pem"):
        ProofKey.read(path)
    with pytest.raises(ConnectorRefused, match="cannot be read"):
        ProofKey.read(tmp_path / "missing.pem")


async def test_the_proof_crosses_the_link_before_the_welcome(key_file: Path) -> None:
    verified: list[bool] = []

    async def script(link: Link) -> None:
        assert link.auth["features"][-1] == "proof"
        challenge = CHALLENGE._replace(relay=url)
        await link.say({"type": "auth.challenge", "payload": challenge._asdict()})
        proof = await link.hear()
        KEY.public_key().verify(read_signature(proof["payload"]["signature"]), challenge.statement)
        verified.append(True)
        await link.say(WELCOME)
        await link.connection.wait_closed()

    async with relay(script) as url, Connector(url, "rly_agent_1", proof_key=key_file) as connector:
        await connector.start(handler=echo)
    assert verified == [True]


async def test_a_relay_that_hands_on_anothers_challenge_gets_no_proof(key_file: Path) -> None:
    heard: list[Any] = []

    async def script(link: Link) -> None:
        await link.say({"type": "auth.challenge", "payload": CHALLENGE._asdict()})
        heard.append(await link.hear())

    async with relay(script) as url:
        with pytest.raises(ConnectorRefused, match="use its public URL"):
            await Connector(url, "rly_agent_1", proof_key=key_file).serve(handler=echo)
    assert heard == []
