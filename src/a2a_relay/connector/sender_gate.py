"""Before the agent: whether a call's sender is who the relay says, and whether the agent's owner lets it in."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any

import structlog

from a2a_relay.connector import senders, service_headers
from a2a_relay.connector.refused import one_line
from a2a_relay.connector.senders import RelayKeys, Sender, SenderRefused
from a2a_relay.connector.upstream import Output, Upstream, failed
from a2a_relay.errors import Reason
from a2a_relay.wire import stamps
from a2a_relay.wire.agent_side import AuthOk, IncomingRequest

_SESSIONS = 4
"""Calls of the link before this one may still be on their way in."""
_TOLD_EVERY_SECONDS = 60.0
_LOG = structlog.get_logger("a2a_relay.connector")


class VerifySenders(StrEnum):
    """Whether a connector checks who the relay says is calling."""

    OFF = "off"
    """The relay's word counts, which came over its own link; nothing signed is handed on."""
    ON = "on"
    """What is signed is checked and handed on; a call whose sender cannot be checked goes on without one."""
    REQUIRE = "require"
    """A call whose sender cannot be checked is refused."""


class SenderGate:
    """An `Upstream` before the agent's: calls reach it with a checked sender, without one, or not at all."""

    def __init__(
        self,
        upstream: Upstream,
        keys: RelayKeys | None,
        *,
        is_required: bool = False,
        allowed: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keys` is None where nothing is checked; `allowed` are the identities that may call, empty: all."""
        self._upstream = upstream
        self._keys = keys
        self._is_required = is_required
        self._allowed = frozenset(allowed)
        self._monotonic = monotonic
        self._told_at = float("-inf")
        self._macs: OrderedDict[str, stamps.Mac | None] = OrderedDict()
        self._audience = ""
        self._is_vouched_for = False
        """Whether the relay signs at all: what an older one says over its own link is as good as ever."""

    @property
    def checks(self) -> bool:
        """Whether the relay is to vouch for senders."""
        return self._keys is not None

    def attach(self, welcome: AuthOk) -> None:
        """There is a link: the calls that follow are this session's."""
        self._audience = stamps.audience(welcome.tenant, welcome.agent)
        self._macs[welcome.session] = stamps.Mac(welcome.stamp_key) if welcome.stamp_key else None
        self._is_vouched_for = bool(welcome.stamp_key)
        if len(self._macs) > _SESSIONS:
            self._macs.popitem(last=False)

    # an upstream

    @property
    def adopts_ids(self) -> bool:
        return self._upstream.adopts_ids

    @property
    def serves_rest_v03(self) -> bool:
        return self._upstream.serves_rest_v03

    async def start(self) -> None:
        await self._upstream.start()

    async def aclose(self) -> None:
        await self._upstream.aclose()

    async def read_card(self) -> bytes | None:
        return await self._upstream.read_card()

    async def call(self, request: IncomingRequest, output: Output) -> None:
        await self._upstream.call(await self.admit(request), output)

    # the gate

    async def admit(self, request: IncomingRequest) -> IncomingRequest:
        """The call as the agent may see it. Raises `CallFailed` with PERMISSION_DENIED for one that it must not see."""
        meta = {name: value for name, value in request.meta.items() if name not in _STAMPS}
        if self._keys is None or not (self._is_vouched_for or self._is_required):
            identity = service_headers.sender(meta)
        else:
            identity = await self._check(self._keys, request, meta)
        if self._allowed and identity not in self._allowed:
            raise failed(Reason.PERMISSION_DENIED, "the agent does not take calls of this sender")
        return request._replace(meta=meta)

    async def _check(self, keys: RelayKeys, request: IncomingRequest, meta: dict[str, Any]) -> str:
        """Put into `meta` what is known of the sender for sure; its identity, or nothing."""
        stamp = request.meta.get("stamp")
        statement = stamp.get("assertion") if isinstance(stamp, dict) else None
        try:
            if not isinstance(stamp, dict) or not isinstance(statement, str):
                raise SenderRefused("the relay vouches for no sender")
            sender = await keys.verify(statement, self._audience)
            self._require_bound(sender, request, stamp.get("mac"))
        except SenderRefused as refused:
            self._tell(refused)
            if self._is_required:
                raise failed(Reason.PERMISSION_DENIED, "the sender of this call cannot be checked") from refused
            meta.pop("sender", None)
            return ""
        meta["sender"] = _facts(sender)
        meta[service_headers.CHECKED] = statement
        return sender.identity

    def _require_bound(self, sender: Sender, request: IncomingRequest, tag: object) -> None:
        """Refuse a statement that speaks of another session, letter or call than this one. Raises `SenderRefused`."""
        confirmed = sender.claims.get("cnf")
        session = confirmed.get("session") if isinstance(confirmed, dict) else None
        if not isinstance(session, str) or not request.id.startswith(f"{session}."):
            raise SenderRefused("the statement is of another session")
        if sender.is_letter:
            told = {name: sender.claims.get(name) for name in ("letter", "frame", "method", "params_sha256")}
            digest = stamps.params_digest(request.params)
            letter = request.meta.get("letter")
            if told != {"letter": letter, "frame": request.id, "method": request.method, "params_sha256": digest}:
                raise SenderRefused("the statement is of another letter")
            return
        mac = self._macs.get(session)
        if mac is None:
            raise SenderRefused("the statement is of another session")
        if "letter" in request.meta:
            raise SenderRefused("a letter needs a statement of its own")
        expected = mac(sender.id, request.id, request.method, request.params, request.rest).decode()
        if not isinstance(tag, str) or not tag.isascii() or not hmac.compare_digest(expected, tag):
            raise SenderRefused("the statement is of another call")

    def _tell(self, refused: SenderRefused) -> None:
        """Once a minute: what is wrong with one call is often wrong with all."""
        now = self._monotonic()
        if now - self._told_at >= _TOLD_EVERY_SECONDS:
            self._told_at = now
            _LOG.warning("sender_not_checked", reason=one_line(str(refused)))


_STAMPS = ("stamp", service_headers.CHECKED)


def _facts(sender: Sender) -> dict[str, Any]:
    found: dict[str, Any] = {
        "identity": sender.identity,
        "role": sender.role,
        "tenant": sender.tenant,
        "via": list(sender.via),
    }
    return found | {name: text for name, text in (("key", sender.key), ("issuer", sender.issuer)) if text}


def keys_for(mode: VerifySenders | str | None, make: Callable[[], RelayKeys]) -> RelayKeys | None:
    """What a connector checks senders with; by default it does where it can. Raises `MissingExtra`."""
    if mode == VerifySenders.OFF or (mode is None and not senders.is_available()):
        return None
    return make()
