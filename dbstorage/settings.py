"""Settings of the service, read from environment variables; each wrong value gets a sentence of its own."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

from dbstorage.database.url import SCHEMES as DATABASE_SCHEMES
from dbstorage.database.url import DatabaseAddress, parse_database_url
from dbstorage.errors import SettingsError
from dbstorage.urls.broker_url import AMQP_SCHEMES, checked_broker_url
from dbstorage.urls.redis_url import SCHEMES as REDIS_SCHEMES
from dbstorage.urls.redis_url import checked_redis_url
from dbstorage.urls.tls_files import check_files_of_libpq

Value = TypeVar("Value")

#: Broker transports with an event loop that the reader can share (Celery: Redis and AMQP).
BROKER_SCHEMES = (*REDIS_SCHEMES, *AMQP_SCHEMES)
#: Schemes of URLs that name one server; the others name several hosts, or none.
ONE_SERVER = ("redis", "rediss", *AMQP_SCHEMES)

#: As RFC 3986 has it: what stands before a `://` may as well be half of a password.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ONE_PLACE = r"(\[[\da-fA-F:]+\]|[\w.-]*)(:\d*)?"
#: One host or several, and what stands behind them.
_PLACE = re.compile(rf"{_ONE_PLACE}(,{_ONE_PLACE})*(/.*)?")

SECONDS_OF = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LONGEST_KEPT = timedelta(days=3_650)

#: All that is read from the environment; docs/configuration.md describes each.
VARIABLES = (
    *("REDIS_URL", "DATABASE_URL", "CELERY_BROKER_URL"),
    *("DBSTORAGE_STREAM", "RESPONSE_STREAM", "CONSUMER_GROUP", "BATCH_SIZE", "ORDERING", "CLAIM_IDLE", "USER_WAIT"),
    *("QUERY_TTL", "HISTORY_LIMIT", "RESPONSE_MAXLEN", "RESPONSE_MAXBYTES", "STREAM_KEEP", "FAULT_WAIT"),
    *("MAX_ENTRY_BYTES", "TASK_EVENTS", "METRICS_PORT", "LOG_LEVEL", "LOG_FORMAT"),
)
#: How alike two names have to be, of 1: REDIS_URI and REDIS_URL are, CELERY_BROKER_READ_URL (Celery's) is not.
ALIKE = 0.88


class Ordering(StrEnum):
    """How several workers share one stream."""

    STRICT = "strict"
    PARALLEL = "parallel"


class TaskEvents(StrEnum):
    """Which task events the reader sends to Flower."""

    ALL = "all"
    THIN = "thin"
    FAILURES = "failures"


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class Scope(NamedTuple):
    """A service: a command stream with a consumer group. Everything of ours carries both."""

    stream: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; durations in seconds."""

    redis_url: str = field(repr=False)
    database: DatabaseAddress
    broker_url: str = field(repr=False)
    command_stream: str = "exness:dbstorage-stream"
    response_stream: str = "exness:response-stream"
    consumer_group: str = "dbstorage"
    batch_size: int = 500
    ordering: Ordering = Ordering.STRICT
    claim_idle: float = 60.0
    user_wait: float = 30.0
    query_ttl: float = 5.0
    history_limit: int = 100
    response_maxlen: int = 1000
    #: Of all answers that are kept, together.
    response_maxbytes: int = 67_108_864
    #: How many finished entries are kept, or for how long.
    stream_keep: int | timedelta = 100_000
    fault_wait: float = 60.0
    max_entry_bytes: int = 1_048_576
    task_events: TaskEvents = TaskEvents.THIN
    metrics_port: int | None = None
    log_level: str = "INFO"
    log_format: LogFormat = LogFormat.TEXT

    @property
    def scope(self) -> Scope:
        """Which service this is."""
        return Scope(self.command_stream, self.consumer_group)


