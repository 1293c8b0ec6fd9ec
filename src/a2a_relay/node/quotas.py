"""How much each tenant, party and agent has had, and whether there is more: calls, streams, reads, sessions, letters.

Nothing is counted for anybody before some limit is set. What is counted is forgotten when nobody has asked for long:
a bucket that was idle is full, which is what a new one is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import NamedTuple

from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal
from a2a_relay.core.rates import LIMITS, Bucket, Rate, Subject
from a2a_relay.errors import OverLimit, Quota
from a2a_relay.ports.clock import Clock
from a2a_relay.ports.credentials import CredentialStore

MAX_ACCOUNTS = 20_000
"""Of one kind, in one generation; there are two generations."""
REFRESH_SECONDS = 0.1
"""After a change of a tenant or a key; changes come in crowds."""
HOLD_SECONDS = 1.0
"""How long, at most, the answer to whoever goes on regardless is kept back, and the next request on its connection with
it. From half of it on they are spread, so that a flood does not come back all at once."""
_GOLDEN = 0.6180339887
MAX_HELD = 10_000
"""Answers that are kept back at a time; what is beyond is answered at once."""
_PATIENCE = 10.0
"""Refusals a second that are answered at once, where the limit itself is not higher."""
_NO_LIMITS: Mapping[str, float] = {}


class Terms(NamedTuple):
    """What one subject may have; None or 0: as much as it likes."""

    calls: Rate | None = None
    reads: Rate | None = None
    stream_bytes: Rate | None = None
    calls_in_flight: float = 0
    streams_in_flight: float = 0
    sessions: float = 0
    mailbox_bytes: float = 0

    @classmethod
    def of(cls, limits: Mapping[str, float]) -> Terms:
        """The terms of limits by name; names that are none are nobody's limit."""
        known = {name: float(value) for name, value in limits.items() if name in LIMITS}
        return cls(
            Rate.of(known.get("calls_per_second", 0), known.get("calls_burst", 0)),
            Rate.of(known.get("reads_per_second", 0)),
            Rate.of(known.get("stream_bytes_per_second", 0)),
            known.get("calls_in_flight", 0),
            known.get("streams_in_flight", 0),
            known.get("sessions", 0),
            known.get("mailbox_bytes", 0),
        )


class Account:
    """What one subject has had lately, and has now."""

    __slots__ = (
        "calls",
        "calls_in_flight",
        "reads",
        "refusals",
        "stream_bytes",
        "streams_in_flight",
        "terms",
        "version",
    )

    def __init__(self) -> None:
        self.terms = Terms()
        self.version = -1
        self.calls = Bucket()
        self.reads = Bucket()
        self.stream_bytes = Bucket()
        self.refusals = Bucket()
        self.calls_in_flight = 0
        self.streams_in_flight = 0


class Accounts:
    """The accounts of one kind of subject, in two generations: the older goes when the younger is full.

    Accounts that something is in flight of stay in any case.
    """

    def __init__(self, max_accounts: int = MAX_ACCOUNTS) -> None:
        self._max = max_accounts
        self.young: dict[Hashable, Account] = {}
        self._old: dict[Hashable, Account] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def of(self, name: Hashable) -> Account:
        """The account of this name, which may be a new one."""
        account = self.young.get(name)
        if account is None:
            account = self._old.pop(name, None) or Account()
            if len(self.young) >= self._max:
                busy = {
                    name: account
                    for name, account in self._old.items()
                    if account.calls_in_flight or account.streams_in_flight
                }
                self._old, self.young = self.young, busy
            self.young[name] = account
        return account


class Place:
    """What one call in flight occupies; `leave` when it is over, whatever has become of it."""

    __slots__ = ("_is_left", "_is_stream", "_party", "_tenant")

    def __init__(self, tenant: Account, party: Account | None, *, is_stream: bool) -> None:
        self._tenant = tenant
        self._party = party
        self._is_stream = is_stream
        self._is_left = False
        if is_stream:
            self._count_stream(1)
        else:
            tenant.calls_in_flight += 1
            if party is not None:
                party.calls_in_flight += 1

    def leave(self) -> None:
        """The call is over; a second time means nothing."""
        if self._is_left:
            return
        self._is_left = True
        if self._is_stream:
            self._count_stream(-1)
        else:
            self._tenant.calls_in_flight -= 1
            if self._party is not None:
                self._party.calls_in_flight -= 1

    def _count_stream(self, more: int) -> None:
        self._tenant.streams_in_flight += more
        if self._party is not None:
            self._party.streams_in_flight += more


