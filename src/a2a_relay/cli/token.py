"""`relay token`: mint a token from the shared secret."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from a2a_relay.cli.options import data_dir_option, json_option, print_json, read_data_dir
from a2a_relay.client.credentials import user_name
from a2a_relay.client.tokens import mint
from a2a_relay.core.address import is_legacy_name
from a2a_relay.errors import SettingsError
from a2a_relay.settings import load_only, read_profile, read_secret, resolve_secret, seconds, secret_file


@click.command("token", short_help="Mint a token from the shared secret.")
@click.option("--tenant", metavar="NAME", help="the tenant it is for  ['local' at the local relay]")
@click.option("--agent", metavar="NAME", help="the agent it may attach as")
@click.option("--role", type=click.Choice(["agent", "client"]), help="what it may do  [attach, send and read]")
@click.option("--user", metavar="NAME", help="who it is for, as the agent sees the sender")
@click.option("--expires", metavar="TIME", default="12h", help="its life, at most 24h  [12h]")
@click.option("--jwt-secret-file", metavar="PATH", help="the relay's secret  [RELAY_JWT_SECRET, the local relay's]")
@data_dir_option
@json_option
def command(tenant: str | None, expires: str, jwt_secret_file: str | None, data_dir: str | None, **asked: Any) -> None:
    """Mint a token for a relay whose shared secret is known here."""
    profile = read_profile(read_data_dir(data_dir))
    tenant = tenant or (profile.tenant if profile else None)
    if tenant is None:
        raise click.UsageError("there is no local relay here, so that --tenant is needed")
    for name, option in ((tenant, "--tenant"), (asked["agent"], "--agent")):
        if name is not None and not is_legacy_name(name):
            raise click.BadParameter("letters, digits, - and _", param_hint=option)
    if asked["role"] == "agent" and not asked["agent"]:
        raise click.UsageError("--role agent needs --agent")
    try:
        life_seconds = seconds(expires)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--expires") from error
    if asked["role"] == "client" and not asked["user"]:
        asked["user"] = user_name()
    now = time.time()
    claims = {name: asked[name] for name in ("agent", "role", "user")}
    token = mint(_secret(jwt_secret_file, data_dir), now, life_seconds, tenant=tenant, **claims)
    if asked["as_json"]:
        print_json({"token": token, "tenant": tenant, **claims, "expires_at": int(now + life_seconds)})
    else:
        print(token)


def _secret(file: str | None, data_dir: str | None) -> str:
    """The secret from the flag, the environment, or what the local relay has left. Raises SettingsError."""
    flags = {"jwt_secret_file": file, "data_dir": data_dir}
    names = ("data_dir", "jwt_secret_file") if file else ("data_dir", "jwt_secret", "jwt_secret_file")
    settings = load_only(names, flags, os.environ)
    if settings.jwt_secret or settings.jwt_secret_file:
        return resolve_secret(settings)
    profile = read_profile(settings.data_dir)
    path = profile.secret_file if profile else secret_file(settings)
    if path is None or not path.exists():
        raise SettingsError("no secret: set RELAY_JWT_SECRET or give --jwt-secret-file")
    return read_secret(path)
