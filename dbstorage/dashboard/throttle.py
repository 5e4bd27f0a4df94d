"""Makes an address that sends wrong logins wait before its next one, so that nobody can try many passwords."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from time import monotonic

#: Wrong logins that cost no pause, because people mistype.
FREE_FAILURES = 4
#: Seconds of pause after the next wrong login; each further one doubles it, up to the longest pause.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: Seconds without a wrong login after which earlier ones do not count.
FORGOTTEN_AFTER = 900.0
#: The most addresses that are remembered; the one whose last wrong login is oldest is forgotten first.
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
    """Counts wrong logins by address, and says how long each has to wait; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until the address may log in again; 0 where it may now."""
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
        """Note a right login: earlier wrong ones of the address count no more."""
        self._failures.pop(_place(address), None)


def _place(address: str) -> str:
    """The address; of an IPv6 address the network (/64), all of whose addresses belong to one customer."""
    try:
        read = ip_address(address)
    except ValueError:
        return address  # of a Unix socket
    if not isinstance(read, IPv6Address):
        return address
    return str(read.ipv4_mapped or IPv6Address(int(read) >> 64 << 64))
