"""Slows down whoever guesses passwords."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from time import monotonic

#: Failures without a delay, because people mistype.
FREE_FAILURES = 4
#: Seconds after the next failure, doubled with each further one.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: Seconds without a failure after which all is forgotten.
FORGOTTEN_AFTER = 900.0
#: Addresses that are remembered; beyond it, those that failed longest ago are forgotten.
MOST_ADDRESSES = 10_000


@dataclass
class _Failures:
    number: int
    last: float

    @property
    def pause(self) -> float:
        beyond = self.number - FREE_FAILURES
        return min(FIRST_PAUSE * 2.0 ** min(beyond - 1, 30), LONGEST_PAUSE) if beyond > 0 else 0.0


class Throttle:
    """Counts failed logins by address, and says for how long an address has to wait; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 where it may now."""
        failures = self._failures.get(_place(address))
        if failures is None:
            return 0.0
        return max(0.0, failures.last + failures.pause - self._clock())

    def failed(self, address: str) -> None:
        """Note a wrong login."""
        now = self._clock()
        failures = self._failures.setdefault(_place(address), _Failures(0, now))
        if now - failures.last > FORGOTTEN_AFTER:
            failures.number = 0
        failures.number += 1
        failures.last = now
        self._failures.move_to_end(_place(address))
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Note a right login: the failures of the address are forgotten."""
        self._failures.pop(_place(address), None)


def _place(address: str) -> str:
    """The address; of IPv6 its first half, since whoever has one address there has all with the same one."""
    try:
        read = ip_address(address)
    except ValueError:
        return address  # of a Unix socket
    if not isinstance(read, IPv6Address):
        return address
    return str(read.ipv4_mapped or IPv6Address(int(read) >> 64 << 64))