def load_settings(environment: Mapping[str, str] | None = None, *, redis_needed: bool = True) -> Settings:
    """Read the settings from `environment` (default: the process's own).

    Where Redis is not needed, its URL is empty if it is not set.
    Raises SettingsError with one sentence for every variable that is missing or wrong.
    """
    read = _Reader(os.environ if environment is None else environment)
    redis_url = read.required("REDIS_URL", _redis_url) if redis_needed else read.optional("REDIS_URL", _redis_url, "")
    database = read.required("DATABASE_URL", _database)
    settings = {
        "broker_url": read.optional("CELERY_BROKER_URL", _broker_url, redis_url),
        "command_stream": read.optional("DBSTORAGE_STREAM", _name, Settings.command_stream),
        "response_stream": read.optional("RESPONSE_STREAM", _name, Settings.response_stream),
        "consumer_group": read.optional("CONSUMER_GROUP", _name, Settings.consumer_group),
        "batch_size": read.optional("BATCH_SIZE", _whole(1, 10_000), Settings.batch_size),
        "ordering": read.optional("ORDERING", _choice(Ordering), Settings.ordering),
        "claim_idle": read.optional("CLAIM_IDLE", _seconds(1, 86_400), Settings.claim_idle),
        "user_wait": read.optional("USER_WAIT", _seconds(0, 86_400), Settings.user_wait),
        "query_ttl": read.optional("QUERY_TTL", _seconds(0.1, 3_600), Settings.query_ttl),
        "history_limit": read.optional("HISTORY_LIMIT", _whole(1, 1_000), Settings.history_limit),
        "response_maxlen": read.optional("RESPONSE_MAXLEN", _whole(1, 1_000_000), Settings.response_maxlen),
        "response_maxbytes": read.optional(
            "RESPONSE_MAXBYTES", _whole(1_024, 100_000_000_000), Settings.response_maxbytes
        ),
        "stream_keep": read.optional("STREAM_KEEP", _number_or_time, Settings.stream_keep),
        "fault_wait": read.optional("FAULT_WAIT", _seconds(0, 86_400), Settings.fault_wait),
        # What PostgreSQL takes in one statement is 1 GB, and a byte may need several there.
        "max_entry_bytes": read.optional("MAX_ENTRY_BYTES", _whole(1_024, 67_108_864), Settings.max_entry_bytes),
        "task_events": read.optional("TASK_EVENTS", _choice(TaskEvents), Settings.task_events),
        "metrics_port": read.optional("METRICS_PORT", _port_or_off, Settings.metrics_port),
        "log_level": read.optional("LOG_LEVEL", _log_level, Settings.log_level),
        "log_format": read.optional("LOG_FORMAT", _choice(LogFormat), Settings.log_format),
    }
    if read.sentences:
        raise SettingsError(read.sentences)
    if settings["command_stream"] == settings["response_stream"]:
        raise SettingsError(
            [
                f"DBSTORAGE_STREAM and RESPONSE_STREAM are both {settings['command_stream']!r}: "
                "answers would be read as commands; expected two different names."
            ]
        )
    return Settings(redis_url=redis_url, database=database, **settings)  # type: ignore[arg-type]


def load_database_address(environment: Mapping[str, str] | None = None) -> DatabaseAddress:
    """Read DATABASE_URL alone, for the migrations; raises SettingsError as `load_settings` does."""
    read = _Reader(os.environ if environment is None else environment)
    address = read.required("DATABASE_URL", _database)
    if read.sentences:
        raise SettingsError(read.sentences)
    return address


