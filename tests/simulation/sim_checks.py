"""What must hold when a schedule has come to rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from a2a_relay.core.letter import LetterState

if TYPE_CHECKING:
    from sim_world import World

_FAILED = ("TASK_STATE_FAILED",)
_STATES = {
    LetterState.DONE: ("TASK_STATE_COMPLETED", "TASK_STATE_WORKING", "TASK_STATE_INPUT_REQUIRED", *_FAILED),
    LetterState.EXPIRED: _FAILED,
    LetterState.DEAD: _FAILED,
    LetterState.CANCELED: ("TASK_STATE_CANCELED",),
}


def is_busy(world: World) -> bool:
    """Whether anything is under way."""
    node, mail = world.node, world.node.mail
    assert mail is not None
    sessions = sum(len(session.exchanges) for session in node._hub)
    return bool(
        sessions
        or len(node.exchanges)
        or len(node.streams)
        or len(node.wheel)
        or len(mail.jobs)
        or any(not asked.sink.is_over and not asked.is_cut for client in world.clients for asked in client.asked)
    )


def check_rest(world: World) -> None:
    """What must hold when nothing is under way."""
    require, node, mail = world.ledger.require, world.node, world.node.mail
    assert mail is not None
    left = [(story.letter.id, story.letter.state, story.letter.address) for story in world.ledger.waiting()]
    require(not left, "every letter has ended", left)
    for client in world.clients:
        for asked in client.asked:
            is_answered = asked.sink.is_over or asked.is_cut
            require(is_answered, "everybody is answered", asked.call.method, asked.about, asked.token)
    deliveries = mail.deliveries
    kept = {
        "exchanges": [list(session.exchanges) for session in node._hub if session.exchanges],
        "in flight": len(node.exchanges),
        "streams": len(node.streams),
        "timers": len(node.wheel),
        "jobs": len(mail.jobs),
        "in hand": deliveries._in_hand,
        "drains": deliveries._draining,
        "drain timers": deliveries._timers,
        "followers": mail.followers.followed(),
        "expected": mail._expected._waiting,
        "late": mail.late._ids,
    }
    kept = {name: found for name, found in kept.items() if found}
    require(not kept, "nothing is kept in memory", kept)
    snapshot = node.snapshot()
    waiting = sum(world.mailbox.backlog().values())
    events = [str(event) for event, *_ in world.observers[-1].letters]
    require(snapshot.letters_waiting == waiting, "counters agree", snapshot.letters_waiting, waiting, events)
    for observer in world.observers:
        faults = [facts for event, facts in observer.notices if event == "internal_error"]
        require(not faults, "no job of the relay fails", faults)


async def check_tasks(world: World) -> None:
    """With every agent away, each task of the relay's says how its letter has ended."""
    for agent in world.agents:
        agent.cut(world.node, is_clean=True)
    await world.settle()
    asked = {
        story.letter.id: world.clients[-1].ask_about(world.node, "GetTask", story.letter.address, story.letter.id)
        for story in world.ledger.stories.values()
        if not story.is_purged and story.letter.id == story.letter.task_id
    }
    await world.settle()
    world.look()
    for id, question in asked.items():
        letter = world.ledger.stories[id].letter
        state = json.loads(question.sink.outcome.body)["status"]["state"]  # type: ignore[union-attr]
        world.ledger.require(state in _STATES[letter.state], "a task says how its letter ended", id, state, letter)
