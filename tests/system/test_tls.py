"""TLS with certificates of clients: asked for, taken, needed; and nothing older than TLS 1.2."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from programs import RELAY, SECRET, clean_environment, running


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def sign(directory: Path, name: str, issuer: str) -> None:
    """A key and a certificate, as `name.key` and `name.pem`."""
    key, request = directory / f"{name}.key", directory / f"{name}.csr"
    key_form = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", *key_form, "-keyout", str(key), "-subj", f"/CN={name}", "-out", str(request))
    extensions = directory / f"{name}.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1\n")
    by = ("-CA", str(directory / f"{issuer}.pem"), "-CAkey", str(directory / f"{issuer}.key"), "-CAcreateserial")
    out = ("-days", "1", "-extfile", str(extensions), "-out", str(directory / f"{name}.pem"))
    openssl("x509", "-req", "-in", str(request), *by, *out)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    for issuer in ("ca", "stranger"):
        key_form = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
        files = ("-keyout", str(directory / f"{issuer}.key"), "-out", str(directory / f"{issuer}.pem"))
        openssl("req", "-x509", *key_form, "-subj", f"/CN={issuer}", *files)
    sign(directory, "relay", "ca")
    sign(directory, "client", "ca")
    sign(directory, "impostor", "stranger")
    return directory


@contextmanager
def running_tls(certificates: Path, tmp_path: Path, *options: str) -> Iterator[str]:
    command = [str(RELAY), "serve", "--port", "0", "--store", "memory:", "--data-dir", str(tmp_path / "data")]
    command += ["--log-format", "json", "--tls-key", str(certificates / "relay.key")]
    command += ["--tls-cert", str(certificates / "relay.pem"), *options]
    with running(command, tmp_path / "log", clean_environment(RELAY_JWT_SECRET=SECRET)) as program:
        url = program.wait_for(r'"url": "(https://[^"]+)"')
        program.wait_until(lambda: url if program.output() and is_listening(url) else None)
        yield url


def is_listening(url: str) -> bool:
    try:
        httpx.get(f"{url}/livez", verify=ssl._create_unverified_context(), trust_env=False)
    except httpx.ConnectError as error:
        return "refused" not in str(error).lower()
    except httpx.HTTPError:
        return True
    return True


def ask(url: str, certificates: Path, shown: str | None) -> httpx.Response | None:
    """The answer to whoever shows a certificate, or none; None when it is shut out."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if shown is not None:
        context.load_cert_chain(certificates / f"{shown}.pem", certificates / f"{shown}.key")
    try:
        return httpx.get(f"{url}/livez", verify=context, trust_env=False)
    except httpx.TransportError:
        return None


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("optional", {None: True, "client": True, "impostor": False}),
        ("required", {None: False, "client": True, "impostor": False}),
    ],
)
def test_certificates_of_clients_are_asked_for_by_setting(
    certificates: Path, tmp_path: Path, asked: str, served: dict[str | None, bool]
) -> None:
    options = ("--tls-client-certs", asked, "--tls-client-ca", str(certificates / "ca.pem"), "--hsts", "1d")
    with running_tls(certificates, tmp_path, *options) as url:
        answers = {shown: ask(url, certificates, shown) for shown in served}
    assert {shown: answer is not None for shown, answer in answers.items()} == served
    assert answers["client"] is not None
    assert answers["client"].headers["strict-transport-security"] == "max-age=86400"


def test_old_versions_of_tls_are_not_spoken(certificates: Path, tmp_path: Path) -> None:
    with running_tls(certificates, tmp_path) as url:
        where = url.removeprefix("https://")
        spoken = {}
        for version in ("tls1_1", "tls1_2", "tls1_3"):
            command = ["openssl", "s_client", "-connect", where, f"-{version}", "-cipher", "ALL:@SECLEVEL=0"]
            found = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=30)
            spoken[version] = b"Server certificate" in found.stdout
    assert spoken == {"tls1_1": False, "tls1_2": True, "tls1_3": True}
