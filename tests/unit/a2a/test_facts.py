"""What an answer, an event or a send says, in whatever version, and nothing of what it does not say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_relay.a2a import facts
from a2a_relay.a2a.facts import Facts, Kind, read_facts, returns_at_once

STATUS = '"status":{"state":"working","message":{"taskId":"other","parts":[]}}'
IDS = '"taskId":"t","contextId":"c"'


@pytest.mark.parametrize(
    "body, expected",
    [
        (f'{{"kind":"task","id":"t","contextId":"c",{STATUS}}}', Facts(Kind.TASK, "t", "c", "working")),
        (f'{{"id":"t","contextId":"c",{STATUS}}}', Facts(Kind.TASK, "t", "c", "working")),
        (f'{{"task":{{"id":"t","contextId":"c",{STATUS}}}}}', Facts(Kind.TASK, "t", "c", "working")),
        (f'{{"task":{{"id":"t",{STATUS},"artifacts":[3]}}}}', Facts(Kind.TASK, "t", None, "working")),
        (f'{{"task":{{"id":"t","context_id":"c",{STATUS}}}}}', Facts(Kind.TASK, "t", "c", "working")),
        (f'{{"kind":"message","messageId":"m",{IDS},"parts":[]}}', Facts(Kind.MESSAGE, "t", "c")),
        ('{"message":{"messageId":"m","role":"ROLE_AGENT"}}', Facts(Kind.MESSAGE)),
        ('{"messageId":"m","role":"ROLE_AGENT"}', Facts(Kind.MESSAGE)),
        (f'{{"kind":"status-update",{IDS},{STATUS},"final":true}}', Facts(Kind.STATUS, "t", "c", "working")),
        (f'{{"statusUpdate":{{{IDS},{STATUS}}}}}', Facts(Kind.STATUS, "t", "c", "working")),
        (f'{{"status_update":{{"task_id":"t",{STATUS}}}}}', Facts(Kind.STATUS, "t", None, "working")),
        (f'{{"kind":"artifact-update",{IDS},"artifact":{{}}}}', Facts(Kind.ARTIFACT, "t", "c")),
        (f'{{ "artifactUpdate" : {{{IDS},"artifact":{{}}}} }}', Facts(Kind.ARTIFACT, "t", "c")),
        ('{"kind":"task","id":"\\ud83d","contextId":"c"}', Facts(Kind.TASK, None, "c")),
        ('{"kind":"task","id":7,"contextId":"","status":"x"}', Facts(Kind.TASK)),
    ],
)
def test_facts_are_read_in_every_version(body: str, expected: Facts) -> None:
    assert read_facts(body.encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"3",
        b"[]",
        b'"x"',
        b"{}",
        b'{"tasks":[]}',
        b'{"task":null}',
        b'{"kind":"x"}',
        b"{",
        b"\xff",
        b'{"a":',
    ],
)
def test_what_is_nothing_of_these_is_other(body: bytes) -> None:
    assert read_facts(body) == Facts(Kind.OTHER)


values = st.sampled_from(['"t"', '"c"', '""', "3", "null", "[]", '{"state":"failed"}', '"task"', '"status-update"'])
names = st.sampled_from(
    ["kind", "id", "taskId", "task_id", "contextId", "context_id", "status", "messageId", "artifact"]
)


@st.composite
def objects(draw: st.DrawFn) -> str:
    found = draw(st.dictionaries(names, values, max_size=6))
    return "{" + ",".join(f'"{name}":{value}' for name, value in found.items()) + "}"


wrapped = st.builds('{{"{}":{}}}'.format, st.sampled_from(list(facts.WRAPPERS)), objects())


@settings(max_examples=1000, deadline=None)
@given(st.one_of(objects(), wrapped).map(str.encode))
def test_the_quick_reader_says_what_the_thorough_one_says(body: bytes) -> None:
    quick = facts._read_usual(body)

    assert quick is None or quick == facts._read_any(body)


@pytest.mark.parametrize("kind", ['"kind":"task",', ""])
def test_usual_tasks_are_read_by_the_quick_reader(kind: str) -> None:
    task = f'{{{kind}"id":"t","contextId":"c",{STATUS},"artifacts":[]}}'

    assert facts._read_usual((task if kind else f'{{"task":{task}}}').encode()) == Facts(Kind.TASK, "t", "c", "working")


@pytest.mark.parametrize(
    "params, at_once",
    [
        ('{"configuration":{"returnImmediately":true}}', True),
        ('{"configuration" : { "blocking" : false } }', True),
        ('{"configuration":{"returnImmediately":false}}', False),
        ('{"configuration":{"blocking":true}}', False),
        ('{"configuration":{"returnImmediately":"true","blocking":null}}', False),
        ('{"configuration":{}}', False),
        ('{"configuration":null}', False),
        ('{"message":{"returnImmediately":true}}', False),
        ("null", False),
        ("{}", False),
    ],
)
def test_a_send_may_say_that_it_is_answered_at_once(params: str, at_once: bool) -> None:
    assert returns_at_once(params.encode()) is at_once
