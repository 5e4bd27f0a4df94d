"""The host names under which Flower answers where it has no login.

Without a login, whoever reaches Flower may do everything, and the browser of somebody who reaches it can be abused. A
page of another site cannot read answers of Flower, unless the owner of that site points its name to Flower's address
(DNS rebinding): then the browser takes both for one site. But the browser sends that name as `Host`, so Flower answers
only to names that no stranger owns: `localhost`, IP addresses, and what FLOWER_ALLOWED_HOSTS lists.
"""

from collections.abc import Collection
from ipaddress import ip_address

#: Names of addresses that only this machine can reach.
LOOPBACK_NAMES = ("localhost", "ip6-localhost")
ANY = "*"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server that listens on this address."""
    return address in LOOPBACK_NAMES or (_is_number(address) and ip_address(_bare(address)).is_loopback)


def is_expected(host: str, allowed: Collection[str]) -> bool:
    """Whether the `Host` of a request is one that no stranger owns: an IP address, localhost, or one of `allowed`."""
    name = _without_port(host).rstrip(".").lower()
    return (
        name in LOOPBACK_NAMES
        or name.endswith(".localhost")
        or _is_number(name)
        or ANY in allowed
        or name in {other.strip().lower() for other in allowed}
    )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host


def _bare(name: str) -> str:
    return name.removeprefix("[").removesuffix("]")


def _is_number(name: str) -> bool:
    try:
        ip_address(_bare(name))
    except ValueError:
        return False
    return True
