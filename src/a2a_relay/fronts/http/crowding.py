"""How many connections one address may hold (an IPv6 /64 is one address)."""

from __future__ import annotations

from a2a_relay.core.networks import Networks, contains, network_of


class Crowding:
    """Counts HTTP connections by address. An agent's link is counted until its upgrade; others watch over links."""

    def __init__(self, most: int, exempt: Networks) -> None:
        """`most` 0: any number. `exempt` are addresses that are not counted, such as those of trusted proxies."""
        self._most = most
        self._exempt = exempt
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """How many addresses hold connections."""
        return len(self._counts)

    def enter(self, host: str) -> str | None:
        """A new connection: under what name it is to `leave`; None when its address holds as many as it may."""
        network = network_of(host) if self._most else ""
        if not network or contains(self._exempt, host):
            return ""
        count = self._counts.get(network, 0)
        if count >= self._most:
            return None
        self._counts[network] = count + 1
        return network

    def leave(self, network: str) -> None:
        """A connection that has entered is gone, or is none of HTTP's any more."""
        if network:
            count = self._counts[network] - 1
            if count:
                self._counts[network] = count
            else:
                del self._counts[network]
