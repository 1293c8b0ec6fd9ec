"""What it takes to refuse what is somebody else's, beside what does not exist: medians over loopback.

    python benchmarks/authorization_timing.py http://127.0.0.1:8080 --token T --pairs LABEL=FOREIGN,UNKNOWN ...

Each pair is two paths that are asked in turn with one credential; they should not differ by more than the spread.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import time
from urllib.parse import urlsplit

MAX_ROUNDS = 20_000


def measure(connection: http.client.HTTPConnection, path: str, token: str) -> tuple[int, float]:
    """The status of one request, and the microseconds it took."""
    started_at = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    response.read()
    return response.status, (time.perf_counter() - started_at) * 1e6


def main() -> None:
    """Ask each pair in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("relay")
    parser.add_argument("--token", required=True)
    parser.add_argument("--pairs", nargs="+", required=True, metavar="LABEL=FOREIGN,UNKNOWN")
    parser.add_argument("--rounds", type=int, default=2_000)
    asked = parser.parse_args()
    parts = urlsplit(asked.relay)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=10)
    print(f"{'':24} {'foreign':>10} {'unknown':>10} {'differ':>8} {'spread':>8}  (us, medians)")
    for pair in asked.pairs:
        label, _, paths = pair.partition("=")
        taken: tuple[list[float], list[float]] = ([], [])
        statuses = set()
        for _ in range(min(asked.rounds, MAX_ROUNDS)):
            for path, times in zip(paths.split(",", 1), taken, strict=True):
                status, microseconds = measure(connection, path, asked.token)
                statuses.add(status)
                times.append(microseconds)
        foreign, unknown = map(statistics.median, taken)
        quarters = statistics.quantiles(taken[0], n=4)
        spread, differ = quarters[2] - quarters[0], foreign - unknown
        print(f"{label:24} {foreign:10.1f} {unknown:10.1f} {differ:8.1f} {spread:8.1f}  {sorted(statuses)}")


if __name__ == "__main__":
    main()
