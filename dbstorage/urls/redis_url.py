"""URLs of Redis: of a single server, of a Unix socket, and of a master that Sentinel names.

redis://, rediss://     one server; with rediss:// through TLS, whose options redis-py and the broker take alike
unix:///path?db=0       a server on this machine
redis+sentinel://user:password@host1:26379,host2/service/0?sentinel_password=…   and rediss+sentinel:// with TLS
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from dbstorage.urls.tls_files import check_tls_files

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
VERIFICATIONS = ("required", "optional", "none")
#: What redis-py and people take for no, each in its own way, and for yes.
_YES_OR_NO = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "0"), "false"),
}
SENTINEL_PORT = 26379
EXPECTED_SENTINEL = "expected redis+sentinel://user:password@host1:26379,host2:26379/name-of-the-service/0"

#: Another way to write it.
_SENTINEL_ALIAS = "sentinel://"
_SENTINEL = re.compile(
    r"(?P<scheme>rediss?\+sentinel)://(?:(?P<login>[^@/?#]*)@)?(?P<hosts>[^@/?#]+)"
    r"/(?P<service>[^/?#@]+)(?:/(?P<database>[^/?#@]*))?/?(?:\?(?P<query>[^#@]*))?"
)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?")


class SentinelAddress(NamedTuple):
    """Where sentinels are asked for the master of a service, and how that is used; `tls` is None without TLS."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    #: As redis-py takes them by name.
    tls: dict[str, Any] | None


def is_redis(url: str) -> bool:
    """Whether a broker with this URL is a Redis."""
    return url.partition("://")[0] in SCHEMES


def is_sentinel(url: str) -> bool:
    """Whether sentinels tell where the server is."""
    return url.partition("://")[0].endswith("+sentinel")


def checked_redis_url(text: str) -> str:
    """The URL as everything here reads it; raises ValueError with what is expected, never with a password."""
    if text.startswith(_SENTINEL_ALIAS):
        text = f"redis+{text}"
    scheme = text.partition("://")[0]
    if scheme not in SCHEMES or "://" not in text:
        raise ValueError("expected a URL that begins with " + ", ".join(f"{name}://" for name in SCHEMES))
    login, at, _place = text.partition("://")[2].rpartition("@")
    if at and ":" not in login:
        # Everybody would read it as a user's name, and print it.
        raise ValueError(
            f"its password has no colon before it: {scheme}://:password@…, or {scheme}://user:@… without one"
        )
    if is_sentinel(text):
        check_tls_files(parse_sentinel_url(text).tls)
        return text
    if scheme == "unix":
        return _checked_socket(text)
    return _with_tls_options(text)


def _with_tls_options(url: str) -> str:
    """The URL with its options as all read them; raises ValueError for one that is not known.

    A server's certificate is verified unless `ssl_cert_reqs` says otherwise: left to itself, the broker would not.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if parts.scheme != "rediss" or name not in OPTIONS:
            raise ValueError(f"its option {name!r} is not known; expected none, or with rediss:// {', '.join(OPTIONS)}")
    if parts.scheme != "rediss":
        return url
    options = tls_options(options)
    check_tls_files(options)
    return urlunsplit(parts._replace(query=urlencode(options, safe="/")))


def tls_options(options: Mapping[str, str]) -> dict[str, str]:
    """These options of TLS, their words as every client reads them; raises ValueError for one that means nothing."""
    # Celery's documentation writes CERT_NONE, redis-py's none.
    verification = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if verification not in VERIFICATIONS:
        raise ValueError(f"ssl_cert_reqs is {options['ssl_cert_reqs']!r}; expected one of {', '.join(VERIFICATIONS)}")
    read = {**options, "ssl_cert_reqs": verification}
    if "ssl_check_hostname" in options:
        told = options["ssl_check_hostname"]
        if told.lower() not in _YES_OR_NO:
            raise ValueError(f"ssl_check_hostname is {told!r}; expected true or false")
        read["ssl_check_hostname"] = _YES_OR_NO[told.lower()]
    return read


def parse_sentinel_url(url: str) -> SentinelAddress:
    """Read `redis+sentinel://…`; raises ValueError with what is expected, never with a password."""
    found = _SENTINEL.fullmatch(url)
    if found is None:
        raise ValueError(f"{EXPECTED_SENTINEL}, with special characters in a password percent-encoded (@ as %40)")
    hosts = tuple(_sentinel_host(part) for part in found["hosts"].split(","))
    database = found["database"] or "0"
    if not (database.isascii() and database.isdecimal()):
        raise ValueError(f"the part after the service is {database!r}; expected the number of a Redis database")
    options = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    with_tls = found["scheme"].startswith("rediss")
    known = (*SENTINEL_OPTIONS, *OPTIONS) if with_tls else SENTINEL_OPTIONS
    for name in options:
        if name not in known:
            raise ValueError(
                f"its option {name!r} is not known; expected {', '.join(SENTINEL_OPTIONS)}, "
                f"or with rediss+sentinel:// {', '.join(OPTIONS)}"
            )
    username, _, password = (found["login"] or "").partition(":")
    return SentinelAddress(
        hosts,
        unquote(found["service"]),
        int(database),
        unquote(username) or None,
        unquote(password) or None,
        options.pop("sentinel_username", None) or None,
        options.pop("sentinel_password", None) or None,
        _by_name(tls_options(options)) if with_tls else None,
    )


def _by_name(options: dict[str, str]) -> dict[str, Any]:
    # Not through a URL, where redis-py knows the word: any word would mean yes.
    if "ssl_check_hostname" not in options:
        return dict(options)
    return {**options, "ssl_check_hostname": options["ssl_check_hostname"] == "true"}


def socket_for_kombu(url: str) -> str:
    """A `unix://` URL as Celery's broker spells it."""
    parts = urlsplit(url)
    database = dict(parse_qsl(parts.query)).get("db", "0")
    login = f"{parts.netloc}" if parts.netloc else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={database}"


def sentinels_for_kombu(address: SentinelAddress) -> str:
    """The sentinels as Celery's broker spells them; login and database are the Redis server's."""
    login = ""
    if address.password is not None or address.username is not None:
        login = f"{quote(address.username or '', safe='')}:{quote(address.password or '', safe='')}@"
    places = (f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name, port in address.hosts)
    return ";".join(f"sentinel://{login}{place}/{address.database}" for place in places)


def _sentinel_host(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int((found and found["port"]) or SENTINEL_PORT)
    if found is None or not 1 <= port <= 65_535:
        raise ValueError(f"{EXPECTED_SENTINEL}: hosts with commas between them, and ports from 1 to 65535")
    return found["name"].strip("[]"), port


def _checked_socket(url: str) -> str:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    database = options.pop("db", "0")
    login, at, host = parts.netloc.rpartition("@")
    if host or (login and not at) or not parts.path.strip("/"):
        raise ValueError("expected unix:///path/to/redis.sock?db=0, or unix://user:password@/path/to/redis.sock")
    if options or not (database.isascii() and database.isdecimal()):
        raise ValueError("expected no option but the number of a Redis database, such as ?db=0")
    return url