class Quotas:
    """Asked by the fronts before a call costs anything, and by the node for what takes longer.

    `is_set` says whether there is any limit at all: where there is none, nobody asks.
    """

    def __init__(
        self,
        clock: Clock,
        credentials: CredentialStore | None,
        defaults: Mapping[Subject, Mapping[str, float]] | None = None,
    ) -> None:
        """`defaults` hold for whoever has no limit of that name of its own."""
        self._clock = clock
        self._monotonic = clock.monotonic
        self._credentials = credentials
        self._defaults = {subject: (defaults or {}).get(subject, _NO_LIMITS) for subject in Subject}
        self._agent_terms = Terms.of(self._defaults[Subject.AGENT])
        self._tenants = Accounts()
        self._parties = Accounts()
        self._agents = Accounts()
        self._held: deque[float] = deque()
        """Until when answers are kept back."""
        self._spread = 0.0
        self._version = 0
        self._is_refreshing = False
        self._limits_parties = self._limits_agents = self.is_set = False
        self._refresh()
        if credentials is not None:
            credentials.watch(self._changed)

    def __len__(self) -> int:
        """How many accounts there are."""
        return len(self._tenants) + len(self._parties) + len(self._agents)

    # calls

    def require_call(self, principal: Principal, address: Address) -> None:
        """Count one call. Raises OverLimit, and then counts nothing."""
        now = self._monotonic()
        tenant = self._tenant(principal.tenant)
        rate, before = tenant.terms.calls, tenant.calls.full_at
        if rate is not None and (wait := tenant.calls.try_take(rate, now)):
            raise self._over(tenant, Subject.TENANT, "calls_per_second", _quota("calls", rate), wait)
        if not self._limits_parties and not self._limits_agents:
            return
        try:
            self._require_more(principal, address, now)
        except OverLimit:
            tenant.calls.full_at = before
            raise

    def _require_more(self, principal: Principal, address: Address, now: float) -> None:
        """The same for the party and the agent."""
        party, before = None, 0.0
        if self._limits_parties:
            party = self._party(principal)
            rate, before = party.terms.calls, party.calls.full_at
            if rate is not None and (wait := party.calls.try_take(rate, now)):
                raise self._over(party, Subject.KEY, "calls_per_second", _quota("calls", rate), wait)
        if self._limits_agents:
            agent = self._agent(address)
            rate = agent.terms.calls
            if rate is not None and (wait := agent.calls.try_take(rate, now)):
                if party is not None:
                    party.calls.full_at = before
                raise self._over(agent, Subject.AGENT, "calls_per_second", _quota("calls", rate), wait)

    def enter(self, principal: Principal, *, is_stream: bool) -> Place:
        """Count one call as in flight until its place is left. Raises OverLimit."""
        tenant = self._tenant(principal.tenant)
        party = self._party(principal) if self._limits_parties else None
        if is_stream:
            self._require_stream(Subject.TENANT, tenant)
            if party is not None:
                self._require_stream(Subject.KEY, party)
            return Place(tenant, party, is_stream=True)
        limit = tenant.terms.calls_in_flight
        if limit and tenant.calls_in_flight >= limit:
            raise self._over(tenant, Subject.TENANT, "calls_in_flight", Quota("calls-in-flight", int(limit)), 1)
        if party is not None:
            limit = party.terms.calls_in_flight
            if limit and party.calls_in_flight >= limit:
                raise self._over(party, Subject.KEY, "calls_in_flight", Quota("calls-in-flight", int(limit)), 1)
        return Place(tenant, party, is_stream=False)

    def _require_stream(self, subject: Subject, account: Account) -> None:
        limit, rate = account.terms.streams_in_flight, account.terms.stream_bytes
        if limit and account.streams_in_flight >= limit:
            raise self._over(account, subject, "streams_in_flight", Quota("streams-in-flight", int(limit)), 1)
        if rate is not None and (wait := account.stream_bytes.wait(rate, self._monotonic())):
            raise self._over(account, subject, "stream_bytes_per_second", _quota("stream-bytes", rate), wait)

    def require_read(self, principal: Principal) -> None:
        """Count one read of what the relay itself knows. Raises OverLimit."""
        now = self._monotonic()
        accounts = self._accounts(principal)
        for subject, account in accounts:
            rate = account.terms.reads
            wait = account.reads.wait(rate, now) if rate is not None else 0
            if rate is not None and wait:
                raise self._over(account, subject, "reads_per_second", _quota("reads", rate), wait)
        for _, account in accounts:
            if account.terms.reads is not None:
                account.reads.take(account.terms.reads, now)

    # what takes longer

    def count_streamed(self, principal: Principal, size: int) -> None:
        """So many bytes more were streamed, whether there was room for them or not."""
        now = self._monotonic()
        for _, account in self._accounts(principal):
            if account.terms.stream_bytes is not None:
                account.stream_bytes.take(account.terms.stream_bytes, now, size)

    def stream_wait(self, principal: Principal) -> float:
        """For how many seconds the agents of a party's streams are to wait."""
        now, wait = self._monotonic(), 0.0
        for _, account in self._accounts(principal):
            rate = account.terms.stream_bytes
            if rate is not None:
                wait = max(wait, account.stream_bytes.wait(rate, now))
        return wait

    def require_session(self, tenant: str, attached: int) -> None:
        """Refuse one agent more than a tenant may have attached. Raises OverLimit."""
        account = self._tenant(tenant)
        if account.terms.sessions and attached >= account.terms.sessions:
            quota = Quota("sessions", int(account.terms.sessions))
            raise self._over(account, Subject.TENANT, "sessions", quota, 1)

    def mailbox_bytes(self, tenant: str) -> float:
        """What all letters of a tenant that wait may have together; 0: no limit."""
        return self._tenant(tenant).terms.mailbox_bytes

    def require_mailbox_room(self, tenant: str, held_bytes: int, size: int) -> None:
        """Refuse a letter of `size` bytes to a tenant whose letters hold so much. Raises OverLimit."""
        account = self._tenant(tenant)
        limit = account.terms.mailbox_bytes
        if limit and held_bytes + size > limit:
            raise self._over(account, Subject.TENANT, "mailbox_bytes", Quota("mailbox-bytes", int(limit)), 60)

    # whose

    def _accounts(self, principal: Principal) -> list[tuple[Subject, Account]]:
        found = [(Subject.TENANT, self._tenant(principal.tenant))]
        if self._limits_parties:
            found.append((Subject.KEY, self._party(principal)))
        return found

    def _tenant(self, name: str) -> Account:
        account = self._tenants.young.get(name)
        if account is None or account.version != self._version:
            account = self._tenants.of(name)
            record = self._credentials.tenant(name) if self._credentials is not None else None
            self._renew(account, Subject.TENANT, _NO_LIMITS if record is None else record.limits)
        return account

    def _party(self, principal: Principal) -> Account:
        name = (principal.tenant, principal.owner)
        account = self._parties.young.get(name)
        if account is None or account.version != self._version:
            account = self._parties.of(name)
            record = self._credentials.key(principal.key) if self._credentials is not None and principal.key else None
            self._renew(account, Subject.KEY, _NO_LIMITS if record is None else record.limits)
        return account

    def _agent(self, address: Address) -> Account:
        account = self._agents.of(address)
        account.terms = self._agent_terms
        return account

    def _renew(self, account: Account, subject: Subject, own: Mapping[str, float]) -> None:
        account.terms, account.version = Terms.of({**self._defaults[subject], **own}), self._version

    # refusing

    def _over(self, account: Account, subject: Subject, limit: str, quota: Quota, wait: float) -> OverLimit:
        now = self._monotonic()
        calls = account.terms.calls
        patience = Rate.of(max(_PATIENCE, calls.per_second if calls is not None else 0))
        hold = 0.0
        if patience is not None and account.refusals.wait(patience, now):
            hold = self._hold(now)
        elif patience is not None:
            account.refusals.take(patience, now)
        return OverLimit(quota, limit, str(subject), wait, hold)

    def _hold(self, now: float) -> float:
        held = self._held
        while held and held[0] <= now:
            held.popleft()
        if len(held) >= MAX_HELD:
            return 0.0
        held.append(now + HOLD_SECONDS)
        self._spread = (self._spread + _GOLDEN) % 1
        return HOLD_SECONDS * (0.5 + self._spread / 2)

    # changes

    def _changed(self) -> None:
        """A tenant or a key has changed: what is known of it is asked again when it is needed, the rest soon."""
        self._version += 1
        if not self._is_refreshing:
            self._is_refreshing = True
            self._clock.call_later(REFRESH_SECONDS, self._refresh)

    def _refresh(self) -> None:
        """Whether anybody has a limit, of which kind."""
        self._is_refreshing = False
        tenants = self._credentials.tenants() if self._credentials is not None else ()
        self._limits_agents = bool(self._defaults[Subject.AGENT])
        self._limits_parties = bool(self._defaults[Subject.KEY]) or any(
            self._limits_key_of(found.name) for found in tenants
        )
        limits_tenants = bool(self._defaults[Subject.TENANT]) or any(found.limits for found in tenants)
        self.is_set = limits_tenants or self._limits_parties or self._limits_agents

    def _limits_key_of(self, tenant: str) -> bool:
        return self._credentials is not None and any(key.limits for key in self._credentials.keys_of(tenant))


def _quota(name: str, rate: Rate) -> Quota:
    return Quota(name, rate.quota, rate.window_seconds)
