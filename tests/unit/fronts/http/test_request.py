"""A request from an ASGI scope: nothing in it may be read in two ways."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from a2a_relay.errors import Reason, Refused
from a2a_relay.fronts.http.request import HttpRequest, raw_target


def request(
    *headers: tuple[str, str], messages: list[dict[str, Any]] | None = None, target: bytes = b"/", **scope: Any
) -> HttpRequest:
    waiting = list(messages or [])

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    full = {"type": "http", "method": "POST", "raw_path": target, "headers": raw, "client": ("192.0.2.1", 4000)}
    return HttpRequest({**full, **scope}, receive)


def refusal(*headers: tuple[str, str]) -> Reason:
    with pytest.raises(Refused) as refused:
        request(*headers)
    return refused.value.reason


class TestHeaders:
    def test_that_are_repeated_are_joined(self) -> None:
        found = request(("A2A-Extensions", "x"), ("a2a-extensions", " y ")).headers
        assert found == {"a2a-extensions": "x, y"}

    @pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Content-Length", "Host"])
    def test_that_must_be_single_are_refused_when_they_differ(self, name: str) -> None:
        assert refusal((name, "1"), (name.lower(), "2")) is Reason.INVALID_HTTP
        assert request((name, "1"), (name, "1")).headers == {name.lower(): "1"}

    def test_of_a2a_pass_through_and_the_relays_own_names_do_not(self) -> None:
        found = request(
            ("A2A-Version", "1.0"),
            ("X-A2A-Extensions", "x"),
            ("A2A-Relay-Sender", "root"),
            ("X-A2A-Relay-Id", "1"),
            ("Authorization", "Bearer t"),
            ("Cookie", "c"),
            ("X-Other", "o"),
            ("Traceparent", "t"),
        ).block.service_headers
        assert found == {"a2a-version": "1.0", "x-a2a-extensions": "x"}


class TestTheCredential:
    @pytest.mark.parametrize("text", ["Bearer T", "bearer T", "BEARER   T", "T", "Bearer T "])
    def test_is_the_bearer_token_or_the_whole_header(self, text: str) -> None:
        assert request(("Authorization", text)).credential.text == "T"

    @pytest.mark.parametrize("headers", [[], [("Authorization", "")], [("Authorization", "Bearer ")]])
    def test_is_needed(self, headers: list[tuple[str, str]]) -> None:
        with pytest.raises(Refused) as refused:
            _ = request(*headers).credential
        assert refused.value.reason is Reason.UNAUTHENTICATED

    def test_of_another_scheme_is_handed_on_to_fail(self) -> None:
        assert request(("Authorization", "Basic dTpw")).credential.text == "Basic dTpw"


class TestTheContentType:
    @pytest.mark.parametrize(
        "kind",
        [
            "application/json",
            "application/a2a+json; charset=utf-8",
            "text/plain",
            "",
            "APPLICATION/JSON",
            "x/y",
            "application/x-www-form-urlencoded",
        ],
    )
    def test_may_be_any_whose_body_is_json(self, kind: str) -> None:
        request(("Content-Type", kind)).block.require_json()

    @pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "Multipart/Mixed"])
    def test_may_not_be_multipart(self, kind: str) -> None:
        with pytest.raises(Refused) as refused:
            request(("Content-Type", kind)).block.require_json()
        assert refused.value.ruling.http_status == 415

    def test_may_not_be_compressed(self) -> None:
        request(("Content-Encoding", "Identity")).block.require_json()
        with pytest.raises(Refused) as refused:
            request(("Content-Encoding", "gzip")).block.require_json()
        assert refused.value.ruling.http_status == 415


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class TestTheBody:
    async def test_is_whole(self) -> None:
        found = request(messages=[part(b"a", more=True), part(b"", more=True), part(b"bc")])
        assert await found.body(3, 5) == b"abc"
        assert found.is_read

    async def test_is_refused_by_its_length_before_it_costs(self) -> None:
        found = request(("Content-Length", "4"), messages=[part(b"abcd")])
        with pytest.raises(Refused) as refused:
            await found.body(3, 5)
        assert (refused.value.reason, refused.value.metadata) == (Reason.TOO_LARGE, {"limit": "3"})
        assert not found.is_read

    async def test_is_refused_by_its_size_whatever_its_length_says(self) -> None:
        found = request(("Content-Length", "1"), messages=[part(b"ab", more=True), part(b"cd", more=True), part(b"")])
        with pytest.raises(Refused) as refused:
            await found.body(3, 5)
        assert refused.value.reason is Reason.TOO_LARGE

    async def test_of_a_client_that_goes_away_is_none(self) -> None:
        with pytest.raises(Refused) as refused:
            await request(messages=[part(b"a", more=True)]).body(3, 5)
        assert refused.value.reason is Reason.CLIENT_GONE

    async def test_that_dribbles_is_refused(self) -> None:
        import asyncio

        async def never() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        found = HttpRequest({"method": "POST", "raw_path": b"/", "headers": []}, never)
        with pytest.raises(Refused) as refused:
            await found.body(3, 0.01)
        assert refused.value.reason is Reason.REQUEST_TIMEOUT

    @pytest.mark.parametrize("length", ["", "x", "-1", "+5", "²", "1" * 5_000])
    async def test_has_a_length_or_not(self, length: str) -> None:
        found = request(("Content-Length", length), messages=[part(b"a")])
        with contextlib.suppress(Refused):
            assert await found.body(3, 5) == b"a"


class TestTheTarget:
    def test_is_the_raw_one_with_its_query(self) -> None:
        assert request(target=b"/a%2Fb", query_string=b"x=%20").target == b"/a%2Fb?x=%20"

    def test_is_encoded_again_where_the_server_kept_none(self) -> None:
        assert raw_target({"path": "/t/a b/é:x%2F", "query_string": b""}) == b"/t/a%20b/%C3%A9:x%252F"


class TestTheId:
    @pytest.mark.parametrize("id", ["abc-DEF_1", "0", "a" * 64])
    def test_is_the_clients_when_it_is_harmless(self, id: str) -> None:
        assert request(("X-Request-ID", id)).id == id

    @pytest.mark.parametrize("id", ["", "a" * 65, "a b", "a\x1b[31m", "é", "a=b", "--", "<x>"])
    def test_is_a_new_one_otherwise(self, id: str) -> None:
        found = request(("X-Request-ID", id)).id
        assert found != id
        assert len(found) == 16

    def test_differs_from_request_to_request(self) -> None:
        assert request().id != request().id


def test_the_client_is_address_and_port_or_unknown() -> None:
    assert request().client == "192.0.2.1:4000"
    assert request(client=None).client == ""
    assert request(client=("::1", 5)).client == "::1:5"


async def test_a_client_is_gone_when_the_server_says_so() -> None:
    await request(messages=[part(b""), {"type": "http.disconnect"}]).gone()
