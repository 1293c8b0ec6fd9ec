"""`relay doctor`: what is wrong between here, a relay and an agent."""

from __future__ import annotations

import time
from typing import Any

import click

from a2a_relay.cli.options import credentials_of, json_option, print_json, relay_options
from a2a_relay.client.address import read_agent
from a2a_relay.client.connection import open_http
from a2a_relay.client.doctor import Finding, Level, Patient, examine
from a2a_relay.client.terminal import one_line


@click.command("doctor", short_help="Find what is wrong between here, a relay and an agent.")
@click.argument("agent", required=False)
@click.option("--no-message", is_flag=True, help="leave out the stream, which sends the agent a short message")
@relay_options
@json_option
def command(agent: str | None, no_message: bool, as_json: bool, **options: Any) -> int:
    """Check the relay, and AGENT if given; each finding is one line, with its mend. Exit code 1 when a check fails."""
    credentials = credentials_of(options)
    target = read_agent(agent, credentials.relay, credentials.tenant) if agent else None
    relay = target.relay if target else credentials.require_relay()
    tenant = target.tenant if target and target.tenant else credentials.tenant
    token = credentials.token_for(relay, tenant, time.time(), role=None)
    findings = []
    with open_http(relay, token, ca=options["ca"], insecure=options["insecure"]) as http:
        patient = Patient(http, relay, token, tenant, target, options["ca"], time.time, time.monotonic, not no_message)
        for finding in examine(patient):
            findings.append(finding)
            if not as_json:
                _print_finding(finding)
    is_well = all(finding.level is not Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": is_well, "findings": [finding._asdict() for finding in findings]})
    return 0 if is_well else 1


def _print_finding(finding: Finding) -> None:
    mend = f"  — {one_line(finding.mend)}" if finding.mend else ""
    print(f"{finding.level:<4}  {one_line(finding.what, limit=300)}{mend}", flush=True)
