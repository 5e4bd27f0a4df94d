import psycopg2
import pytest
from psycopg2 import errors
from sqlalchemy import Engine, exc, text

from dbstorage.database.engine import create_engine
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.url import parse_database_url

AGAIN, OUTAGE, LOCKED, REFUSED = ErrorClass.AGAIN, ErrorClass.OUTAGE, ErrorClass.LOCKED, ErrorClass.REFUSED

ERROR_CLASSES = {
    "22003": REFUSED,  # numeric value out of range
    "22021": REFUSED,  # character not in repertoire
    "22P02": REFUSED,  # invalid text representation: not a label of the enum
    "23502": REFUSED,  # not null violation
    "23503": REFUSED,  # foreign key violation
    "23505": REFUSED,  # unique violation
    "23514": REFUSED,  # check violation
    "40001": AGAIN,
    "40P01": AGAIN,
    "08006": OUTAGE,
    "25006": OUTAGE,
    "25P03": OUTAGE,
    "25P04": OUTAGE,
    "28000": OUTAGE,
    "28P01": OUTAGE,
    "3D000": OUTAGE,
    "53100": OUTAGE,  # disk full
    "53200": OUTAGE,  # out of memory
    "53300": OUTAGE,  # too many connections
    "57P01": OUTAGE,
    "57P02": OUTAGE,
    "57P03": OUTAGE,
    "57P05": OUTAGE,
    "57000": OUTAGE,
    "40000": AGAIN,
    "0A000": AGAIN,
    "57014": REFUSED,  # query canceled: the statement timeout
    "40002": REFUSED,
    "25P02": REFUSED,
    "42501": REFUSED,
    "42P01": REFUSED,
    "55P03": LOCKED,
    "58030": REFUSED,
    "P0001": REFUSED,
    "XX000": REFUSED,
}


def error_of(engine: Engine, statement: str) -> BaseException:
    with pytest.raises(exc.DBAPIError) as raised, engine.begin() as connection:
        connection.execute(text(statement))
    return raised.value


def test_errors_are_sorted_by_what_happens_next():
    def error(sqlstate: str) -> psycopg2.Error:
        made: psycopg2.Error = type("Made", (psycopg2.DatabaseError,), {"pgcode": sqlstate})("said by the server")
        return made

    assert {state: classify(error(state)) for state in ERROR_CLASSES} == ERROR_CLASSES


@pytest.mark.parametrize("state", ERROR_CLASSES)
def test_a_sqlstate_that_a_function_has_chosen_says_nothing_about_the_server(state, empty_database):
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '{state}'; END $$"
    # To run again at once does no harm.
    expected = AGAIN if ERROR_CLASSES[state] is AGAIN else REFUSED
    assert classify(error_of(empty_database, statement)) is expected


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("SELECT 1 / 0", REFUSED),
        ("SELECT 'x'::integer", REFUSED),
        ("SELECT 3000000000::bigint::integer", REFUSED),
        ("SET TRANSACTION READ ONLY; CREATE TABLE x ()", OUTAGE),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)", REFUSED),
        ("SELECT pg_terminate_backend(pg_backend_pid())", OUTAGE),
        ("SELECT * FROM nothing", REFUSED),
        # Within a function: what it meets by itself, and what ends the session.
        (
            "SET LOCAL temp_file_limit = 64; DO $$ BEGIN "
            "PERFORM count(*) FROM (SELECT i FROM generate_series(1, 300000) i ORDER BY -i OFFSET 1) AS sorted; END $$",
            REFUSED,
        ),
        ("DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(9); END $$", OUTAGE),
    ],
)
def test_real_errors_are_sorted_too(statement, verdict, empty_database):
    assert classify(error_of(empty_database, statement)) is verdict


def test_a_connection_ended_by_an_administrator_is_an_outage(empty_database, postgres_server):
    other = create_engine(parse_database_url(postgres_server.url_of("postgres")))
    with empty_database.connect() as connection, other.connect() as administrator:
        process = connection.scalar(text("SELECT pg_backend_pid()"))
        administrator.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
        with pytest.raises(exc.DBAPIError) as raised:
            connection.execute(text("SELECT 1"))
        assert classify(raised.value) is OUTAGE
        connection.invalidate()
    other.dispose()


def test_a_lost_serialization_race_is_tried_again(empty_database):
    second = create_engine(parse_database_url(empty_database.url.set(drivername="postgresql").render_as_string(False)))
    with empty_database.begin() as connection:
        connection.execute(text("CREATE TABLE counter AS SELECT 1 AS value"))
    with empty_database.connect() as first:
        first = first.execution_options(isolation_level="REPEATABLE READ")
        first.execute(text("SELECT value FROM counter"))
        with second.begin() as connection:
            connection.execute(text("UPDATE counter SET value = 2"))
        with pytest.raises(exc.DBAPIError) as raised:
            first.execute(text("UPDATE counter SET value = 3"))
        assert classify(raised.value) is AGAIN
    second.dispose()


@pytest.mark.parametrize(
    "address",
    ["postgresql://ann@127.0.0.1:1/nothing", "postgresql://ann@no-such-host.invalid/nothing"],
)
def test_no_connection_is_an_outage(address):
    engine = create_engine(parse_database_url(address))
    with pytest.raises(exc.OperationalError) as raised:
        engine.connect()
    assert classify(raised.value) is OUTAGE


@pytest.mark.parametrize("change", [{"database": "nothing"}, {"password": "wrong"}, {"username": "nobody"}])
def test_a_database_or_login_that_is_refused_is_an_outage(change, empty_database_url):
    url = parse_database_url(empty_database_url).url.set(drivername="postgresql", **change)
    engine = create_engine(parse_database_url(url.render_as_string(hide_password=False)))
    with pytest.raises(exc.OperationalError) as raised:
        engine.connect()
    assert classify(raised.value) is OUTAGE


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (psycopg2.OperationalError("server closed the connection unexpectedly"), OUTAGE),
        (psycopg2.DatabaseError("SSL SYSCALL error: EOF detected"), OUTAGE),
        (psycopg2.InterfaceError("connection already closed"), OUTAGE),
        (psycopg2.DataError("no code"), REFUSED),
        (psycopg2.ProgrammingError("can't adapt type 'object'"), REFUSED),
        (errors.AdminShutdown("no code"), OUTAGE),
        (exc.DBAPIError("SELECT 1", None, psycopg2.OperationalError("gone"), connection_invalidated=True), OUTAGE),
        (exc.DBAPIError("SELECT 1", None, psycopg2.ProgrammingError("gone"), connection_invalidated=True), OUTAGE),
        (exc.DBAPIError("SELECT 1", None, psycopg2.ProgrammingError("can't adapt type 'object'")), REFUSED),
        (exc.DBAPIError("SELECT 1", None, ValueError("not the driver's")), REFUSED),
        (exc.TimeoutError("QueuePool limit"), OUTAGE),
        (ValueError("no database error at all"), REFUSED),
        (KeyboardInterrupt(), REFUSED),
    ],
    ids=repr,
)
def test_what_the_driver_says_without_a_sqlstate_is_about_the_connection(error, verdict):
    assert classify(error) is verdict
