"""What is looked after from time to time: letters whose time has passed, and what a failing store has left in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_relay.core.letter import DeadReason, LetterEvent
from a2a_relay.errors import StoreError

if TYPE_CHECKING:
    from a2a_relay.node.mail.mailroom import Mailroom

SWEEP_SECONDS = 1.0
ABANDONED_SWEEPS = 30
"""Every so many sweeps it is looked for letters that nobody holds any more."""
_LIMIT = 200
"""Letters of one sweep."""


class Janitor:
    """Sweeps once a second, from the first letter or agent on."""

    def __init__(self, room: Mailroom) -> None:
        self._room = room
        self._node = room.node
        self._mailbox = room.mailbox
        self.is_count_stale = True
        """Whether the store is to be asked how many letters are waiting."""
        self._is_in_doubt = False
        """Whether the store has failed in a step that may have been taken all the same."""
        self._is_due = False
        self._sweeps = 0

    def begin(self) -> None:
        """There is something to look after."""
        if not self._is_due:
            self._is_due = True
            self._node.clock.call_later(SWEEP_SECONDS, lambda: self._room.jobs.start(self._round()))

    def doubt(self) -> None:
        """A step has failed; whether it was taken is found out when the store works again."""
        self._is_in_doubt = True
        self.begin()

    async def _round(self) -> None:
        self._is_due = False
        if self._node.is_leaving:
            return
        try:
            await self.sweep()
            self._sweeps += 1
            if self._sweeps % ABANDONED_SWEEPS == 0:
                await self.give_up_abandoned()
        except StoreError as error:
            self._room.tell_trouble(error)
        self.begin()

    async def sweep(self) -> None:
        """Expire what is overdue, and remove what was kept for long enough. Raises StoreError."""
        room = self._room
        for letter in await self._mailbox.sweep(_LIMIT, self._node.limits.dead_ttl_seconds):
            room.publish(letter, LetterEvent.EXPIRED)
            room.ended(letter)
            room.deliveries.wake(letter.address)
        if self._is_in_doubt:
            self._is_in_doubt = False
            await self._look_anew()
        if self.is_count_stale:
            self.is_count_stale = False
            room.waiting = await self._mailbox.count()

    async def _look_anew(self) -> None:
        """Find out what has become of steps that seemed to fail."""
        for session in self._node.sessions:
            session.is_recovered = False
        self._room.renew()
        await self._room.tell_followers()

    async def give_up_abandoned(self) -> None:
        """Bury what is overdue and was left leased by a session whose agent has not come back. Raises StoreError."""
        room = self._room
        for letter in await self._mailbox.overdue(_LIMIT):
            if (
                self._node.find_session(letter.address) is None
                and room.deliveries.in_hand(letter.address, letter.id) is None
                and not room.late.has(letter.id)
            ):
                await room.deliveries.bury(letter, DeadReason.DELIVERED_UNKNOWN)
