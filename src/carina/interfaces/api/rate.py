"""How often one caller may ask, counted in memory."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from carina.errors import TooMany

CALLERS = 10_000  # remembered at most; those longest silent are forgotten first


def network_of(address: str) -> str:
    """Whom to count an address as: itself, or of IPv6 the /64 around it, all of which one machine can have.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2"), network_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


@dataclass
class RateLimit:
    """At most `times` within any `seconds`, for each caller."""

    times: int
    seconds: float
    _spent: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict, repr=False)

    def spend(self, caller: str, at: float | None = None) -> None:
        """Count one request, at `at` seconds of the monotonic clock (now). Raises `TooMany` when there were enough."""
        at = time.monotonic() if at is None else at
        spent = self._spent.setdefault(caller, deque())
        self._spent.move_to_end(caller)
        while spent and spent[0] <= at - self.seconds:
            spent.popleft()
        if len(spent) >= self.times:
            raise TooMany("There have been too many requests in a short time.")
        spent.append(at)
        while len(self._spent) > CALLERS:
            self._spent.popitem(last=False)
