"""Every operation on every surface, as somebody asks who must not: generated from the tables of routes and methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple
from urllib.parse import quote

from attacked_relay import Belongings, Request, message, rpc

from a2a_relay.a2a.methods import METHODS, RELAY_GO_LIST, Operation
from a2a_relay.admin.routes import OPERATIONS
from a2a_relay.core.target import Surface

Make = Callable[[Belongings, Belongings], Request]
"""A request about the first one's belongings by somebody who has the second one's."""


class Attack(NamedTuple):
    """One request that not everybody may make."""

    surface: Surface
    name: str
    make: Make
    names_ids: bool = True
    """Whether it speaks of something of Ann's; what does not, her tenant's other senders may ask, too."""
    is_admins: bool = False
    """Whether it takes an admin, or an operator."""
    shows_own: bool = False
    """Whether whoever may ask at all is answered with what is its own."""
    is_operators: bool = False
    """Whether operators may ask it."""
    is_claim: bool = False
    """Whether what does not exist yet may be named: a context is whose who uses it first."""


OPEN = frozenset({Surface.INFO, Surface.HEALTH, Surface.LIVEZ, Surface.READYZ, Surface.JWKS})
"""Anybody may ask these, and is told nothing of anybody's."""
LINKS = frozenset({Surface.AGENT_LINK, Surface.RELAY_ELIXIR_LINK})
"""Agents come in here; they are tried frame by frame."""

UNKNOWN_METHODS = ("x/steal", "tasks/export", "SendMessage ", "sendmessage", "gettask", "GetTask\\u0000")


def all_attacks() -> list[Attack]:
    """All of them."""
    return [*_open(), *_rpc(), *_rest(), *_streams(), *_letters(), *_directories(), *_admin()]


def _text(text: str) -> str:
    return json.dumps(text)


def _spellings(name: str) -> list[str]:
    """Other names that a lenient reader takes for this one."""
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
    found = {snake, name.upper(), name.lower(), name[0].upper() + name[1:], name.replace("Id", "ID"), f"{name}_"}
    found |= {name.replace("k", "\u212a"), name.replace("s", "\u017f")}  # which Go takes for k and s
    return sorted(found - {name})


def _members(name: str, foreign: str, own: str) -> Iterator[tuple[str, str]]:
    """A member that names something foreign, in every way in which two readers may differ."""
    mine, theirs = _text(own), _text(foreign)
    yield "canonical", f'"{name}":{theirs}'
    yield "escaped", f'"\\u{ord(name[0]):04x}{name[1:]}":{theirs}'
    yield "twice, foreign last", f'"{name}":{mine},"{name}":{theirs}'
    yield "twice, foreign first", f'"{name}":{theirs},"{name}":{mine}'
    for other in _spellings(name):
        yield f"as {other}", f'"{other}":{theirs}'
        yield f"own, and as {other}", f'"{name}":{mine},"{other}":{theirs}'


def _with_members(name: str, kind: str, frame: str) -> Iterator[tuple[str, Callable[[Belongings, Belongings], str]]]:
    """Params in which `%s` of the frame is a member; `kind` is whose id it names."""
    for label, _ in _members(name, "x", "y"):

        def params(foreign: Belongings, own: Belongings, label: str = label) -> str:
            return frame % dict(_members(name, getattr(foreign, kind), getattr(own, kind)))[label]

        yield label, params


_MESSAGE = '{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],%s}}'
_CONFIG = (
    '{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},'
    '"configuration":{"taskPushNotificationConfig":{"url":"https://hook.example/",%s}}}'
)


