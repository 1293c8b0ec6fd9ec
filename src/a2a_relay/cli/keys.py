"""`relay keys`: what agents, senders, admins and operators show."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import click

from a2a_relay.cli.administering import administration_options, ask, ask_all, print_items, print_object, require
from a2a_relay.errors import SettingsError
from a2a_relay.settings import write_private
from a2a_relay.settings.values import seconds

COLUMNS = {
    "id": "KEY",
    "name": "NAME",
    "role": "ROLE",
    "agent": "AGENT",
    "created_at": "CREATED",
    "expires_at": "EXPIRES",
    "revoked_at": "REVOKED",
    "last_used_at": "USED",
}
ACTIONS = ("list", "create", "show", "rotate", "revoke", "verify")


@click.command("keys", short_help="Make, rotate and revoke keys.")
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("id", required=False)
@click.option("--name", metavar="NAME", help="create: what people call the key")
@click.option("--role", type=click.Choice(["agent", "sender", "admin", "operator"]), help="create: whose key it is")
@click.option("--agent", metavar="NAME", help="create: the one agent that attaches with it")
@click.option("--scopes", metavar="LIST", help="create: what it may do  [what its role may]")
@click.option("--agents", metavar="LIST", help="create: the agents it may see and call  [all]")
@click.option("--networks", metavar="LIST", help="create: addresses and CIDR ranges from which it may come")
@click.option("--expires", metavar="TIME", help="create: how long it is good, such as 90d  [for ever]")
@click.option("--form", type=click.Choice(["secret", "hs256"]), help="create: shown itself, or signs tokens  [secret]")
@click.option(
    "--proof-key",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="create: an Ed25519 public key (PEM) that the agent must prove to have",
)
@click.option("--overlap", metavar="TIME", help="rotate: how long the old secret stays good  [24h]")
@click.option("--key-file", metavar="PATH", type=click.Path(path_type=Path), help="write the key here, not out")
@administration_options
def command(action: str, id: str | None, key_file: Path | None, as_json: bool, **options: Any) -> int:
    """Make, rotate and revoke keys.

    A key is printed once, when it is made or rotated, and never again. `verify` reads a key from standard input and
    tells what it is. The first operator's key is made on the store, beside the relay.
    """
    if action == "list":
        path = f"tenants/{require(options['tenant'], '--tenant')}/keys" if options["tenant"] else "keys"
        print_items("keys", ask_all(options, path, "keys"), COLUMNS, as_json=as_json)
    elif action == "create":
        tenant = options["tenant"]
        require(options["name"], "--name")
        if options["role"] is None or (tenant is None) != (options["role"] == "operator"):
            raise click.UsageError("this needs --role and, for every role but operator, --tenant")
        path = f"tenants/{require(tenant, '--tenant')}/keys" if tenant else "keys"
        _print_key(ask(options, "POST", path, _order(options)), key_file, as_json=as_json)
    elif action == "verify":
        text = id if id is not None else sys.stdin.readline().strip()
        found = ask(options, "POST", "keys:verify", {"key": text})
        print_object({"state": found["state"], **(found["key"] or {})}, as_json=as_json)
        return 0 if found["state"] == "ok" else 1
    else:
        path = f"keys/{require(id, 'the ID of a key')}"
        if action == "rotate":
            order = {"overlap_seconds": _seconds(options["overlap"], "--overlap")}
            _print_key(ask(options, "POST", f"{path}:rotate", order), key_file, as_json=as_json)
        else:
            found = ask(options, "POST", f"{path}:revoke") if action == "revoke" else ask(options, "GET", path)
            print_object(found, as_json=as_json)
    return 0


def _order(options: dict[str, Any]) -> dict[str, Any]:
    lists = {
        name: options[name].split(",") if options[name] is not None else None
        for name in ("scopes", "agents", "networks")
    }
    plain = {name: options[name] for name in ("name", "role", "agent", "form")}
    proof_key = _public_key(options["proof_key"]) if options["proof_key"] is not None else None
    return {**plain, **lists, "expires_seconds": _seconds(options["expires"], "--expires"), "proof_key": proof_key}


def _public_key(path: Path) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise click.UsageError(f"--proof-key {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise click.UsageError(f"--proof-key {path}: this is no Ed25519 public key in PEM")
    return b64encode(key.public_bytes_raw()).decode()


def _seconds(text: str | None, flag: str) -> float | None:
    if text is None:
        return None
    try:
        return float(text.removesuffix("d")) * 86400 if text.endswith("d") else seconds(text)
    except (ValueError, SettingsError) as error:
        raise click.UsageError(f"{flag} is a time, such as 90d or 1h") from error


def _print_key(made: dict[str, Any], key_file: Path | None, *, as_json: bool) -> None:
    text = made["key"]
    if key_file is not None:
        write_private(key_file, f"{text}\n")
        made = {name: value for name, value in made.items() if name != "key"}
        print_object({**made, "key_file": os.fspath(key_file)}, as_json=as_json)
        return
    if as_json:
        print_object(made, as_json=True)
    else:
        print(text)
    print(f"relay: key {made['id']} is shown this once: keep it", file=sys.stderr)
