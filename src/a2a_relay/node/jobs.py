"""Coroutines that belong to the node and not to any caller."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from a2a_relay.ports.observer import Observer


class Jobs:
    """Holds coroutines until they are over. One that fails is told of, and takes no other with it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine on the node's loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def finished(self, seconds: float) -> None:
        """Wait until none is left, so long at most."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._observer.notice("internal_error", error=repr(error), where=task.get_coro().__qualname__)  # type: ignore[union-attr]
