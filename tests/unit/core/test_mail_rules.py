"""What holds for the letters of one agent."""

from __future__ import annotations

from a2a_relay.core.letter import Room
from a2a_relay.core.mail_rules import AgentMailRule, MailPolicy, MailRules
from a2a_relay.testing import make_address

ZAF = make_address()


def test_without_a_word_the_relays_own_holds() -> None:
    assert MailPolicy().rules_for(ZAF) == MailRules()
    assert MailPolicy(MailRules(ttl_seconds=5)).rules_for(ZAF).ttl_seconds == 5


def test_a_rule_changes_what_it_speaks_of_and_nothing_else() -> None:
    before = MailRules(True, Room(5, 500), 50, 3, 2, 1)
    every = AgentMailRule("acme", "zaf", False, 6, 600, 60, 4, 3, 0)
    assert MailPolicy(before, (every,)).rules_for(ZAF) == MailRules(False, Room(6, 600), 60, 4, 3, 0)
    for rule, after in (
        (AgentMailRule("acme", "zaf"), before),
        (AgentMailRule("acme", "zaf", letters=6), before._replace(room=Room(6, 500))),
        (AgentMailRule("acme", "zaf", bytes=6), before._replace(room=Room(5, 6))),
        (AgentMailRule("acme", "zaf", sync_wait_seconds=0), before._replace(sync_wait_seconds=0)),
    ):
        assert MailPolicy(before, (rule,)).rules_for(ZAF) == after


def test_the_last_rule_that_speaks_of_an_agent_counts() -> None:
    policy = MailPolicy(
        agents=(
            AgentMailRule("*", "*", ttl_seconds=1, attempts=1),
            AgentMailRule("acme", "*", attempts=2),
            AgentMailRule("acme", "zaf", attempts=3, contexts=1),
            AgentMailRule("other", "zaf", attempts=4),
        )
    )
    assert policy.rules_for(ZAF) == MailRules(ttl_seconds=1, attempts=3, contexts=1)
    assert policy.rules_for(make_address("acme/ann")) == MailRules(ttl_seconds=1, attempts=2)
    assert policy.rules_for(make_address("third/zaf")) == MailRules(ttl_seconds=1, attempts=1)
