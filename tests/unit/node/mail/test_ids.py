"""Ids that the relay makes."""

from __future__ import annotations

import pytest

from a2a_relay.a2a.spans import Spans
from a2a_relay.node.mail.ids import is_relays, names_relay, new_id


def test_an_id_is_the_relays_and_like_no_other() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(is_relays(id) and len(id) == 36 for id in ids)


@pytest.mark.parametrize("id", [None, "", "a1", "xrly-1"])
def test_any_other_id_is_not(id: str | None) -> None:
    assert not is_relays(id)


@pytest.mark.parametrize(
    "spans",
    [Spans(task_id="rly-1"), Spans(context_id="rly-1"), Spans(task_id="a", reference_task_ids=("b", "rly-1"))],
)
def test_a_call_speaks_of_the_relays_wherever_such_an_id_stands(spans: Spans) -> None:
    assert names_relay(spans)


def test_a_call_that_names_none_does_not() -> None:
    assert not names_relay(Spans(task_id="a", context_id="b", reference_task_ids=("c",)))
