import psycopg2
import pytest
from sqlalchemy import Engine, event, exc, text

from dbstorage.database.engine import KEPT_PLANS, create_engine, execute_prepared, fetch_prepared, patience, reading
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.url import parse_database_url


@pytest.fixture
def connect(empty_database_url):
    """Return an engine for the test's database, its URL extended by parameters."""
    engines: list[Engine] = []

    def engine(parameters: str = "", **options) -> Engine:
        engines.append(create_engine(parse_database_url(f"{empty_database_url}?{parameters}"), **options))
        return engines[-1]

    yield engine
    for each in engines:
        each.dispose()


def setting(engine: Engine, name: str) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT current_setting(:name)"), {"name": name}))


SETTINGS = {
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "500ms",
    "TimeZone": "UTC",
    "search_path": '"public"',
    "client_encoding": "UTF8",
    "application_name": "dbstorage",
}


@pytest.mark.parametrize("parameters", ["", "pgbouncer=true"])
def test_every_connection_has_its_limits_and_settings(parameters, connect):
    engine = connect(parameters)
    assert {name: setting(engine, name) for name in SETTINGS} == SETTINGS


def test_options_of_the_url_are_kept_but_ours_win(connect):
    engine = connect("options=-c%20statement_timeout%3D0%20-c%20work_mem%3D8MB")
    assert setting(engine, "work_mem") == "8MB"
    assert setting(engine, "statement_timeout") == "5s"


def test_a_search_path_in_options_is_kept(connect):
    assert setting(connect("options=-c%20search_path%3Dmine"), "search_path") == "mine"


def test_the_application_name_of_the_url_wins(connect):
    assert setting(connect("application_name=shop"), "application_name") == "shop"


@pytest.mark.parametrize("parameters", ["", "&pgbouncer=true"])
def test_a_schema_of_any_name_becomes_the_search_path(parameters, connect):
    engine = connect("schema=a%20%22b%22%5C%2C%20c'%25" + parameters)
    assert setting(engine, "search_path") == '''"a ""b""\\, c'%"'''


def test_a_limit_can_be_switched_off(connect):
    assert setting(connect(statement_timeout=None), "statement_timeout") == "0"


def test_a_statement_that_takes_too_long_is_ended_by_the_server(connect):
    with (
        pytest.raises(exc.OperationalError, match="statement timeout"),
        connect(statement_timeout=0.05).connect() as slow,
    ):
        slow.execute(text("SELECT pg_sleep(60)"))


@pytest.mark.parametrize("parameters", ["", "pgbouncer=true"])
def test_more_time_for_a_statement_ends_with_it(parameters, connect):
    with connect(parameters).begin() as connection:
        timeout = text("SHOW statement_timeout")
        with patience(connection, 25):
            assert connection.scalar(timeout) == "25s"
        assert connection.scalar(timeout) == "5s"


def test_behind_pgbouncer_settings_end_with_their_transaction(connect):
    engine = connect("pgbouncer=true")
    with engine.connect() as connection:
        connection.commit()
        cursor = connection.connection.cursor()
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_a_connection_that_the_server_closed_while_idle_is_replaced_unnoticed(connect):
    engine, other = connect(), connect()
    with engine.connect() as connection:
        process = connection.scalar(text("SELECT pg_backend_pid()"))
    with other.connect() as administrator:
        administrator.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != process


def test_an_engine_connects_only_when_it_is_used():
    engine = create_engine(parse_database_url("postgresql://ann@127.0.0.1:1/nothing"))
    attempts = []
    event.listen(engine, "do_connect", lambda *arguments: attempts.append(arguments))
    assert not attempts
    with pytest.raises(exc.OperationalError):
        engine.connect()
    assert attempts


def test_a_dead_server_is_noticed_in_time(connect):
    with connect().connect() as connection:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, psycopg2.extensions.connection)
        parameters = driver.info.dsn_parameters
    assert {name: parameters[name] for name in ("connect_timeout", "keepalives_idle", "tcp_user_timeout")} == {
        "connect_timeout": "3",
        "keepalives_idle": "3",
        "tcp_user_timeout": "7000",
    }


def test_a_reading_connection_has_no_transaction_and_is_a_usual_one_afterwards(connect):
    engine = connect()
    transaction_id = text("SELECT pg_current_xact_id()")
    with reading(engine) as connection:
        assert connection.scalar(transaction_id) != connection.scalar(transaction_id)
    with engine.begin() as connection:
        assert connection.scalar(transaction_id) == connection.scalar(transaction_id)


def test_a_reading_connection_that_is_cut_is_replaced(connect):
    engine = connect()
    with pytest.raises(exc.OperationalError), reading(engine) as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_an_error_of_rows_that_the_driver_fetches_is_one_of_sqlalchemy(connect):
    engine = connect()
    with pytest.raises(exc.DataError), reading(engine) as connection:
        fetch_prepared(connection, "SELECT 1 / %s", 0)
    with pytest.raises(exc.OperationalError) as cut, reading(engine) as connection:
        fetch_prepared(connection, "SELECT pg_terminate_backend(pg_backend_pid() + %s)", 0)
    assert classify(cut.value) is ErrorClass.OUTAGE
    with reading(engine) as connection:
        assert fetch_prepared(connection, "SELECT %s || 'b'", "a") == [("ab",)]


@pytest.mark.parametrize("parameters", ["", "pgbouncer=true"])
def test_a_prepared_statement_gives_what_it_gives_unprepared(parameters, connect):
    engine = connect(parameters)
    for _ in range(3):
        with reading(engine) as connection:
            assert execute_prepared(connection, "SELECT upper(%s)", "it's").scalar() == "IT'S"
            assert execute_prepared(connection, "SELECT %s + 1, %s || '{}'", 2, "a").one() == (3, "a{}")
            assert fetch_prepared(connection, "SELECT %s + 1, %s || '{}'", 2, "a") == [(3, "a{}")]


def test_only_so_many_statements_are_kept(connect):
    with reading(connect()) as connection:
        for number in range(2 * KEPT_PLANS):
            assert execute_prepared(connection, f"SELECT {number} || %s", "!").scalar() == f"{number}!"
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == KEPT_PLANS


def test_nothing_is_kept_in_a_session_of_others(connect):
    with reading(connect("pgbouncer=true")) as connection:
        execute_prepared(connection, "SELECT %s", "")
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_a_statement_whose_table_was_altered_is_prepared_anew_after_one_error(connect):
    engine = connect()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE altered (value integer)"))
    with reading(engine) as connection:
        execute_prepared(connection, "SELECT * FROM altered WHERE %s <> ''", "")
        connection.execute(text("ALTER TABLE altered ALTER value TYPE text"))
    statement = "SELECT * FROM altered WHERE %s <> ''"
    with pytest.raises(exc.NotSupportedError) as refused, reading(engine) as connection:
        execute_prepared(connection, statement, "")
    assert classify(refused.value) is ErrorClass.AGAIN
    with reading(engine) as connection:
        assert execute_prepared(connection, statement, "").all() == []