def slips(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that nothing reads and that look like one of ours, with the name that was probably meant."""
    plain = {name.replace("_", ""): name for name in VARIABLES}
    found: dict[str, str] = {}
    for name in sorted(set(environment) - set(VARIABLES)):
        letters = name.upper().replace("_", "").replace("-", "")
        close = plain.get(letters) or plain.get(letters.removeprefix("DBSTORAGE"))
        alike = [close] if close else get_close_matches(name.upper(), VARIABLES, n=1, cutoff=ALIKE)
        if alike:
            found[name] = alike[0]
    return found


def without_password(url: str) -> str:
    """The URL with its password replaced by `***` and its query left out, fit for a log or an error message."""
    scheme, separator, rest = url.partition("://")
    # The last @ ends the login, also where the password was not percent-encoded and holds a / or another @.
    login, at, place = rest.rpartition("@")
    place = re.split(r"[?#]", place)[0]
    if not separator or not _SCHEME.fullmatch(scheme):
        return "***"
    if not (at or _PLACE.fullmatch(place)):
        return f"{scheme}://***"
    name, colon, _password = login.partition(":")
    if at and not colon and scheme.lower() not in DATABASE_SCHEMES:
        # With Redis, people leave the colon out: it may be the password.
        name = "***"
    return f"{scheme}://{name}{colon and ':***'}{at}{place}"


class _Reader:
    """Reads variables one by one and gathers a sentence for each that is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.sentences: list[str] = []

    def required(self, name: str, convert: Callable[[str], Value]) -> Value:
        if not self.environment.get(name, "").strip():
            example = {"REDIS_URL": "redis://localhost:6379/0"}.get(name, "postgresql://user:password@localhost/db")
            self.sentences.append(f"{name} is not set: expected a URL such as {example}.")
        return self.optional(name, convert, cast(Value, None))  # never used once a sentence is there

    def optional(self, name: str, convert: Callable[[str], Value], default: Value) -> Value:
        text = self.environment.get(name, "").strip()
        if not text:
            return default
        try:
            return convert(text)
        except ValueError as error:
            shown = without_password(text) if name.endswith("_URL") else text
            self.sentences.append(f"{name} is {shown!r}: {error}.")
            return default


def _database(text: str) -> DatabaseAddress:
    address = parse_database_url(text)
    check_files_of_libpq(dict(address.parameters))
    return address


def _redis_url(text: str) -> str:
    return checked_redis_url(_url(text, REDIS_SCHEMES))


def _broker_url(text: str) -> str:
    return checked_broker_url(_url(text, BROKER_SCHEMES))


def _url(text: str, schemes: tuple[str, ...]) -> str:
    """The URL, after the checks that all URLs of these schemes have in common; raises ValueError."""
    expected = "expected a URL that begins with " + ", ".join(f"{scheme}://" for scheme in schemes)
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in (*schemes, "sentinel"):
        raise ValueError(expected)
    if scheme not in ONE_SERVER:
        return text
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # reading it checks it
    except ValueError:
        raise ValueError(f"{expected} and a port from 1 to 65535") from None
    if "@" in parts.path + parts.query + parts.fragment:
        # What stands before it would be taken for the host, and shown.
        raise ValueError("its password has to be percent-encoded (@ as %40, / as %2F, ? as %3F, # as %23)")
    if not parts.hostname:
        raise ValueError(f"it names no host; {expected} and a host")
    database = parts.path.strip("/")
    if parts.scheme in REDIS_SCHEMES and database and not database.isdecimal():
        raise ValueError(f"the part after the host is {database!r}; expected the number of a Redis database, such as 0")
    return text


def _name(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError("expected a name without control characters")
    return text


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or len(text) > 12 or not lowest <= int(text) <= highest:
            raise ValueError(f"expected a whole number from {lowest} to {highest}")
        return int(text)

    return convert


def _number_or_time(text: str) -> int | timedelta:
    found = re.fullmatch(r"(\d{1,9})([smhd])", text, re.ASCII)
    if found:
        seconds = int(found[1]) * SECONDS_OF[found[2]]
        if seconds <= LONGEST_KEPT.total_seconds():
            return timedelta(seconds=seconds)
    try:
        return _whole(0, 1_000_000_000)(text)
    except ValueError as error:
        raise ValueError(f"{error}, or a time such as 7d, 36h or 90m up to {LONGEST_KEPT.days}d") from None


def _seconds(lowest: float, highest: float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        expected = f"expected seconds from {lowest:g} to {highest:g}"
        try:
            seconds = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not lowest <= seconds <= highest:
            raise ValueError(expected)
        return seconds

    return convert


def _choice(choices: type[Value]) -> Callable[[str], Value]:
    def convert(text: str) -> Value:
        try:
            return choices(text.lower())  # type: ignore[call-arg]
        except ValueError:
            raise ValueError("expected one of " + ", ".join(choices)) from None  # type: ignore[arg-type]

    return convert


def _port_or_off(text: str) -> int | None:
    if text.lower() == "off":
        return None
    try:
        return _whole(1, 65_535)(text)
    except ValueError:
        raise ValueError("expected off or a port from 1 to 65535") from None


def _log_level(text: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    if text.upper() not in levels:
        raise ValueError("expected one of " + ", ".join(levels))
    return text.upper()
