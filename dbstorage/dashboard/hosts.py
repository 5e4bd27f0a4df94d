"""Under which names Flower answers where it has no login.

Without one, whoever can send it a request may do everything. A page of another site cannot read its answers, unless the
page's own name is pointed at Flower's address (DNS rebinding): then the browser takes both for the same site. What it
cannot do is send another name than the page's, and no page has the name `localhost` or a number.
"""

from collections.abc import Collection
from ipaddress import ip_address

#: What listens here is reached from this machine alone.
LOOPBACK_NAMES = ("localhost", "ip6-localhost")
ANY = "*"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens on the address."""
    return address in LOOPBACK_NAMES or (_is_number(address) and ip_address(_bare(address)).is_loopback)


def is_expected(host: str, allowed: Collection[str]) -> bool:
    """Whether a request's `Host` is one under which nobody else's page can be: a number, localhost, or one allowed."""
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
