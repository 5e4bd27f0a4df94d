"""The host names that Flower answers to where it has no login.

Without a login, whoever can send a request may do everything. A page of another site cannot read the answers, unless
the page's own name is made to point to Flower's address (DNS rebinding): then the browser takes both for the same site.
But the browser still sends the page's name as `Host`, and no such page is named `localhost` or by an IP address.
"""

from collections.abc import Collection
from ipaddress import ip_address

#: Addresses that only this machine can reach.
LOOPBACK_NAMES = ("localhost", "ip6-localhost")
ANY = "*"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens on the address."""
    return address in LOOPBACK_NAMES or (_is_number(address) and ip_address(_bare(address)).is_loopback)


def is_expected(host: str, allowed: Collection[str]) -> bool:
    """Whether no page of a stranger can have this `Host`: an IP address, localhost, or a name that is allowed."""
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
