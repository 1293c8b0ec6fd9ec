"""A letter says who has sent it, however long ago that was, in a statement of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest
from mail_relay import MailRelay, next_request

from a2a_relay.a2a import jsonbytes
from a2a_relay.auth.stamp_signer import StampSigner
from a2a_relay.core.envelope import open_envelope, seal
from a2a_relay.core.principal import Principal, Role
from a2a_relay.testing import make_address, make_call
from a2a_relay.wire import stamps

ANN = Principal("acme", Role.SENDER, "ann", key="k_1")
IVY = Principal("acme", Role.SENDER, "ivy", issuer="https://issuer.example")


@pytest.fixture
def signing(tmp_path: Path) -> MailRelay:
    return MailRelay(signer=StampSigner(tmp_path / "key.pem"))


def claims_of(request: dict[str, Any]) -> dict[str, Any]:
    statement = request["meta"]["stamp"]["assertion"]
    assert jwt.get_unverified_header(statement)["typ"] == stamps.LETTER_TYPE
    found: dict[str, Any] = jwt.decode(statement, options={"verify_signature": False})
    return found


async def test_a_letter_is_stamped_as_its_sender_when_it_was_accepted(signing: MailRelay) -> None:
    await signing.known()
    accepted_at = int(signing.clock.now())
    id = await signing.queued(principal=ANN)
    signing.clock.advance(2 * 86400)
    link = await signing.attach(features='"letters","credit","stamp"')
    request = next_request(link)
    claims = claims_of(request)
    assert request["meta"]["sender"] == {
        "identity": "ann",
        "role": "sender",
        "tenant": "acme",
        "key": "k_1",
        "via": [],
    }
    assert (claims["sub"], claims["key"], claims["letter"]) == ("ann", "k_1", id)
    assert (claims["accepted_at"], claims["delivered_at"]) == (accepted_at, int(signing.clock.now()))
    assert claims["frame"] == request["id"]
    (frame,) = [frame for frame in link.transport.frames if b"a2a.request" in frame]
    assert claims["params_sha256"] == stamps.params_digest(
        jsonbytes.members(jsonbytes.members(frame)["payload"])["params"]
    )
    assert "mac" not in request["meta"]["stamp"]


async def test_each_delivery_has_a_statement_of_its_own(signing: MailRelay) -> None:
    await signing.known()
    await signing.queued(principal=ANN)
    first = next_request(link := await signing.attach(features='"letters","credit","stamp"'))
    link.play("xx")
    await signing.settled()
    later = await signing.attach(features='"letters","credit","stamp"')
    await signing.advance(120)
    again = next_request(later)
    assert claims_of(first)["letter"] == claims_of(again)["letter"]
    assert claims_of(first)["cnf"] != claims_of(again)["cnf"]


async def test_an_agent_that_does_not_ask_is_told_and_shown_no_proof(signing: MailRelay) -> None:
    await signing.known()
    await signing.queued(principal=ANN)
    request = next_request(await signing.attach())
    assert request["meta"]["sender"]["identity"] == "ann"
    assert "stamp" not in request["meta"]


@pytest.mark.parametrize("principal", [ANN, IVY, Principal("acme", Role.ADMIN, "admin:x")])
def test_an_envelope_keeps_whose_its_letter_is(principal: Principal) -> None:
    call = open_envelope(make_address(), seal(make_call(principal=principal)), b"{}")
    assert call.principal == principal
    assert call.principal.owner == principal.owner


def test_an_envelope_of_before_there_were_keys_is_read() -> None:
    envelope = b'{"method":"SendMessage","form":"rpc","sender":{"role":"sender","identity":"ann"}}'
    assert open_envelope(make_address(), envelope, b"{}").principal == Principal("acme", Role.SENDER, "ann")
