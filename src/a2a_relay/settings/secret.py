"""What must be secret: what signs tokens, the certificate's key, and files that only their owner may read."""

from __future__ import annotations

import os
import secrets
import ssl
from contextlib import suppress
from pathlib import Path

from a2a_relay.errors import SettingsError
from a2a_relay.settings.table import Settings

MIN_SECRET_BYTES = 32
FILE_NAME = "jwt_secret"


def resolve_secret(settings: Settings) -> str:
    """The secret that signs tokens. On loopback one is made on the first start and kept. Raises SettingsError."""
    if settings.jwt_secret:
        return _require_long(settings.jwt_secret, f"jwt_secret ({settings.origin('jwt_secret')})")
    if settings.jwt_secret_file is not None:
        return read_secret(settings.jwt_secret_file)
    if not settings.is_loopback:
        raise SettingsError(
            f"listening on {settings.host} needs a secret: set RELAY_JWT_SECRET or --jwt-secret-file"
            f" (at least {MIN_SECRET_BYTES} bytes, for example from `openssl rand -hex 32`)"
        )
    path = settings.data_dir / FILE_NAME
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48) + "\n", replace=False)
    return read_secret(path)


def secret_file(settings: Settings) -> Path | None:
    """The file in which `resolve_secret` finds the secret, if it is in one."""
    if settings.jwt_secret:
        return None
    return (settings.jwt_secret_file or settings.data_dir / FILE_NAME).absolute()


def read_secret(path: Path) -> str:
    """A secret from its file, without blanks around it. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"the secret file {path} cannot be read: {error}") from error
    return _require_long(text, f"the secret in {path}")


def require_certificate(settings: Settings) -> None:
    """Check that the certificate, its key and who signs clients' can be used, before anything is started.

    Raises SettingsError.
    """
    tls_context(settings)


_CLIENT_CERTIFICATES = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """How connections are encrypted: TLS 1.2 or newer; None: they are not. Raises SettingsError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key would be asked for at the terminal otherwise.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(f"tls_cert {settings.tls_cert} and tls_key {settings.tls_key}: {error}") from error
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:
            raise SettingsError(f"tls_client_ca {settings.tls_client_ca}: {error}") from error
    context.verify_mode = _CLIENT_CERTIFICATES[settings.tls_client_certs]
    return context


def _require_long(secret: str, what: str) -> str:
    found = len(secret.encode("utf-8", "surrogateescape"))
    if found < MIN_SECRET_BYTES:
        raise SettingsError(f"{what} has {found} bytes; at least {MIN_SECRET_BYTES} are needed")
    return secret


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises SettingsError.

    Without `replace` a file that is already there stays: of two starts at once the first wins.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        _put(draft, path, replace=replace)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _put(draft: Path, path: Path, *, replace: bool) -> None:
    if replace or os.name == "nt":
        draft.replace(path)
        return
    with suppress(FileExistsError):
        os.link(draft, path)