def _params_of(operation: Operation, *, is_v03: bool) -> Iterator[tuple[str, Make | None, Callable[..., str], bool]]:
    """Params of one operation that name somebody else's: label, params, and whether a context is what they name."""
    frames: list[tuple[str, str, str]] = []
    match operation:
        case Operation.SEND | Operation.STREAM:
            frames = [("taskId", "task", _MESSAGE), ("contextId", "context", _MESSAGE), ("taskId", "task", _CONFIG)]
            frames += [("taskId", "letter", _MESSAGE), ("contextId", "queued_context", _MESSAGE)]
        case Operation.GET | Operation.CANCEL | Operation.SUBSCRIBE:
            frames = [("id", "task", "{%s}"), ("id", "letter", "{%s}")]
        case Operation.LIST:
            frames = [("contextId", "context", "{%s}"), ("contextId", "queued_context", "{%s}")]
        case Operation.PUSH_SET:
            config = (
                '"pushNotificationConfig":{"url":"https://hook.example/"}' if is_v03 else '"url":"https://h.example/"'
            )
            frames = [("taskId", kind, "{" + config + ",%s}") for kind in ("task", "letter")]
        case Operation.PUSH_GET | Operation.PUSH_LIST | Operation.PUSH_DELETE:
            name, more = ("id", "") if is_v03 else ("taskId", ',"id":"c1"')
            frames = [(name, kind, "{%s" + more + "}") for kind in ("task", "letter")]
    for name, kind, frame in frames:
        for label, params in _with_members(name, kind, frame):
            yield f"{kind} {label}", None, params, "context" in kind
    if operation in (Operation.SEND, Operation.STREAM):
        yield (
            "reference",
            None,
            lambda foreign, own: json.dumps({"message": message("x", referenceTaskIds=[own.task, foreign.task])}),
            False,
        )
        yield (
            "reference to a letter",
            None,
            lambda foreign, own: json.dumps({"message": message("x", referenceTaskIds=[foreign.letter])}),
            False,
        )


def _base(foreign: Belongings, kind: str = "") -> str:
    return f"/t/{foreign.tenant}/a2a/{foreign.away if 'letter' in kind or 'queued' in kind else foreign.agent}"


def _rpc_names() -> Iterator[tuple[Operation, str, bool]]:
    for method in METHODS:
        yield method.operation, method.v10, False
        if method.v03:
            yield method.operation, method.v03, True
    yield Operation.LIST, RELAY_GO_LIST, True


def _rpc() -> Iterator[Attack]:
    for operation, name, is_v03 in _rpc_names():
        for label, _, params, is_context in _params_of(operation, is_v03=is_v03):

            def make(
                foreign: Belongings,
                own: Belongings,
                name: str = name,
                label: str = label,
                params: Callable[..., str] = params,
            ) -> Request:
                return rpc(name, params(foreign, own), _base(foreign, label) + "/")

            yield Attack(Surface.RPC, f"{name} {label}", make, is_claim=is_context)
        if operation is Operation.EXTENDED_CARD or operation in (Operation.SEND, Operation.STREAM, Operation.LIST):
            params_text = (
                json.dumps({"message": message("x")}) if operation in (Operation.SEND, Operation.STREAM) else "{}"
            )

            def bare(foreign: Belongings, own: Belongings, name: str = name, text: str = params_text) -> Request:
                return rpc(name, text, _base(foreign) + "/")

            yield Attack(Surface.RPC, f"{name} bare", bare, names_ids=False)
        yield Attack(
            Surface.ROOT_RPC,
            f"{name} at the root",
            lambda foreign, own, name=name, operation=operation, is_v03=is_v03: _at_root(  # type: ignore[misc]
                name, operation, foreign, own, is_v03=is_v03
            ),
            names_ids=operation is not Operation.EXTENDED_CARD,
            is_claim=operation is Operation.LIST,
        )
    for name in UNKNOWN_METHODS:
        for kind in ("task", "letter"):
            yield Attack(
                Surface.RPC,
                f"{name} {kind}",
                lambda foreign, own, name=name, kind=kind: rpc(  # type: ignore[misc]
                    name, {"id": getattr(foreign, kind), "taskId": getattr(foreign, kind)}, _base(foreign, kind) + "/"
                ),
            )
    for label, write in _ADDRESSES.items():
        yield Attack(
            Surface.RPC,
            f"GetTask at {label}",
            lambda foreign, own, write=write: rpc("GetTask", {"id": foreign.task}, write(foreign)),  # type: ignore[misc]
        )


