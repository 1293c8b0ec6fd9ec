"""What settings say, as the rules that the rooms know."""

from __future__ import annotations

from a2a_relay.core.letter import Room
from a2a_relay.core.limits import Limits
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.mail_rules import AgentMailRule, MailPolicy, MailRules
from a2a_relay.core.rates import Subject, check_limits
from a2a_relay.core.stream_rules import AgentRule, StreamPolicy, StreamRules
from a2a_relay.errors import SettingsError
from a2a_relay.settings import Settings
from a2a_relay.wire.flow import Window


def read_limits(settings: Settings) -> Limits:
    """The limits that settings ask for."""
    return Limits(
        max_body=settings.max_body,
        older_dialect_max_frame=settings.older_dialect_max_frame,
        max_first_frame=settings.max_first_frame,
        max_card=settings.max_card,
        card_updates_per_minute=settings.card_updates_per_minute,
        unary_in_flight=settings.unary_in_flight,
        streams_in_flight=settings.streams_in_flight,
        agents_per_tenant=settings.agents_per_tenant,
        stream_buffer_events=settings.stream_buffer_events,
        stream_buffer_bytes=settings.stream_buffer_bytes,
        link_backlog_bytes=settings.link_backlog_bytes,
        bodies_in_flight_bytes=settings.bodies_in_flight_bytes,
        login_failures=settings.login_failures,
        exempt_addresses=settings.exempt_addresses,
        unauthenticated_per_address=settings.unauthenticated_per_address,
        auth_timeout_seconds=settings.auth_timeout,
        request_timeout_seconds=settings.request_timeout,
        stream_window=Window(settings.stream_window_events, settings.stream_window_bytes),
        replay_events=settings.replay_events,
        replay_bytes=settings.replay_bytes,
        replay_total_bytes=settings.replay_total_bytes,
        replay_seconds=settings.replay_time,
        detach_grace_seconds=settings.detach_grace,
        resume_grace_seconds=settings.resume_grace,
        session_limit_seconds=settings.session_limit,
        session_grace_seconds=settings.leave_grace,
        letter_time_seconds=settings.letter_time,
        result_ttl_seconds=settings.result_ttl,
        dead_ttl_seconds=settings.dead_ttl,
        late_answer_seconds=settings.late_answer,
        idempotency_time_seconds=settings.idempotency_time,
        keyed_answers=settings.keyed_answers,
        keyed_answers_bytes=settings.keyed_answers_bytes,
        tracked_tasks=settings.tracked_tasks,
        receipt_feeds=settings.receipt_feeds,
        receipt_buffer=settings.receipt_buffer,
    )


def read_link_rules(settings: Settings) -> LinkRules:
    """What settings say of the links of all agents."""
    return LinkRules(
        refuses_second_session=settings.on_second_session == "refuse",
        takeover_hold_seconds=settings.takeover_hold,
        is_expiry_strict=settings.link_expiry == "strict",
    )


def read_default_limits(settings: Settings) -> dict[Subject, dict[str, float]]:
    """What settings say each tenant, key and agent may do. Raises SettingsError for limits that there are not."""
    given = {
        Subject.TENANT: settings.tenant_limits,
        Subject.KEY: settings.key_limits,
        Subject.AGENT: settings.agent_limits,
    }
    try:
        return {subject: check_limits(values, subject) for subject, values in given.items()}
    except ValueError as error:
        raise SettingsError(str(error)) from error


def read_stream_policy(settings: Settings) -> StreamPolicy:
    """What settings say of the streams of all agents, and of single ones."""
    rules = tuple(
        AgentRule(
            rule.tenant, rule.agent, rule.idle, rule.total, None if rule.window is None else rule.window == "durable"
        )
        for rule in settings.stream_rules
    )
    return StreamPolicy(StreamRules(settings.stream_idle, settings.stream_total), settings.stream_window, rules)


def read_mail_policy(settings: Settings) -> MailPolicy:
    """What settings say of the letters of all agents, and of single ones."""
    defaults = MailRules(
        offline_queues=settings.offline == "queue",
        room=Room(settings.mailbox_letters, settings.mailbox_bytes),
        ttl_seconds=settings.letter_ttl,
        attempts=settings.letter_attempts,
        contexts=settings.letter_contexts,
        sync_wait_seconds=settings.sync_wait,
    )
    return MailPolicy(
        defaults,
        tuple(
            AgentMailRule(
                rule.tenant,
                rule.agent,
                offline_queues=None if rule.offline is None else rule.offline == "queue",
                letters=rule.letters,
                bytes=rule.bytes,
                ttl_seconds=rule.ttl,
                attempts=rule.attempts,
                contexts=rule.contexts,
                sync_wait_seconds=rule.wait,
            )
            for rule in settings.mailbox_rules
        ),
    )
