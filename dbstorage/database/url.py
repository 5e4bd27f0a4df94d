"""DATABASE_URL as people write it for Prisma, turned into what libpq understands."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from sqlalchemy import URL

SCHEMES = ("postgresql", "postgres")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
EXPECTED = (
    "expected postgresql://user:password@host:port/database, "
    "with special characters in user and password percent-encoded (@ as %40, / as %2F)"
)

#: Connection parameters of libpq that pass through; `user`, `password` and `dbname` become parts of the URL.
_PASSED_ON = """
    application_name channel_binding connect_timeout fallback_application_name gssdelegation gssencmode gsslib host
    hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts options
    passfile port require_auth requirepeer service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
    sslcompression sslcrl sslcrldir sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
    tcp_user_timeout
"""
LIBPQ_PARAMETERS = frozenset(_PASSED_ON.split())

#: What libpq takes for a parameter; it refuses everything else when it connects, as if the server did.
CHOICES = {
    "sslmode": SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
}
WHOLE_NUMBERS = {
    "connect_timeout": "of seconds",
    "keepalives": "1 for yes or 0",
    "keepalives_idle": "of seconds",
    "keepalives_interval": "of seconds",
    "keepalives_count": "of probes",
    "tcp_user_timeout": "of milliseconds",
}

_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[\w.%~-]+)(?::\d*)?"
_PARAMETER = r"[\w.-]+(?:=[^&]*)?"
_PLACE = re.compile(
    rf"(?P<hosts>(?:{_HOST}(?:,{_HOST})*)?)(?:/(?P<database>[^/?@]*))?(?:\?(?P<query>(?:{_PARAMETER})?(?:&{_PARAMETER})*&?))?"
)


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """Where the database is and how to connect; shows its password nowhere."""

    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    #: None where it is among the parameters: the directory of a Unix socket, or several hosts.
    host: str | None = None
    port: int | None = None
    #: Name and value of further parameters, all of them known to libpq.
    parameters: tuple[tuple[str, str], ...] = ()
    #: The one schema that holds the platform's tables, unquoted, by default Prisma's; None where `options` says it.
    search_path: str | None = "public"
    #: Names of the parameters that were not handed on to libpq, in the order they were written.
    dropped: tuple[str, ...] = ()
    #: True after `pgbouncer=true`: the session belongs to others between two transactions.
    behind_pgbouncer: bool = False

    @property
    def url(self) -> "URL":
        """The address for SQLAlchemy, with the driver `postgresql+psycopg2`."""
        # Not at the top: it takes a quarter of a second, and most of those who read settings never connect.
        from sqlalchemy import URL

        query = dict(self.parameters)
        return URL.create("postgresql+psycopg2", self.user, self.password, self.host, self.port, self.database, query)

    @property
    def display(self) -> str:
        """The address without password and parameters, fit for a log."""
        user = f"{self.user}@" if self.user else ""
        host = self.host or ""
        if ":" in host:
            host = f"[{host}]"
        place = f"{host}:{self.port}" if self.port else host or self._socket_or_hosts
        return f"postgresql://{user}{place}/{self.database}"

    @property
    def _socket_or_hosts(self) -> str:
        """Several hosts, each with its port where one is known; or the directory of a Unix socket."""
        parameters = dict(self.parameters)
        hosts = [f"[{host}]" if ":" in host else host for host in parameters.get("host", "").split(",")]
        ports = parameters.get("port", "").split(",")
        if len(ports) == 1:
            # One for all of them, as libpq reads it.
            ports *= len(hosts)
        return ",".join(f"{host}:{port}" if port else host for host, port in zip_longest(hosts, ports, fillvalue=""))

    def __str__(self) -> str:
        """Return `display`."""
        return self.display

    def __repr__(self) -> str:
        """Return what may stand in a log."""
        return f"DatabaseAddress({self.display!r}, search_path={self.search_path!r}, dropped={self.dropped!r})"


def parse_database_url(text: str) -> DatabaseAddress:
    """Read a URL as written for Prisma or libpq.

    `schema` becomes the search path, libpq's own parameters are kept, all others are left out and named in `dropped`.
    Raises ValueError with what was expected, never with a part of the password.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ValueError("expected a URL that begins with postgresql:// or postgres://")
    login, place = _split(rest)
    user, _, password = login.partition(":")
    parameters = _parameters(place["query"] or "")
    user = parameters.pop("user", _decode(user))
    password = parameters.pop("password", _decode(password))
    database = parameters.pop("dbname", "") or _decode(place["database"] or "")
    if not database:
        raise ValueError("it names no database; expected one after the host, as in postgresql://user@host/database")
    host, port = _host_and_port(place["hosts"], parameters)
    schema = parameters.pop("schema", "") or (None if "search_path" in parameters.get("options", "") else "public")
    _check_parameters(parameters)
    kept = {name: value for name, value in parameters.items() if name in LIBPQ_PARAMETERS}
    _check_libpq(kept)
    if "sslkey" not in kept:
        # Without a key these are Prisma's: the server's certificate and the password of a PKCS 12 file.
        kept.pop("sslcert", None)
        kept.pop("sslpassword", None)
    return DatabaseAddress(
        database=database,
        user=user or None,
        password=password or None,
        host=host,
        port=port,
        parameters=tuple(kept.items()),
        search_path=schema,
        dropped=tuple(name for name in parameters if name not in kept),
        behind_pgbouncer=parameters.get("pgbouncer", "").lower() == "true",
    )


