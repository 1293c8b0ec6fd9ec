"""One agent as a process of its own, so that it can be stopped: `agent_process.py TENANT NAME PORT HISTORY`."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from history import History
from letter_agents import LetterAgent, Manners


async def main(tenant: str, name: str, port: str, path: str) -> None:
    """Attend for ever; an answer takes its time, so that there is always something in hand."""
    with History(Path(path)) as history:
        agent = LetterAgent(tenant, name, int(port), history, random.Random(0), time.time)
        agent.manners = Manners(delay_seconds=0.1)
        while True:
            await agent.attend()
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