def _at_root(name: str, operation: Operation, foreign: Belongings, own: Belongings, *, is_v03: bool) -> Request:
    params = next((params for _, _, params, _ in _params_of(operation, is_v03=is_v03)), None)
    return rpc(name, "{}" if params is None else params(foreign, own), "/")


_ADDRESSES: dict[str, Callable[[Belongings], str]] = {
    "no slash": lambda it: f"/t/{it.tenant}/a2a/{it.agent}",
    "an encoded tenant": lambda it: f"/t/%{ord(it.tenant[0]):02x}{it.tenant[1:]}/a2a/{it.agent}/",
    "an encoded agent": lambda it: f"/t/{it.tenant}/a2a/%{ord(it.agent[0]):02X}{it.agent[1:]}/",
    "two encodings": lambda it: f"/t/%25{ord(it.tenant[0]):02x}{it.tenant[1:]}/a2a/{it.agent}/",
    "a way up": lambda it: f"/t/evil/a2a/x/../../../{it.tenant}/a2a/{it.agent}/",
    "an encoded way up": lambda it: f"/t/evil/a2a/%2e%2e/%2e%2e/{it.tenant}/a2a/{it.agent}/",
    "an encoded slash": lambda it: f"/t/{it.tenant}%2Fa2a/{it.agent}/",
    "two slashes": lambda it: f"/t/{it.tenant}//a2a/{it.agent}/",
    "a null": lambda it: f"/t/{it.tenant}/a2a/{it.agent}%00/",
    "a query of another": lambda it: f"/t/{it.tenant}/a2a/{it.agent}/?tenant=evil&agent=zaf",
    "relay-elixir's": lambda it: f"/{it.tenant}/{it.agent}",
    "relay-elixir's stream": lambda it: f"/{it.tenant}/{it.agent}/message/stream",
    "a host of its own": lambda it: f"http://evil.example/t/{it.tenant}/a2a/{it.agent}/",
}


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


_PATHS: dict[str, Callable[[str], str]] = {
    "plain": quote,
    "encoded": _encoded,
    "one encoded": lambda text: _encoded(text[0]) + quote(text[1:]),
}


def _rest() -> Iterator[Attack]:
    for method in METHODS:
        for head in ("", "v1/", "other-tenant/"):
            yield from _rest_of(method.operation, head)
    for operation, path in ((Operation.SEND, "message/send"), (Operation.STREAM, "message/stream")):
        yield from _rest_sends(operation, path)
    for kind in ("task", "letter"):
        for label, write in _PATHS.items():
            yield Attack(
                Surface.REST,
                f"POST tasks/{{id}}/cancel {kind} {label}",
                lambda foreign, own, write=write, kind=kind: Request(  # type: ignore[misc]
                    "POST", f"{_base(foreign, kind)}/tasks/{write(getattr(foreign, kind))}/cancel"
                ),
            )


def _rest_sends(operation: Operation, path: str) -> Iterator[Attack]:
    for label, _, params, is_context in _params_of(operation, is_v03=False):

        def make(
            foreign: Belongings, own: Belongings, label: str = label, params: Callable[..., str] = params
        ) -> Request:
            return Request("POST", f"{_base(foreign, label)}/{path}", params(foreign, own).encode())

        yield Attack(Surface.REST, f"POST {path} {label}", make, is_claim=is_context)


_ON_TASKS: dict[Operation, tuple[tuple[str, str], ...]] = {
    Operation.GET: (("GET", ""),),
    Operation.CANCEL: (("POST", ":cancel"),),
    Operation.SUBSCRIBE: (("GET", ":subscribe"), ("POST", ":subscribe")),
    Operation.PUSH_SET: (("POST", "/pushNotificationConfigs"),),
    Operation.PUSH_LIST: (("GET", "/pushNotificationConfigs"),),
    Operation.PUSH_GET: (("GET", "/pushNotificationConfigs/c1"),),
    Operation.PUSH_DELETE: (("DELETE", "/pushNotificationConfigs/c1"),),
}


