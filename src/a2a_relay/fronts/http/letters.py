"""Letters over HTTP: receipts, feeds of them, and what an operator does with letters."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from a2a_relay.a2a import jsonbytes, sse
from a2a_relay.core import access
from a2a_relay.core.letter import Entry, Filter, Letter
from a2a_relay.core.principal import Principal
from a2a_relay.core.target import Route, Surface
from a2a_relay.errors import Reason, Refused, StoreError
from a2a_relay.fronts.http import letter_json
from a2a_relay.fronts.http.answer import Answer, json_answer, refusal
from a2a_relay.fronts.http.bindings import EVENT_STREAM, UNBUFFERED
from a2a_relay.fronts.http.letter_json import read_filter
from a2a_relay.fronts.http.request import HttpRequest
from a2a_relay.fronts.http.responding import Responder, Sent, until_gone
from a2a_relay.node.letter_desk import MAX_PAGE, LetterDesk
from a2a_relay.node.mail import words
from a2a_relay.node.receipts import Feed
from a2a_relay.node.relay_node import RelayNode

MAX_ORDER_BYTES = 64 * 1024
PAGE = 50
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_FEEDS = (Surface.LETTER_FEED, Surface.LETTERS_FEED)


class Letters:
    """Answers every question about letters, and writes the feeds of receipts."""

    def __init__(
        self, node: RelayNode, desk: LetterDesk, *, heartbeat_seconds: float, body_timeout_seconds: float
    ) -> None:
        self._node = node
        self._desk = desk
        self._heartbeat_seconds = heartbeat_seconds
        self._body_timeout_seconds = body_timeout_seconds
        self._answers: Mapping[Surface, Callable[[HttpRequest, Route, Principal], Awaitable[Answer]]] = {
            Surface.LETTER: self._poll,
            Surface.LETTER_RECEIPT: self._receipt,
            Surface.LETTERS: self._list,
            Surface.REDRIVE: self._redrive,
            Surface.PURGE: self._purge,
            Surface.AUDIT: self._audit,
            Surface.MAILBOXES: self._mailboxes,
            Surface.PAUSE: self._pause,
            Surface.RESUME: self._pause,
        }

    async def serve(self, request: HttpRequest, route: Route, responder: Responder) -> Sent:
        """Answer one question. Raises `Refused` or StoreError before anything is sent."""
        principal = self._node.authenticate(request.credential, request.host)
        if self._node.quotas.is_set:
            self._node.quotas.require_read(principal)
        if route.surface in _FEEDS:
            return await self._follow(request, route, responder, principal)
        answer = await self._answers[route.surface](request, route, principal)
        await responder.whole(answer)
        return Sent(answer.status, None)

    # reading

    async def _receipt(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        letter = await self._desk.show(principal, route.agent.tenant, route.segments[0])
        return json_answer(
            {
                **letter_json.letter(letter, is_for_admin=access.is_admin(principal)),
                "durability": self._desk.durability,
                "history": [letter_json.entry(entry) for entry in letter.history],
            }
        )

    async def _poll(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        """relay-go's poll of a queued message."""
        access.require_tenant(principal, route.agent.tenant)
        try:
            letter = await self._desk.poll(principal, route.agent.tenant, route.segments[0])
        except Refused as refused:
            if refused.reason is not Reason.LETTER_NOT_FOUND:
                raise
            raise Refused(Reason.TASK_NOT_FOUND) from refused
        return Answer(200, words.plain_state(letter))

    async def _list(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        asked = _single(route)
        after, limit = _number(asked, "after"), _number(asked, "limit")
        if limit is not None and not 0 < limit <= MAX_PAGE:
            raise Refused(Reason.INVALID_PARAMS, f"limit is 1 to {MAX_PAGE}")
        page = await self._desk.list(principal, route.agent.tenant, read_filter(asked), after, limit or PAGE)
        is_admin = access.is_admin(principal)
        found: dict[str, Any] = {"letters": [letter_json.letter(item, is_for_admin=is_admin) for item in page.letters]}
        if page.next is not None:
            found["next"] = str(page.next)
        return json_answer({**found, "total": page.total})

    async def _mailboxes(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        views = await self._desk.mailboxes(principal, route.agent.tenant)
        return json_answer({"mailboxes": [letter_json.mailbox(view) for view in views]})

    async def _audit(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        asked = _single(route)
        limit = _number(asked, "limit")
        if asked or limit == 0:
            raise Refused(Reason.INVALID_PARAMS, "only limit can be asked for")
        entries = await self._desk.audit(principal, route.agent.tenant, limit or PAGE)
        return json_answer({"entries": [letter_json.audit_entry(entry) for entry in entries]})

    # changing

    async def _redrive(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        self._desk.require_admin(principal, route.agent.tenant)
        reason, filter, is_all = await self._order(request)
        count = await self._desk.redrive(principal, route.agent.tenant, filter, reason, is_all=is_all)
        return json_answer({"redriven": count})

    async def _purge(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        self._desk.require_admin(principal, route.agent.tenant)
        reason, filter, is_all = await self._order(request)
        count = await self._desk.purge(principal, route.agent.tenant, filter, reason, is_all=is_all)
        return json_answer({"purged": count})

    async def _pause(self, request: HttpRequest, route: Route, principal: Principal) -> Answer:
        self._desk.require_admin(principal, route.agent.tenant)
        reason = _reason_of(await self._body(request, {"reason"}))
        is_paused = route.surface is Surface.PAUSE
        await (self._desk.pause if is_paused else self._desk.resume)(principal, route.agent, reason)
        return json_answer({"agent": route.agent.agent, "paused": is_paused})

    async def _order(self, request: HttpRequest) -> tuple[str, Filter, bool]:
        """The body of what changes many letters: why, which, and whether all are meant."""
        body = await self._body(request, {"reason", "filter", "all"})
        filter, is_all = _members(body.get("filter", b"{}")), jsonbytes.value(body.get("all", b"false"))
        if not isinstance(is_all, bool):
            raise Refused(Reason.INVALID_PARAMS, "all is true or false")
        asked = {name: jsonbytes.value(text) for name, text in filter.items()}
        return _reason_of(body), read_filter(asked), is_all

    async def _body(self, request: HttpRequest, names: set[str]) -> dict[str, bytes]:
        request.block.require_json()
        raw = await request.body(MAX_ORDER_BYTES, self._body_timeout_seconds)
        jsonbytes.check(raw)
        body = _members(raw)
        if not names.issuperset(body):
            raise Refused(Reason.INVALID_PARAMS, f"the body is an object of {', '.join(sorted(names))}")
        return body

    # following

    async def _follow(self, request: HttpRequest, route: Route, responder: Responder, principal: Principal) -> Sent:
        if request.verb == "HEAD":
            raise Refused(Reason.METHOD_NOT_ALLOWED, metadata={"allow": "GET"})
        tenant = route.agent.tenant
        if route.surface is Surface.LETTERS_FEED:
            asked = _single(route)
            agent = asked.pop("agent", "")
            if asked:
                raise Refused(Reason.INVALID_PARAMS, "only agent can be asked for")
            feed = self._desk.follow(principal, tenant, agent)
            return await until_gone(request, self._write_all(responder, feed), feed.close)
        feed = self._desk.follow_one(principal, tenant, route.segments[0])
        try:
            letter = await self._desk.show(principal, tenant, route.segments[0])
        except BaseException:
            feed.close()
            raise
        return await until_gone(request, self._write_one(responder, feed, principal, letter), feed.close)

    async def _write_all(self, responder: Responder, feed: Feed) -> Sent:
        """Receipts as they come, until the client leaves."""
        events = 0
        await responder.head(200, (("content-type", EVENT_STREAM), *UNBUFFERED))
        await responder.part(sse.HEARTBEAT)
        while True:
            for receipt in feed.take():
                events += 1
                await responder.part(letter_json.event(receipt.id, receipt.address, receipt.entry))
            failure = feed.failure or self._leaving()
            if failure is not None:
                return await _end(responder, failure, events)
            if not await feed.wait(self._heartbeat_seconds):
                await responder.part(sse.HEARTBEAT)

    async def _write_one(self, responder: Responder, feed: Feed, principal: Principal, letter: Letter) -> Sent:
        """The history of one letter, and what is added to it until it has ended or is gone.

        The store's history is what is told; a receipt says that it is worth reading, a heartbeat looks as well: the
        letter may have been touched by another process.
        """
        events = 0
        last: Entry | None = None
        await responder.head(200, (("content-type", EVENT_STREAM), *UNBUFFERED))
        while True:
            for entry in letter_json.news(letter.history, last):
                events, last = events + 1, entry
                await responder.part(letter_json.event(letter.id, letter.address, entry))
            if not letter.state.is_waiting:
                return await _end(responder, None, events)
            failure = feed.failure or self._leaving()
            if failure is not None:
                return await _end(responder, failure, events)
            if not await feed.wait(self._heartbeat_seconds):
                await responder.part(sse.HEARTBEAT)
            feed.take()
            try:
                letter = await self._desk.show(principal, letter.address.tenant, letter.id)
            except Refused:  # it was purged
                return await _end(responder, None, events)
            except StoreError as error:
                self._node.observer.notice("store_trouble", message=str(error))
                return await _end(responder, Refused(Reason.STORE_FAILED), events)

    def _leaving(self) -> Refused | None:
        return Refused(Reason.RELAY_LEAVING) if self._node.is_leaving else None


LETTER_SURFACES = frozenset(
    {
        *_FEEDS,
        Surface.LETTER,
        Surface.LETTER_RECEIPT,
        Surface.LETTERS,
        Surface.REDRIVE,
        Surface.PURGE,
        Surface.AUDIT,
        Surface.MAILBOXES,
        Surface.PAUSE,
        Surface.RESUME,
    }
)


async def _end(responder: Responder, failure: Refused | None, events: int) -> Sent:
    await responder.part(b"" if failure is None else sse.error_event(refusal(failure).body), more=False)
    return Sent(responder.status, failure, events)


def _single(route: Route) -> dict[str, str]:
    """The query by name. Raises AMBIGUOUS_FIELD for a name that is given twice."""
    found = dict(route.query)
    if len(found) != len(route.query):
        raise Refused(Reason.AMBIGUOUS_FIELD, "a name stands twice in the query")
    return found


def _number(asked: dict[str, str], name: str) -> int | None:
    """Take a number out of what is asked. Raises INVALID_PARAMS for what is none."""
    text = asked.pop(name, None)
    if text is not None and not _NUMBER.fullmatch(text):
        raise Refused(Reason.INVALID_PARAMS, f"{name} is a number")
    return None if text is None else int(text)


def _members(document: bytes) -> dict[str, bytes]:
    """The members of an object. Raises INVALID_PARAMS for what is none, or has a name twice."""
    try:
        return jsonbytes.members(document)
    except jsonbytes.Malformed as malformed:
        raise Refused(Reason.INVALID_PARAMS, malformed.message) from malformed


def _reason_of(body: Mapping[str, bytes]) -> str:
    reason = jsonbytes.text(body.get("reason"))
    if reason is None or not jsonbytes.has_utf8(reason):
        raise Refused(Reason.INVALID_PARAMS, "reason is a text")
    return reason
