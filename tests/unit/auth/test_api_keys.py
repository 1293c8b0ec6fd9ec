"""Keys that are shown themselves."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from doors import NOW, Door

from a2a_relay.auth import api_keys
from a2a_relay.core.keys import KeyForm, write_key
from a2a_relay.core.networks import read_networks
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.tenants import TenantState


class TestAKeySpeaksFor:
    def test_its_own_agent_and_no_other(self, door: Door) -> None:
        text, record = door.key(Role.AGENT, agent="zaf", scopes=frozenset({"message:send"}))
        found = door.authenticate(text)
        assert found == Principal(
            "acme", Role.AGENT, "agent:zaf", "zaf", None, key=record.id, scopes=frozenset({"message:send"})
        )
        assert (found.credential, found.owner) == (record.secrets[0].digest, f"key:{record.id}")

    def test_a_sender_under_the_keys_name(self, door: Door) -> None:
        text, record = door.key(Role.SENDER, name="proxy-1", agents=frozenset({"zaf"}), expires_at=NOW + 60)
        assert door.authenticate(text) == Principal(
            "acme", Role.SENDER, "proxy-1", None, NOW + 60, key=record.id, agents=frozenset({"zaf"})
        )

    def test_an_admin_who_manages(self, door: Door) -> None:
        text, record = door.key(Role.ADMIN, name="boss")
        assert door.authenticate(text) == Principal("acme", Role.ADMIN, "admin:boss", key=record.id, manages=True)

    def test_an_operator_of_no_tenant(self, door: Door) -> None:
        text, record = door.key(Role.OPERATOR, tenant="", name="root", networks=("127.0.0.0/8",))
        found = door.authenticate(text)
        assert (found.tenant, found.identity, found.manages, found.key) == ("", "operator:root", True, record.id)
        assert found.networks == (read_networks(["127.0.0.0/8"]),)

    def test_somebody_who_may_come_from_where_both_tenant_and_key_say(self, door: Door) -> None:
        door.tenant(networks=("10.0.0.0/8",))
        text, _ = door.key(Role.SENDER, networks=("10.1.0.0/16", "192.0.2.1"))
        expected = (read_networks(["10.0.0.0/8"]), read_networks(["10.1.0.0/16", "192.0.2.1"]))
        assert door.authenticate(text).networks == expected

    def test_nobody_from_anywhere_when_its_networks_cannot_be_read(self, door: Door) -> None:
        text, _ = door.key(Role.SENDER, networks=("10.0.0.0/99",))
        assert door.authenticate(text).networks == ((),)


class TestAKeyIsRefused:
    def test_with_a_typing_error_without_any_look_up(self, door: Door) -> None:
        text, _ = door.key(Role.SENDER)
        for wrong in (
            text[:-1] + ("a" if text[-1] != "a" else "b"),
            text[:-1],
            text + "0",
            "rly_",
            text.upper(),
            text + " ",
        ):
            assert door.refusal(wrong) in ("the key is mistyped: its checksum does not fit", "invalid token")
        assert door.refusal(text.replace("_sender_", "_admin_")) == "the key is mistyped: its checksum does not fit"

    def test_when_it_is_unknown(self, door: Door) -> None:
        door.key(Role.SENDER)
        assert door.refusal(write_key(Role.SENDER, b"x" * 32)) == "unknown key"

    @pytest.mark.parametrize(
        "settled, message",
        [
            ({"revoked_at": NOW - 1}, "the key is revoked"),
            ({"expires_at": NOW}, "the key has expired"),
            ({"revoked_at": NOW - 1, "expires_at": NOW - 1}, "the key is revoked"),
            ({"form": KeyForm.HS256}, "this key signs tokens, and is never shown itself"),
        ],
    )
    def test_when_it_is_not_good_any_more(self, door: Door, settled: dict[str, Any], message: str) -> None:
        text, _ = door.key(Role.SENDER, **settled)
        assert door.refusal(text) == message

    def test_of_a_tenant_that_is_disabled_or_gone(self, door: Door) -> None:
        text, _ = door.key(Role.SENDER)
        door.tenant(state=TenantState.DISABLED)
        assert door.refusal(text) == "the tenant is disabled"
        orphan, _ = door.key(Role.SENDER, tenant="other")
        door.credentials._tenants.pop("other")
        door.chain.forget()
        assert door.refusal(orphan) == "the tenant is not registered here"

    def test_after_its_last_second(self, door: Door) -> None:
        text, _ = door.key(Role.SENDER, expires_at=NOW + 5)
        door.authenticate(text, NOW + 4.9)
        assert door.refusal(text, NOW + 5) == "the key has expired"


class TestARotatedKey:
    def test_is_good_with_both_secrets_while_they_overlap(self, door: Door) -> None:
        old, record = door.key(Role.SENDER)
        new = write_key(Role.SENDER, b"n" * 32)
        ending = record.secrets[0]._replace(expires_at=NOW + 30)
        door.put(record._replace(secrets=(door.secret(new, record), ending)))
        by_old, by_new = door.authenticate(old), door.authenticate(new)
        assert by_old.owner == by_new.owner
        assert (by_old.expires_at, by_new.expires_at) == (NOW + 30, None)
        assert door.refusal(old, NOW + 30) == "the key was rotated, and its old secret has expired"
        door.authenticate(new, NOW + 30)

    def test_tells_who_came_with_the_old_secret_when_that_ends(self, door: Door) -> None:
        old, record = door.key(Role.AGENT, agent="zaf")
        principal = door.authenticate(old)
        ending = record.secrets[0]._replace(expires_at=NOW + 30)
        door.put(record._replace(secrets=(door.secret("new", record), ending)))
        assert door.recheck(principal).expires_at == NOW + 30
        door.put(record._replace(secrets=(door.secret("new", record),)))
        assert door.recheck_refusal(principal) == "unknown key"


def test_a_known_and_an_unknown_key_are_compared_alike(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(api_keys, "compare_digest", compare)
    text, _ = door.key(Role.SENDER)
    door.authenticate(text)
    door.refusal(write_key(Role.SENDER, b"x" * 32))
    assert compared == [(32, 32), (32, 32)]


def test_a_store_that_finds_the_wrong_key_opens_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    text, record = door.key(Role.SENDER)
    wrong = record.secrets[0]._replace(digest=b"\1" * 32)
    monkeypatch.setattr(type(door.credentials), "find", lambda *_: (record, wrong))
    assert door.refusal(text) == "unknown key"


def test_when_a_key_was_used_is_kept_to_the_minute(door: Door) -> None:
    text, record = door.key(Role.SENDER)
    for seconds in (0, 30, 59):
        door.authenticate(text, NOW + seconds)
    assert door.credentials.key(record.id).last_used_at == NOW  # type: ignore[union-attr]
    door.authenticate(text, NOW + 61)
    assert door.credentials.key(record.id).last_used_at == NOW + 61  # type: ignore[union-attr]