def _rest_of(operation: Operation, head: str) -> Iterator[Attack]:
    match operation:
        case Operation.SEND:
            yield from _rest_sends(operation, f"{head}message:send")
        case Operation.STREAM:
            yield from _rest_sends(operation, f"{head}message:stream")
        case Operation.EXTENDED_CARD:
            path = f"{head}{'card' if head == 'v1/' else 'extendedAgentCard'}"
            yield Attack(
                Surface.REST,
                f"GET {path}",
                lambda foreign, own: Request("GET", f"{_base(foreign)}/{path}"),
                names_ids=False,
            )
        case Operation.LIST:
            for name in ("contextId", "context_id", "CONTEXTID"):
                yield Attack(
                    Surface.REST,
                    f"GET {head}tasks?{name}",
                    lambda foreign, own, name=name: Request(  # type: ignore[misc]
                        "GET", f"{_base(foreign)}/{head}tasks?{name}={foreign.context}"
                    ),
                    is_claim=True,
                )
        case _:
            yield from _rest_tasks(operation, head)


def _rest_tasks(operation: Operation, head: str) -> Iterator[Attack]:
    for verb, below in _ON_TASKS[operation]:
        body = b'{"url":"https://h.example/"}' if operation is Operation.PUSH_SET else b"{}" if verb == "POST" else b""
        for kind in ("task", "letter"):
            for label, write in _PATHS.items():
                yield Attack(
                    Surface.REST,
                    f"{verb} {head}tasks/{{id}}{below} {kind} {label}",
                    lambda foreign, own, kind=kind, write=write, verb=verb, below=below, body=body: Request(  # type: ignore[misc]
                        verb, f"{_base(foreign, kind)}/{head}tasks/{write(getattr(foreign, kind))}{below}", body
                    ),
                )
        for name in ("id", "taskId", "task_id", "TASKID"):
            if name == "id" and "push" in operation:
                continue  # the configuration's own
            yield Attack(
                Surface.REST,
                f"{verb} {head}tasks/{{own}}{below} and {name}",
                lambda foreign, own, verb=verb, below=below, name=name: _contradicting(  # type: ignore[misc]
                    verb, f"{_base(foreign)}/{head}tasks/{own.task}{below}", name, foreign.task
                ),
                is_claim=True,  # what only looks like an id of the relay's is the agent's business
            )


def _contradicting(verb: str, target: str, name: str, id: str) -> Request:
    """The path names one's own task, and something else another's."""
    if verb == "POST":
        return Request(verb, target, json.dumps({name: id, "url": "https://h.example/"}).encode())
    return Request(verb, f"{target}?{name}={id}")


def _streams() -> Iterator[Attack]:
    writings = {**_PATHS, "in upper case": lambda text: text.upper()}
    for label, write in writings.items():
        for verb in ("GET", "HEAD"):
            yield Attack(
                Surface.STREAM,
                f"{verb} {label}",
                lambda foreign, own, write=write, verb=verb: Request(  # type: ignore[misc]
                    verb, f"{_base(foreign)}/streams/{write(foreign.stream)}"
                ),
            )
        yield Attack(
            Surface.STREAM,
            f"Last-Event-ID {label}",
            lambda foreign, own, write=write: Request(  # type: ignore[misc]
                "GET",
                f"{_base(foreign)}/streams/{write(foreign.stream)}",
                headers=(("last-event-id", f"{foreign.stream}.e-0"),),
            ),
        )
    for name in ("SendStreamingMessage", "message/stream"):
        yield Attack(
            Surface.RPC,
            f"{name} with Last-Event-ID",
            lambda foreign, own, name=name: rpc(  # type: ignore[misc]
                name, {"message": message("x")}, _base(foreign) + "/"
            )._replace(headers=(("last-event-id", f"{foreign.stream}.e-0"),)),
        )
    yield Attack(
        Surface.STREAM,
        "Last-Event-ID of another at one's own",
        lambda foreign, own: Request(
            "GET", f"{_base(foreign)}/streams/{own.stream}", headers=(("last-event-id", f"{foreign.stream}.e-0"),)
        ),
    )


