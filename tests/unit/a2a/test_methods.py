"""The table of operations, and which method names the relay hands on (security rule S12)."""

from __future__ import annotations

import pytest

from a2a_relay.a2a import methods
from a2a_relay.a2a.methods import BY_NAME, METHODS, Operation


def test_every_operation_of_a2a_has_one_row() -> None:
    assert {method.operation for method in METHODS} == set(Operation) - {Operation.EXTENSION}
    assert len(METHODS) == 11


def test_names_of_the_two_versions_do_not_collide() -> None:
    names = [name for method in METHODS for name in (method.v10, method.v03) if name]
    assert len(names) == len({name.lower() for name in names}) == 21


def test_only_stream_and_subscribe_stream() -> None:
    assert {method.operation for method in METHODS if method.streams} == {Operation.STREAM, Operation.SUBSCRIBE}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_known_methods_are_handed_on(name: str) -> None:
    assert methods.is_acceptable_name(name)


@pytest.mark.parametrize("name", ["x", "vendor/doThing", "com.example.Do_it-2", "$/cancelRequest", "a" * 100])
def test_unknown_methods_of_plain_names_are_handed_on(name: str) -> None:
    assert methods.is_acceptable_name(name)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_known_method_in_another_case_is_not(name: str) -> None:
    for other in (name.lower(), name.upper(), name.swapcase(), name.title()):
        assert methods.is_acceptable_name(other) == (other in BY_NAME)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "SendMessage ",
        " SendMessage",
        "SendMessage\n",
        "message/send\x00",
        "message\\send",
        "SendMessagé",
        "ſendMessage",
        "tas\u212as/get",
        "message:send",
        "a b",
        "a" * 101,
        "SendMessage\u200b",
    ],
)
def test_a_name_that_a_lenient_agent_could_take_for_another_is_not(name: str) -> None:
    assert not methods.is_acceptable_name(name)


@pytest.mark.parametrize(
    "name, in_relay_go",
    [
        ("SendMessage", "message/send"),
        ("message/send", "message/send"),
        ("GetTask", "tasks/get"),
        ("ListTasks", "tasks/list"),
        ("tasks/list", "tasks/list"),
        ("CancelTask", "tasks/cancel"),
        ("SubscribeToTask", "tasks/resubscribe"),
        ("GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"),
        ("vendor/doThing", "vendor/doThing"),
    ],
)
def test_relay_go_names(name: str, in_relay_go: str) -> None:
    assert methods.relay_go_name(name) == in_relay_go


@pytest.mark.parametrize("name", [method.v10 for method in METHODS] + ["vendor/doThing"])
def test_v10_names_speak_v10(name: str) -> None:
    assert methods.speaks_v10(name)


@pytest.mark.parametrize("name", [method.v03 for method in METHODS if method.v03] + ["tasks/list"])
def test_v03_names_do_not(name: str) -> None:
    assert not methods.speaks_v10(name)