def _split(rest: str) -> tuple[str, re.Match[str]]:
    """Find the `@` that ends the login: first as a correct URL has it, then as if the password were not encoded."""
    authority_end = re.search(r"[/?]", rest)
    correct = rest.rfind("@", 0, authority_end.start() if authority_end else len(rest))
    others = [position for position, character in enumerate(rest) if character == "@"]
    without_database = None
    for position in [correct, *reversed(others)]:
        place = _PLACE.fullmatch(rest, position + 1)
        if place is None:
            continue
        split = rest[: max(position, 0)], place
        if place["database"] or "dbname=" in (place["query"] or ""):
            return split
        without_database = without_database or split
    if without_database is None:
        raise ValueError(EXPECTED)
    return without_database


def _parameters(query: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {name: _decode(value) for name, _, value in pairs}


def _host_and_port(hosts: str, parameters: dict[str, str]) -> tuple[str | None, int | None]:
    """Return host and port; several hosts and the directory of a Unix socket stay among the parameters."""
    found = [_host(part) for part in hosts.split(",")]
    port_parameter = parameters.pop("port", "")
    ports = port_parameter.split(",") if port_parameter else [port for _, port in found]
    if any(port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535) for port in ports):
        raise ValueError("expected a port from 1 to 65535")
    port = int(ports[0]) if ports[0] else None
    names = parameters.pop("host", "") or ",".join(name for name, _ in found)
    if "," in names and any(ports):
        parameters["port"] = ",".join(ports)
        port = None
    if "," in names or "/" in names:
        parameters["host"] = names
        return None, port
    return names or None, port


def _host(text: str) -> tuple[str, str]:
    bracketed = re.fullmatch(r"\[(.+)\](?::(\d*))?", text)
    name, port = bracketed.groups(default="") if bracketed else text.partition(":")[::2]
    return _decode(name), port


def _check_parameters(parameters: dict[str, str]) -> None:
    for name, choices in CHOICES.items():
        value = parameters.get(name)
        if value is not None and value not in choices:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
    for name, unit in WHOLE_NUMBERS.items():
        value = parameters.get(name)
        if value is not None and not (value.isascii() and value.isdecimal() and len(value) < 9):
            raise ValueError(f"{name} is {value!r}; expected a whole number, {unit}")


def _check_libpq(names: Collection[str]) -> None:
    """Refuse parameters that only a newer libpq knows: it would refuse them itself, as if the server did."""
    if not names:
        return
    # Not at the top: most of those who read settings never connect.
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import libpq_version, parse_dsn

    for name in names:
        try:
            parse_dsn(f"{name}=''")
        except ProgrammingError:
            major, minor = divmod(libpq_version(), 10_000)
            raise ValueError(
                f"{name} is not known to the libpq {major}.{minor} that psycopg2 brings here; leave it out, or install "
                "a newer psycopg2"
            ) from None


def _decode(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("expected percent-encoded text to be UTF-8") from None
    if any(ord(character) < 32 for character in decoded):
        raise ValueError("expected no control characters")
    return decoded