def _letters() -> Iterator[Attack]:
    for label, write in {**_PATHS, "in upper case": lambda text: text.upper()}.items():
        for surface, path in (
            (Surface.LETTER, "tasks/{}"),
            (Surface.LETTER_RECEIPT, "letters/{}"),
            (Surface.LETTER_FEED, "letters/{}/events"),
        ):
            yield Attack(
                surface,
                label,
                lambda foreign, own, write=write, path=path: Request(  # type: ignore[misc]
                    "GET", f"/t/{foreign.tenant}/{path.format(write(foreign.letter))}"
                ),
                is_operators=surface is not Surface.LETTER,
            )
    for query in ("", "?agent=sleeper", "?owner=key:k1", "?agent=sleeper&owner=key:k1&state=queued", "?limit=200"):
        yield Attack(
            Surface.LETTERS,
            query or "all",
            lambda foreign, own, query=query: Request("GET", f"/t/{foreign.tenant}/letters{query}"),  # type: ignore[misc]
            is_operators=True,
            shows_own=True,
        )
    for query in ("", "?agent=sleeper"):
        yield Attack(
            Surface.LETTERS_FEED,
            query or "all",
            lambda foreign, own, query=query: Request("GET", f"/t/{foreign.tenant}/letters/events{query}"),  # type: ignore[misc]
            is_operators=True,
            shows_own=True,
        )
    orders = (
        {"reason": "x", "all": True},
        {"reason": "x", "filter": {"agent": "sleeper"}},
        {"reason": "x", "filter": {"owner": "key:k1"}},
    )
    for order in orders:
        for surface, path in ((Surface.REDRIVE, "letters:redrive"), (Surface.PURGE, "letters:purge")):
            yield Attack(
                surface,
                json.dumps(order),
                lambda foreign, own, order=order, path=path: Request(  # type: ignore[misc]
                    "POST", f"/t/{foreign.tenant}/{path}", json.dumps(order).encode()
                ),
                is_admins=True,
                is_operators=True,
                shows_own=True,
            )
    for surface, path in ((Surface.AUDIT, "letters:audit"), (Surface.MAILBOXES, "mailboxes")):
        yield Attack(
            surface,
            "all",
            lambda foreign, own, path=path: Request("GET", f"/t/{foreign.tenant}/{path}"),  # type: ignore[misc]
            is_admins=True,
            is_operators=True,
            shows_own=surface is Surface.MAILBOXES,
        )
    for surface, path in ((Surface.PAUSE, "mailbox:pause"), (Surface.RESUME, "mailbox:resume")):
        for label, agent in (("plain", lambda it: it.away), ("encoded", lambda it: _encoded(it.away))):
            yield Attack(
                surface,
                label,
                lambda foreign, own, agent=agent, path=path: Request(  # type: ignore[misc]
                    "POST", f"/t/{foreign.tenant}/agents/{agent(foreign)}/{path}", b'{"reason":"x"}'
                ),
                is_admins=True,
                is_operators=True,
            )


def _directories() -> Iterator[Attack]:
    yield Attack(
        Surface.DIRECTORY,
        "all",
        lambda foreign, own: Request("GET", "/.well-known/agents"),
        names_ids=False,
        shows_own=True,
        is_operators=True,
    )
    yield Attack(
        Surface.TENANT_DIRECTORY,
        "all",
        lambda foreign, own: Request("GET", f"/t/{foreign.tenant}/agents"),
        names_ids=False,
        shows_own=True,
        is_operators=True,
    )
    for name in ("agent-card.json", "agent.json"):
        yield Attack(
            Surface.ROOT_CARD,
            name,
            lambda foreign, own, name=name: Request("GET", f"/.well-known/{name}"),  # type: ignore[misc]
            names_ids=False,
        )
        for label, agent in (("plain", lambda it: it.agent), ("encoded", lambda it: _encoded(it.agent))):
            yield Attack(
                Surface.CARD,
                f"{name} {label}",
                lambda foreign, own, name=name, agent=agent: Request(  # type: ignore[misc]
                    "GET", f"/t/{foreign.tenant}/a2a/{agent(foreign)}/.well-known/{name}"
                ),
                names_ids=False,
            )
    yield Attack(
        Surface.CARD,
        "relay-elixir's",
        lambda foreign, own: Request("GET", f"/{foreign.tenant}/{foreign.agent}/.well-known/agent.json"),
        names_ids=False,
    )
    for verb in ("GET", "HEAD"):
        yield Attack(
            Surface.ORIGINAL_CARD,
            verb,
            lambda foreign, own, verb=verb: Request(  # type: ignore[misc]
                verb, f"{_base(foreign)}/.well-known/agent-card.original.json"
            ),
            is_admins=True,
        )
    for verb, body in (("PUT", b"{}"), ("PUT", b'{"card":{"name":"mine"}}'), ("DELETE", b"")):
        for label, agent in (("attached", lambda it: it.agent), ("away", lambda it: it.away)):
            yield Attack(
                Surface.DIRECTORY_ENTRY,
                f"{verb} {label} {body.decode()}",
                lambda foreign, own, verb=verb, body=body, agent=agent: Request(  # type: ignore[misc]
                    verb, f"/t/{foreign.tenant}/agents/{agent(foreign)}", body
                ),
                is_admins=True,
                is_operators=True,
            )


