"""The relay as an ASGI application: every request is routed by `core.target` on its raw target."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from a2a_relay.core.exchange import AgentError
from a2a_relay.core.target import Route, Surface, read_target
from a2a_relay.errors import OverLimit, Reason, Refused, StoreError
from a2a_relay.fronts.http.administering import AdminFront
from a2a_relay.fronts.http.agent_socket import refuse_socket, serve_agent
from a2a_relay.fronts.http.answer import Answer, Headers, refusal
from a2a_relay.fronts.http.calls import Calls
from a2a_relay.fronts.http.desk import CALL_SURFACES, CallDesk
from a2a_relay.fronts.http.exposure import Exposure
from a2a_relay.fronts.http.information import Information
from a2a_relay.fronts.http.letters import LETTER_SURFACES, Letters
from a2a_relay.fronts.http.request import HttpRequest, Receive, Scope, Send, raw_target
from a2a_relay.fronts.http.responding import Responder, Sent, is_there_after
from a2a_relay.fronts.http.upgrade import LINK_SURFACES
from a2a_relay.node.relay_node import RelayNode
from a2a_relay.ports.observer import CallReport

PAGE_HEADERS: Headers = (
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
)
"""Of what a person may open in a browser: it is JSON, and no page at all."""

Hook = Callable[[], Awaitable[None]]


class RelayApp:
    """One relay for one ASGI server."""

    def __init__(
        self,
        node: RelayNode,
        desk: CallDesk,
        information: Information,
        exposure: Exposure,
        *,
        on_shutdown: Hook,
        on_startup: Hook | None = None,
        letters: Letters | None = None,
        admin: AdminFront | None = None,
    ) -> None:
        """`letters` is where questions about letters are answered; without it there are none.

        `on_startup` is called when the loop runs and nobody has come yet.
        """
        self.node = node
        self.desk = desk
        self._calls = Calls(desk)
        self._information = information
        self._letters = letters
        self._admin = admin
        self.exposure = exposure
        self._on_startup = on_startup
        self._on_shutdown = on_shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = self.node.clock.monotonic()
        try:
            request = HttpRequest(scope, receive)
        except Refused as refused:
            request = HttpRequest({**scope, "headers": []}, receive)
            await Responder(request, send).whole(refusal(refused))
            return self._report(request, None, "", Sent(400, refused), started_at)
        if self.exposure.has_proxies:
            request.host = self.exposure.client_host(request.headers, request.client)
        cors = self.desk.cors
        responder = Responder(request, send, cors.headers(request.headers) if cors is not None else ())
        route: Route | None = None
        method = request.verb
        try:
            preflight = cors.preflight(request, relay_elixir=self.desk.rules.relay_elixir) if cors is not None else None
            if preflight is not None:
                await responder.whole(preflight)
                return self._report(request, None, method, Sent(preflight.status, None), started_at)
            route = read_target(request.verb, request.target, relay_elixir=self.desk.rules.relay_elixir)
            if route.surface in CALL_SURFACES:
                sent, method = await self._calls.serve(request, route, responder)
            elif self._letters is not None and route.surface in LETTER_SURFACES:
                sent = await self._letters.serve(request, route, responder)
            elif route.surface is Surface.ADMIN:
                if self._admin is None:
                    raise Refused(Reason.NOT_FOUND)
                sent = await self._admin.serve(request, route, responder)
            else:
                answer = await self._answer(request, route)
                answer = answer._replace(headers=(*answer.headers, *PAGE_HEADERS))
                await responder.whole(answer)
                sent = Sent(answer.status, None)
        except (Refused, StoreError) as error:
            sent = await self._refuse(request, responder, error)
        except Exception as error:  # noqa: BLE001  a bug costs its own request, and is told
            self.node.observer.notice("internal_error", error=repr(error), where=_where(error), request_id=request.id)
            sent = Sent(responder.status, Refused(Reason.INTERNAL))
            if not responder.status:
                await responder.whole(refusal(Refused(Reason.INTERNAL)))
        return self._report(request, route, method, sent, started_at)

    async def _answer(self, request: HttpRequest, route: Route) -> Answer:
        if request.verb == "PUT":
            return await self._information.register(request, route, self.desk.rules.body_timeout_seconds)
        return self._information.answer(request, route)

    async def _refuse(self, request: HttpRequest, responder: Responder, error: Refused | StoreError) -> Sent:
        if isinstance(error, Refused):
            refused = error
        else:
            self.node.observer.notice("store_trouble", message=str(error))
            refused = Refused(Reason.STORE_FAILED)
        if refused.reason is Reason.CLIENT_GONE:
            return Sent(0, refused)
        if isinstance(refused, OverLimit) and not await is_there_after(request, refused.hold_seconds):
            return Sent(0, refused)
        await responder.whole(refusal(refused))
        return Sent(responder.status, refused)

    def _report(self, request: HttpRequest, route: Route | None, method: str, sent: Sent, started_at: float) -> None:
        outcome = sent.outcome
        reason = outcome.reason if isinstance(outcome, Refused) else None
        address = route.address if route is not None else None
        if reason is not None and self.node.refusals is not None:
            self.node.refusals.note_call(reason, address, method, request.client)
        self.node.observer.call_finished(
            CallReport(
                request_id=request.id,
                address=address,
                method=method,
                status=sent.status,
                reason=reason,
                is_agent_error=isinstance(outcome, AgentError),
                is_call=route is not None and route.surface in CALL_SURFACES,
                duration_seconds=self.node.clock.monotonic() - started_at,
                events=sent.events,
            )
        )

    def report_refusal(self, refused: Refused, client: tuple[str, int] | None) -> None:
        """A request that was refused below HTTP's meaning: its head could not be read or was too large."""
        self.node.observer.call_finished(
            CallReport(
                request_id="",
                address=None,
                method="HTTP",
                status=refused.ruling.http_status,
                reason=refused.reason,
                duration_seconds=0.0,
                is_call=False,
                peer=client[0] if client else "",
            )
        )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            route = read_target("GET", raw_target(scope), relay_elixir=self.desk.rules.relay_elixir)
            if route.surface not in LINK_SURFACES:
                raise Refused(Reason.NOT_FOUND)
            await serve_agent(scope, receive, send, route.surface, self.node, self.exposure)
        except Refused:
            await refuse_socket(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._on_startup is not None:
            await self._on_startup()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._on_shutdown()
        await send({"type": "lifespan.shutdown.complete"})


def _where(error: BaseException) -> str:
    """The innermost frames of an error, and of the errors in a group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_where(inner) for inner in error.exceptions)
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames[-3:]))
