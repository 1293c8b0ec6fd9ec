"""The relay's own signatures."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from a2a_relay.auth.stamp_signer import MAX_KEYS, StampSigner, thumbprint
from a2a_relay.errors import SettingsError


def pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def kids(signer: StampSigner) -> list[str]:
    return [key["kid"] for key in json.loads(signer.key_set)["keys"]]


def signed_with(signer: StampSigner) -> str:
    return str(jwt.get_unverified_header(signer.sign("t", {}))["kid"])


def test_a_key_is_made_when_it_is_first_needed_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "data" / "signing_key.pem"
    signer = StampSigner(path)
    assert not path.exists()
    assert kids(signer) == kids(StampSigner(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_signed_is_good_by_what_is_published(tmp_path: Path) -> None:
    signer = StampSigner(tmp_path / "key.pem")
    key = jwt.PyJWK(json.loads(signer.key_set)["keys"][0])
    statement = signer.sign("a-type", {"sub": "ann"})
    assert jwt.decode(statement, key, algorithms=["EdDSA"]) == {"sub": "ann"}
    assert jwt.get_unverified_header(statement) == {"alg": "EdDSA", "typ": "a-type", "kid": key.key_id}


def test_nothing_private_is_published(tmp_path: Path) -> None:
    (key,) = json.loads(StampSigner(tmp_path / "key.pem").key_set)["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_a_key_has_the_thumbprint_of_rfc_8037_for_its_id() -> None:
    assert thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_of_several_keys_the_first_signs_and_all_are_published(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    old = StampSigner(path)
    before = kids(old)
    path.write_bytes(pem(ed25519.Ed25519PrivateKey.generate()) + path.read_bytes())
    rotated = StampSigner(path)
    assert len(kids(rotated)) == 2
    assert kids(rotated)[1:] == before
    assert signed_with(rotated) == kids(rotated)[0] != signed_with(old)


def test_a_key_of_openssl_is_one(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not installed, or knows no Ed25519")
    assert len(kids(StampSigner(path))) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        b"-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed25519.Ed25519PrivateKey.generate(), b"a password"),
        pem(ed25519.Ed25519PrivateKey.generate()) * (MAX_KEYS + 1),
    ],
)
def test_a_file_without_good_keys_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"key\.pem"):
        _ = StampSigner(path).key_set
