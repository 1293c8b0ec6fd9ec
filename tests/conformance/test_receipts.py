"""Receipts: a sender can see what became of a letter, at any time and as it happens; operators mend what went wrong."""

from __future__ import annotations

from typing import Any

import pytest

from agents import Attach, Json
from behaviours import Worker
from clients import AT_ONCE, Client, MakeClient, Relay, result_of
from mail import queue, until_state

receipts = pytest.mark.capability("letter-receipts")
workbench = pytest.mark.capability("letter-workbench")
pytestmark = pytest.mark.capability("mailbox")

WHY = {"reason": "the suite asks for it"}


@pytest.fixture
def admin(relay: Relay, tenant: str, make_client: MakeClient) -> Client:
    """A client whose token has no role: the tenant's admin."""
    return make_client(relay.token(tenant=tenant, user_id="admin"))


def letters(client: Client, rest: str = "") -> str:
    """A path below the tenant's letters."""
    return f"/t/{client.tenant}/letters{rest}"


async def receipt_of(client: Client, id: str) -> Json:
    """The receipt of a letter."""
    response = await client.get(letters(client, f"/{id}"))
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def events_of(receipt: Json) -> list[str]:
    """What has happened to a letter, in order."""
    return [entry["event"] for entry in receipt["history"]]


@receipts
async def test_a_receipt_tells_the_way_of_a_letter(attach: Attach, client: Client, gone: str) -> None:
    task = await queue(client, gone)
    receipt = await receipt_of(client, task["id"])
    assert (receipt["state"], receipt["agent"], events_of(receipt)) == ("queued", gone, ["accepted"])
    await attach(Worker(), id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    receipt = await receipt_of(client, task["id"])
    assert receipt["state"] == "done"
    assert [event for event in events_of(receipt) if event != "working"] == ["accepted", "leased", "acked", "done"]


@receipts
async def test_a_receipt_is_its_senders_and_the_admins(make_client: MakeClient, admin: Client, gone: str) -> None:
    owner, other = make_client(), make_client()
    task = await queue(owner, gone)
    foreign, unknown = [await other.get(letters(other, f"/{id}")) for id in (task["id"], "rly-AAAAAAAAAAAAAAAAAAAAAA")]
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()
    assert (await receipt_of(admin, task["id"]))["owner"]
    assert (await other.get(letters(other))).json()["letters"] == []
    assert [letter["id"] for letter in (await owner.get(letters(owner))).json()["letters"]] == [task["id"]]


@receipts
async def test_the_feed_of_a_letter_ends_with_it(attach: Attach, client: Client, gone: str) -> None:
    task = await queue(client, gone)
    async with client.stream(letters(client, f"/{task['id']}/events"), verb="GET") as events:
        first = await events.next()
        assert (first.name, first.json["event"], first.json["id"]) == ("receipt", "accepted", task["id"])
        await attach(Worker(), id=gone)
        assert [event.json["event"] for event in await events.all()][-2:] == ["acked", "done"]


@receipts
async def test_the_feed_of_all_letters_tells_a_sender_of_its_own(make_client: MakeClient, gone: str) -> None:
    owner, other = make_client(), make_client()
    async with owner.stream(letters(owner, "/events"), verb="GET") as events:
        await events.next_item()
        await queue(other, gone)
        task = await queue(owner, gone)
        assert (await events.next()).json["id"] == task["id"]


# what an operator can do


@workbench
async def test_a_paused_mailbox_takes_letters_and_hands_out_none(
    attach: Attach, client: Client, admin: Client, gone: str
) -> None:
    mailbox = f"/t/{admin.tenant}/agents/{gone}/mailbox"
    task = await queue(client, gone)
    assert (await admin.post(f"{mailbox}:pause", WHY)).status_code == 200
    agent = await attach(Worker(), id=gone)
    assert (await admin.get(f"/t/{admin.tenant}/mailboxes")).json()["mailboxes"][0]["paused"] is True
    assert agent.calls == []
    assert (await admin.post(f"{mailbox}:resume", WHY)).status_code == 200
    await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")


@workbench
async def test_an_expired_letter_is_redriven(attach: Attach, client: Client, admin: Client, gone: str) -> None:
    task = await queue(client, gone, headers={**AT_ONCE, "A2A-Relay-TTL": "1"})
    await until_state(client, gone, task["id"], "TASK_STATE_FAILED")
    order = {**WHY, "filter": {"agent": gone, "state": "expired"}}
    assert (await admin.post(letters(admin, ":redrive"), order)).json() == {"redriven": 1}
    await attach(Worker(), id=gone)
    await until_state(client, gone, task["id"], "TASK_STATE_COMPLETED")
    audit = (await admin.get(letters(admin, ":audit"))).json()["entries"]
    assert (audit[0]["reason"], audit[0]["touched"]) == (WHY["reason"], 1)


@workbench
async def test_purged_letters_are_gone(client: Client, admin: Client, gone: str) -> None:
    task = await queue(client, gone)
    assert (await admin.post(letters(admin, ":purge"), WHY)).status_code == 400, "nothing says that all are meant"
    assert (await admin.post(letters(admin, ":purge"), {**WHY, "all": True})).json() == {"purged": 1}
    assert (await client.get(letters(client, f"/{task['id']}"))).status_code == 404


@workbench
@pytest.mark.parametrize("path", ["/letters:redrive", "/letters:purge", "/letters:audit", "/mailboxes"])
async def test_the_workbench_is_the_admins(client: Client, path: str) -> None:
    target = f"/t/{client.tenant}{path}"
    body: Any = {**WHY, "all": True}
    asking = path in ("/mailboxes", "/letters:audit")
    response = await (client.get(target) if asking else client.post(target, body))
    assert response.status_code == 403


@receipts
async def test_a_letter_that_is_being_read_shows_no_body(client: Client, admin: Client, gone: str) -> None:
    task = await queue(client, gone, "for your eyes only")
    for path in ("", f"/{task['id']}"):
        assert "for your eyes only" not in (await admin.get(letters(admin, path))).text
    assert result_of(await client.rpc(gone, "GetTask", {"id": task["id"]}))