def _open() -> Iterator[Attack]:
    for surface, target in (
        (Surface.INFO, "/"),
        (Surface.HEALTH, "/health"),
        (Surface.LIVEZ, "/livez"),
        (Surface.READYZ, "/readyz"),
        (Surface.JWKS, "/.well-known/jwks.json"),
    ):
        yield Attack(
            surface,
            "all",
            lambda foreign, own, target=target: Request("GET", target),  # type: ignore[misc]
            names_ids=False,
            shows_own=True,
            is_operators=True,
        )


_OWN = ("/whoami", "/tenants", "/audit", "/keys:verify", "/openapi.json")
"""Of the administration API: where whoever manages anything is shown what is its own."""
_BODIES = {
    "createTenant": b'{"name":"mine"}',
    "createKey": b'{"name":"mine","role":"admin"}',
    "createOperatorKey": b'{"name":"mine","role":"operator"}',
    "verifyKey": b'{"key":"rly_agent_nonsense"}',
    "setTenant": b'{"networks":["192.0.2.66"]}',
    "setLimits": b'{"limits":{"calls_per_second":1}}',
    "setKeyLimits": b'{"limits":{"calls_per_second":1}}',
    "setLegacy": b'{"takes_legacy":true}',
    "putIssuer": b'{"url":"https://id.example","audiences":["a"],"jwks_url":"https://id.example/jwks"}',
}
"""What would be taken from whoever may: a body that is refused for itself would prove nothing."""


def _admin() -> Iterator[Attack]:
    """Each route of the administration API, about Ann's tenant and her key."""
    for operation in OPERATIONS:
        is_own = f"/{operation.path}" in _OWN
        bodies = (_BODIES.get(operation.id, b'{"reason":"mine"}'), b"{}") if operation.has_body else (b"",)
        spellings = (("plain", str), ("encoded", _encoded)) if "{" in operation.path else (("plain", str),)
        for (label, spell), body in product(spellings, bodies):
            yield Attack(
                Surface.ADMIN,
                f"{operation.verb} {operation.path} {label} {body.decode()}",
                lambda foreign, own, path=operation.path, body=body, spell=spell, verb=operation.verb: Request(  # type: ignore[misc]
                    verb, _admin_target(path, foreign, spell), body
                ),
                names_ids=not is_own,
                is_admins=True,
                is_operators=True,
                shows_own=is_own,
            )
    for path in ("audit?tenant={tenant}", "tenants/{tenant}/issuers?url=https://id.example"):
        verb = "GET" if "audit" in path else "DELETE"
        yield Attack(
            Surface.ADMIN,
            f"{verb} {path}",
            lambda foreign, own, path=path, verb=verb: Request(verb, _admin_target(path, foreign, str)),  # type: ignore[misc]
            is_admins=True,
            is_operators=True,
        )


def _admin_target(path: str, foreign: Belongings, spell: Callable[[str], str]) -> str:
    found = f"/admin/api/v1/{path}".replace("{tenant}", spell(foreign.tenant))
    return found.replace("{key}", spell(foreign.key))
