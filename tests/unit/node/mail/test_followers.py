"""Whoever reads along while a letter is being answered."""

from __future__ import annotations

from mail_relay import MailRelay

from a2a_relay.core.stream import Stream
from a2a_relay.errors import Reason, Refused
from a2a_relay.testing import RecordingSink, make_call


def follow(relay: MailRelay, id: str) -> tuple[RecordingSink, Stream]:
    sink = RecordingSink()
    stream = relay.node.streams.open_here(make_call("SendStreamingMessage"), sink, lambda _: None)
    relay.room.followers.add(id, stream)
    return sink, stream


async def test_everybody_is_told_of_his_own_letter_alone(relay: MailRelay) -> None:
    (ann, _), (bob, _), (eve, _) = (follow(relay, id) for id in ("rly-1", "rly-1", "rly-2"))
    relay.room.followers.feed("rly-1", b"1")
    relay.room.followers.end("rly-1", None)
    assert ann.bodies == bob.bodies == [b"1"]
    assert ann.failure is None
    assert not eve.events
    assert not eve.is_over


async def test_who_has_left_is_forgotten(relay: MailRelay) -> None:
    sink, stream = follow(relay, "rly-1")
    relay.node.leave_stream(stream, sink)
    relay.clock.advance(relay.limits.detach_grace_seconds + 1)
    assert relay.room.followers.followed() == []


async def test_those_who_follow_are_known_by_tenant_and_letter(relay: MailRelay) -> None:
    follow(relay, "rly-1")
    assert relay.room.followers.followed() == [("acme", "rly-1")]


async def test_everybody_is_told_when_the_relay_leaves(relay: MailRelay) -> None:
    sink, _ = follow(relay, "rly-1")
    relay.room.followers.end_all(Refused(Reason.RELAY_LEAVING))
    assert isinstance(sink.failure, Refused)
    assert relay.room.followers.followed() == []
