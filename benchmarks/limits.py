"""What limits cost a call: nanoseconds for each question, counted in a loop in this process.

python benchmarks/limits.py
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from a2a_relay.core.address import Address
from a2a_relay.core.principal import Principal, Role
from a2a_relay.core.rates import Subject
from a2a_relay.node.clock import LoopClock
from a2a_relay.node.quotas import Quotas

TIMES = 100_000
PLENTY = {"calls_per_second": 1e6, "calls_in_flight": 1e6}


def told(what: str, ask: Callable[[], object]) -> None:
    best = min(timeit.repeat(ask, number=TIMES, repeat=5)) / TIMES
    print(f"{what}: {best * 1e9:.0f} ns")


def main() -> None:
    zaf, ann = Address("acme", "zaf"), Principal("acme", Role.SENDER, "ann", key="k1")
    clock = LoopClock()
    none = Quotas(clock, None)
    told("no limits", lambda: none.is_set)
    for subjects in ([Subject.TENANT], [Subject.TENANT, Subject.KEY], list(Subject)):
        quotas = Quotas(clock, None, dict.fromkeys(subjects, PLENTY))
        named = ", ".join(subjects)
        told(f"a call, limits of {named}", lambda quotas=quotas: quotas.require_call(ann, zaf))  # type: ignore[misc]
        told(
            f"its place in flight and back, limits of {named}",
            lambda quotas=quotas: quotas.enter(ann, is_stream=False).leave(),  # type: ignore[misc]
        )


if __name__ == "__main__":
    main()
