"""Keys of issuers are fetched beside whoever asks, seldom, and kept for as long as they may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from doors import AUDIENCE, FACT, ISSUER, NOW, Door, issuer_claims, key_set, signer

from a2a_relay.auth.jwks_fetch import FetchFailed
from a2a_relay.auth.key_sets import FRESH_SECONDS, REFETCH_SECONDS, STALE_SECONDS
from a2a_relay.core.credential import Credential
from a2a_relay.core.tenants import Issuer, TenantRecord
from a2a_relay.errors import Refused

URL = "https://issuer.example/jwks.json"
TOKEN = signer("EdDSA").token(issuer_claims(exp=NOW + 24 * 3600))


@pytest.fixture
def online(tmp_path: Path) -> Door:
    """A relay, and keys that are published."""
    door = Door(tmp_path)
    door.published[URL] = key_set(signer("EdDSA")).encode()
    return door


async def trust(door: Door) -> None:
    """Name the issuer; its keys are on their way then."""
    await door.credentials.put_tenant(TenantRecord("acme", NOW, issuers=(Issuer(ISSUER, (AUDIENCE,), URL),)), FACT)


async def fetched() -> None:
    for _ in range(9):
        await asyncio.sleep(0)


def refused(door: Door, token: str = TOKEN) -> Refused:
    with pytest.raises(Refused) as caught:
        door.chain.authenticate(Credential(token), door.clock.now())
    return caught.value


async def test_keys_are_fetched_when_an_issuer_is_named_and_awaited_by_nobody(online: Door) -> None:
    await trust(online)
    early = refused(online)
    assert (early.message, early.retry_after_seconds) == ("the keys of the token's issuer are not here yet", 1)
    await fetched()
    assert online.authenticate(TOKEN).identity == "zoe"
    assert online.fetched == [URL]


async def test_an_unknown_kid_asks_again_but_once_a_minute(online: Door) -> None:
    await trust(online)
    await fetched()
    online.published[URL] = key_set(signer("EdDSA"), signer("EdDSA", "new")).encode()
    new = signer("EdDSA", "new").token(issuer_claims(exp=NOW + 24 * 3600))
    assert refused(online, new).message == "invalid token"  # it was asked a moment ago
    online.clock.advance(REFETCH_SECONDS)
    assert refused(online, new).retry_after_seconds == 1
    await fetched()
    assert online.authenticate(new)
    for number in range(20):
        stranger = signer("EdDSA").token(issuer_claims(), {"kid": f"k{number}"})
        assert refused(online, stranger).retry_after_seconds is None
    await fetched()
    assert online.fetched == [URL] * 2


async def test_old_keys_are_used_while_new_ones_are_fetched(online: Door) -> None:
    await trust(online)
    await fetched()
    online.clock.advance(FRESH_SECONDS + 1)
    assert online.authenticate(TOKEN)
    await fetched()
    assert len(online.fetched) == 2


async def test_a_key_that_has_gone_is_forgotten_with_who_was_known_by_it(online: Door) -> None:
    await trust(online)
    await fetched()
    principal = online.authenticate(TOKEN)
    online.published[URL] = key_set(signer("ES256")).encode()
    online.clock.advance(FRESH_SECONDS + 1)
    assert online.authenticate(TOKEN)
    await fetched()
    assert refused(online).message == "invalid token"
    assert online.recheck_refusal(principal) == "the token's issuer is not trusted any more"


@pytest.mark.parametrize("failure", [FetchFailed("no answer"), b"no JSON", b"[]", b'{"keys": {}}', b"[" * 60000])
async def test_an_issuer_that_fails_keeps_its_keys_for_a_day(online: Door, failure: bytes | Exception) -> None:
    await trust(online)
    await fetched()
    principal = online.authenticate(TOKEN)
    online.published[URL] = failure
    online.clock.advance(FRESH_SECONDS + 1)
    for _ in range(2):
        assert online.authenticate(TOKEN)
        await fetched()
    assert len(online.troubles) == 1
    assert URL in online.troubles[0]
    online.clock.advance(STALE_SECONDS - FRESH_SECONDS)
    assert refused(online).message in ("the keys of the token's issuer are not here yet", "the token has expired")
    assert online.recheck(principal)


async def test_an_issuer_that_never_answered_is_asked_once_a_minute(online: Door) -> None:
    online.published[URL] = FetchFailed("no answer")
    await trust(online)
    await fetched()
    for _ in range(5):
        assert 1 < (refused(online).retry_after_seconds or 0) <= REFETCH_SECONDS
    assert len(online.fetched) == 1
    online.clock.advance(REFETCH_SECONDS)
    refused(online)
    await fetched()
    assert len(online.fetched) == 2


async def test_what_is_no_issuers_any_more_is_forgotten(online: Door) -> None:
    await trust(online)
    await fetched()
    await online.credentials.put_tenant(TenantRecord("acme", NOW), FACT)
    assert refused(online).message == "invalid token"
    assert not online.key_sets._by_url
