"""The SQLAlchemy engine with the time limits and session settings every connection of DBStorage has."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2.extras  # SQLAlchemy imports it when it connects, in each pool process by itself
import sqlalchemy
from sqlalchemy import Connection, CursorResult, Engine, event, exc

from dbstorage.database.deadline import GRACE_SECONDS, LimitedConnection, connect, limited
from dbstorage.database.shape import SESSION_MARK, SESSION_SETTINGS
from dbstorage.database.url import DatabaseAddress

#: A dead peer is noticed within about 7 s, inside the 10 s a shutdown may take; a URL that names them wins. They do not
#: see a dead server behind a proxy that is well: see `deadline`.
LIMITS: dict[str, int] = {
    "connect_timeout": 3,  # seconds
    "keepalives": 1,
    "keepalives_idle": 3,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 2,
    "tcp_user_timeout": 7_000,  # milliseconds
}

#: What our sessions are called in pg_stat_activity.
APPLICATION = "dbstorage"

#: Seconds that a thread waits while other threads of its process have all connections.
POOL_TIMEOUT = 5.0

#: Of the time of a statement, how much it may wait for a lock; then there is time left to see who holds it.
LOCK_SHARE = 0.8
#: Seconds that it waits at most: a person waits, too.
LONGEST_LOCK_WAIT = 5.0

#: Statements that a session keeps planned. Clients choose a limit of a thousand, and each is a statement of its own.
KEPT_PLANS = 8

#: What a role's, a database's or a server's own settings must not change: numbers are read exactly as they are stored,
#: NULL in an array is NULL, and each statement sees what was committed before it.
EXACTNESS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    SESSION_MARK: "on",
}

#: The execution option of engines whose sessions belong to others between two transactions.
SHARED_SESSIONS = "shared_sessions"
#: The execution option with the engine's limit on a statement, in milliseconds.
STATEMENT_TIMEOUT = "statement_timeout"


def create_engine(
    address: DatabaseAddress,
    *,
    application_name: str = APPLICATION,
    statement_timeout: float | None = 5.0,
    idle_in_transaction_timeout: float = 10.0,
    pool_size: int = 1,
    ping: bool = True,
    session_settings: Mapping[str, str] | None = None,
) -> Engine:
    """Return an engine of at most `pool_size` connections; nothing is connected yet.

    With `ping`, a connection that the server closed while it was idle costs a new one and no failure, at the price of a
    round trip for each transaction. `session_settings` are further settings of PostgreSQL.

    Timeouts are in seconds, enforced by the server; a `statement_timeout` of None switches that limit off, and the one
    on waiting for locks, which is shorter. A server that is silent for longer is given up.
    """
    settings = {
        "statement_timeout": str(round((statement_timeout or 0) * 1000)),
        "lock_timeout": str(round(min((statement_timeout or 0) * LOCK_SHARE, LONGEST_LOCK_WAIT) * 1000)),
        "idle_in_transaction_session_timeout": str(round(idle_in_transaction_timeout * 1000)),
        # The server ends a long statement whose client died, instead of keeping its locks until the end.
        "client_connection_check_interval": "500",
        **EXACTNESS,
        **(session_settings or {}),
    }
    # Never left to the server: its default begins with the schema named like the user, and ours is named dbstorage.
    if address.search_path is not None:
        settings["search_path"] = '"' + address.search_path.replace('"', '""') + '"'

    arguments = {"application_name": application_name, **LIMITS, **address.url.query, "client_encoding": "utf8"}
    if not address.behind_pgbouncer:
        # Ours stand last and win: an orderly shutdown relies on them.
        arguments["options"] = f"{address.url.query.get('options', '')} {_options(settings)}".strip()
    engine = sqlalchemy.create_engine(
        address.url.set(query={}),
        connect_args={
            **arguments,
            # libpq takes 0 for no limit.
            "connection_factory": limited(float(str(arguments["connect_timeout"])) or None, statement_timeout),
        },
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        pool_pre_ping=ping,
        execution_options={
            SESSION_SETTINGS: {name: settings[name] for name in ("search_path", SESSION_MARK) if name in settings},
            STATEMENT_TIMEOUT: settings["statement_timeout"],
        },
    )
    if "," in str(arguments.get("host", "")):
        event.listen(engine, "do_connect", lambda _dialect, _record, _arguments, parameters: connect(**parameters))
    if address.behind_pgbouncer:
        engine.update_execution_options(**{SHARED_SESSIONS: True})
        _set_in_each_transaction(engine, settings)
    return engine


@contextmanager
def patience(connection: Connection, seconds: float) -> Iterator[None]:
    """Give the statements of this context so many seconds each, instead of the engine's limit; needs a transaction."""
    driver = connection.connection.dbapi_connection
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
    if isinstance(driver, LimitedConnection):
        driver.patience_seconds = seconds + GRACE_SECONDS
    try:
        yield
    finally:
        if isinstance(driver, LimitedConnection):
            driver.patience_seconds = None
    # After an error the transaction is over, and the setting with it. Left as it is, the server would let a later
    # statement run for longer than this side waits, which looks as if it had gone.
    limit = connection.get_execution_options()[STATEMENT_TIMEOUT]
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for statements that only read, each by itself. Leaving out BEGIN and COMMIT saves two round trips.

    Behind PgBouncer it is a transaction all the same, in which the settings live.
    """
    if _has_shared_sessions(engine):
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        # The driver's own switch: SQLAlchemy's isolation level costs the round trips that are to be saved.
        driver.autocommit = True
        try:
            yield connection
        except BaseException:
            # The error may come from a prepared statement that the session keeps: the next one gets a new session.
            connection.invalidate()
            raise
        driver.autocommit = False


def execute_prepared(connection: Connection, statement: str, *parameters: Any) -> CursorResult[Any]:
    """Run a statement with these values for its `%s`; the session keeps its plan, for the first KEPT_PLANS statements.

    PostgreSQL has to know the type of each from where it stands.
    """
    return connection.exec_driver_sql(_prepared(connection, statement, len(parameters)), parameters)


def fetch_prepared(connection: Connection, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a prepared statement, from the driver itself: a lone question waits 0.1 ms less."""
    try:
        cursor: Any = connection.connection.cursor()
        cursor.execute(_prepared(connection, statement, len(parameters)), parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    except psycopg2.Error as error:
        raise exc.DBAPIError.instance(statement, parameters, error, psycopg2.Error) from error
    return rows


def _prepared(connection: Connection, statement: str, count: int) -> str:
    names: dict[str, str] = connection.info.setdefault("prepared", {})
    if _has_shared_sessions(connection) or (statement not in names and len(names) == KEPT_PLANS):
        return statement
    if statement not in names:
        name = f"dbstorage_{len(names)}"
        first, *others = statement.split("%s")
        numbered = first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))
        connection.exec_driver_sql(f"PREPARE {name} AS {numbered}")
        names[statement] = name
    return f"EXECUTE {names[statement]} ({', '.join(['%s'] * count)})"


def _has_shared_sessions(bind: Engine | Connection) -> bool:
    return bool(bind.get_execution_options().get(SHARED_SESSIONS))


def _options(settings: dict[str, str]) -> str:
    return " ".join(f"-c {name}={_escape(value)}" for name, value in settings.items())


def _escape(value: str) -> str:
    """Escape for libpq's `options`, where blanks separate and a backslash takes the next character as it is."""
    return "".join("\\" + character if character in "\\ " else character for character in value)


def _set_in_each_transaction(engine: Engine, settings: dict[str, str]) -> None:
    # PgBouncer refuses `options` at connect, and what a session sets may end up in the session of somebody else.
    statement = "SELECT " + ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in settings)
    values = tuple(part for setting in settings.items() for part in setting)

    @event.listens_for(engine, "begin")
    def set_locally(connection: Connection) -> None:
        connection.exec_driver_sql(statement, values)
