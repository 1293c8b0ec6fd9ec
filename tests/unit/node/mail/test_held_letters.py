"""Letters of an agent that another instance has taken over alive: they wait, in case it was a theft."""

from __future__ import annotations

from mail_relay import MailRelay, is_asked

from a2a_relay.testing import MemoryTransport, Playbook, RecordingSink, make_call

THERE = "198.51.100.7:50000"
WELCOME = '<< {"type":"auth_ok", ...}'


class TestLettersOfAnAgentThatWasTakenOver:
    async def begin(self) -> tuple[MailRelay, Playbook]:
        """An agent that holds a letter, and another instance that has taken its place."""
        mail = MailRelay()
        await mail.known()
        await mail.queued("one")
        old = await mail.attach(more='"instance":"i-1"')
        assert is_asked(old)
        await mail.queued("two", respond_async=True)
        transport = MemoryTransport(THERE)
        new = Playbook(mail.node, mail.clock, transport=transport, token=mail.token())
        new.play('>> {"type":"auth","token":"$token","protocol":"a2a-relay/1","instance":"i-2","features":["letters"]}')
        old.transport.hear()
        new.play(WELCOME)
        await mail.settled()
        return mail, new

    async def test_are_held_back_and_then_handed_over(self) -> None:
        mail, new = await self.begin()
        await mail.advance(29)
        assert not is_asked(new)
        await mail.advance(2)
        assert is_asked(new)

    async def test_are_not_set_free_by_another_link_of_the_newcomer(self) -> None:
        mail, new = await self.begin()
        new.play("xx")
        again = await mail.attach(more='"instance":"i-2"')
        await mail.advance(28)
        assert not is_asked(again)
        await mail.advance(3)
        assert is_asked(again)

    async def test_do_not_hold_up_its_live_calls(self) -> None:
        mail, new = await self.begin()
        mail.node.submit(make_call(), RecordingSink())
        await mail.settled()
        assert is_asked(new)

    async def test_are_not_held_from_the_same_instance(self) -> None:
        mail = MailRelay()
        await mail.known()
        await mail.queued()
        await mail.attach(more='"instance":"i-1"')
        again = await mail.attach(more='"instance":"i-1"')
        await mail.advance(5)
        assert is_asked(again)
