import json
import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from dbstorage import status
from dbstorage.cli import main
from dbstorage.cli.output import print_table, redraw, say
from dbstorage.database.engine import create_engine
from dbstorage.database.url import parse_database_url
from dbstorage.redis_access.holder import KeyHolder, Place
from dbstorage.redis_access.keys import lease_key, worker_key
from dbstorage.settings import load_settings, without_password
from tests.failed_tasks.records import add, record
from tests.waiting import within_one_day

STREAM = "exness:dbstorage-stream"


@pytest.fixture
def client(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> redis.Redis:
    """The Redis that the command looks at; nothing is in it yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    return redis.Redis.from_url(redis_url)


@pytest.fixture
def engine(database_url: str) -> Engine:
    return create_engine(parse_database_url(database_url))


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["status", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def as_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("--json").stdout)
    return found


def lines(result: Result) -> dict[str, str]:
    return {line.split(":")[0]: line.partition(":")[2].strip() for line in result.stdout.splitlines()}


def write(client: redis.Redis, number: int) -> list[Any]:
    return [client.xadd(STREAM, {"message": "{}"}) for _ in range(number)]


def test_figures_of_a_stream_in_work(client: redis.Redis, engine: Engine):
    written = write(client, 10)
    client.xgroup_create(STREAM, "dbstorage", "0")
    client.xreadgroup("dbstorage", "worker@a", {STREAM: ">"}, count=6)
    client.xack(STREAM, "dbstorage", written[0], written[1])
    client.xgroup_createconsumer(STREAM, "dbstorage", "worker@b")
    settings = load_settings()
    holder = KeyHolder("worker@a", Place("host-1", "boot", "pid:[1]"), 17, "nonce")
    client.set(lease_key(settings), holder.token)
    client.set(worker_key(settings, "worker@a"), holder.token)
    with engine.connect() as connection:
        add(connection, record(), record(code="user_not_found", state="retrying"), record(state="discarded"))

    result = run()
    assert result.exit_code == 0
    shown = lines(result)
    assert result.stdout.splitlines()[0] == "verdict:        fine: 8 entries wait"
    assert shown["standing by"] == "nobody"
    assert re.match(r"up, (Valkey|Redis) \d", shown["redis"])
    assert shown["stream"] == f"{STREAM} (group dbstorage)"
    assert (shown["length"], shown["lag"], shown["pending"]) == ("10", "4", "4")
    assert shown["oldest pending"].endswith(" s")
    assert shown["oldest unread"].endswith(" s")
    assert shown["reader"] == "worker@a on host-1 (process 17)"
    assert shown["database"].startswith("up, version ")
    assert "code\tfailed\tretrying\tresolved\tdiscarded" in result.stdout
    assert "invalid_symbol\t1\t0\t0\t1" in result.stdout
    assert "user_not_found\t0\t1\t0\t0" in result.stdout

    found = as_json()
    varying = {
        "server": "", "version": "", "oldest_pending_seconds": 0, "oldest_unread_seconds": 0, "consumers": [],
        "workers": [], "now": 0,
    }  # fmt: skip
    assert found["redis"] | varying == {
        "up": True, "url": client_url(client), "problem": None, "refusal": None, "server": "", "version": "",
        "name": STREAM,
        "group": "dbstorage", "length": 10, "lag": 4, "lag_at_least": None, "pending": 4, "oldest_pending_seconds": 0,
        "oldest_unread_seconds": 0, "consumers": [], "ordering": "strict",
        "reader": {"name": "worker@a", "host": "host-1", "process_id": 17}, "workers": [], "paused": None,
        "history": [], "now": 0, "trimmed_unread": 0, "lost": 0, "silent_sentinels": None,
    }  # fmt: skip
    assert {one["name"]: one["state"] for one in found["redis"]["workers"]} == {"worker@a": "reads", "worker@b": "gone"}
    assert found["verdict"]["standing"] == "fine"
    consumers = {one["name"]: (one["pending"], one["alive"]) for one in found["redis"]["consumers"]}
    assert consumers == {"worker@a": (4, True), "worker@b": (0, False)}
    assert found["database"]["failed_tasks"] == {
        "invalid_symbol": {"failed": 1, "discarded": 1},
        "user_not_found": {"retrying": 1},
    }


def client_url(client: redis.Redis) -> str:
    return without_password(os.environ["REDIS_URL"])


def test_a_stream_that_is_worked_off_has_no_lag(client: redis.Redis):
    client.xgroup_create(STREAM, "dbstorage", "0", mkstream=True)
    for entry in write(client, 3):
        client.xreadgroup("dbstorage", "worker@a", {STREAM: ">"}, count=1)
        client.xack(STREAM, "dbstorage", entry)
    shown = lines(run())
    names = ("length", "lag", "oldest unread", "pending", "oldest pending", "failed tasks")
    assert [shown[name] for name in names] == [
        "3", "0", "none", "0", "none", "none"
    ]  # fmt: skip


def test_without_a_group_nothing_is_made_up(client: redis.Redis):
    write(client, 3)
    shown = lines(run())
    assert [shown[name] for name in ("length", "lag", "oldest unread", "pending", "oldest pending", "consumers")] == [
        "3", "unknown", "unknown", "unknown", "unknown", "unknown"
    ]  # fmt: skip
    assert shown["reader"] == "none: no worker reads the stream"
    redis_status = as_json()["redis"]
    assert [redis_status[name] for name in ("lag", "pending", "oldest_pending_seconds", "consumers")] == [None] * 4


def test_a_lag_too_long_to_count_is_not_made_up(client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    # Redis does not tell the lag after a deletion in the middle.
    monkeypatch.setattr(status, "MOST_COUNTED", 5)
    written = write(client, 20)
    client.xgroup_create(STREAM, "dbstorage", "0")
    client.xdel(STREAM, written[15])
    assert lines(run())["lag"] == "19"  # nobody has read anything
    client.xreadgroup("dbstorage", "worker@a", {STREAM: ">"}, count=2)
    assert lines(run())["lag"] == "6 or more"
    assert (as_json()["redis"]["lag"], as_json()["redis"]["lag_at_least"]) == (None, 6)
    client.xreadgroup("dbstorage", "worker@a", {STREAM: ">"}, count=15)
    assert lines(run())["lag"] == "2"


def test_in_parallel_order_every_worker_reads(client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORDERING", "parallel")
    assert lines(run())["reader"] == "every worker (ORDERING=parallel)"


def test_redis_down_is_said_and_the_rest_is_told(client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://:secret@localhost:1")
    result = run()
    assert result.exit_code == 3
    shown = lines(result)
    assert shown["redis"] == "down, redis://:***@localhost:1"
    assert {shown[name] for name in ("length", "lag", "pending", "oldest pending", "reader", "consumers")} == {
        "unknown"
    }
    assert shown["database"].startswith("up, version ")
    assert result.stderr.startswith("Redis cannot be used: ")
    assert "secret" not in result.output
    assert run("--json").exit_code == 3


def test_postgresql_down_is_said_and_the_rest_is_told(client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:secret@localhost:1/nowhere")
    result = run()
    assert result.exit_code == 3
    shown = lines(result)
    assert shown["database"] == "down, postgresql://joe@localhost:1/nowhere"
    assert shown["failed tasks"] == "unknown"
    assert shown["length"] == "0"
    assert result.stderr.startswith("The database cannot be used: ")
    assert "secret" not in result.output
    assert as_json()["database"]["failed_tasks"] is None


def test_a_database_that_is_not_migrated_is_up_and_a_problem(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
):
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    result = run()
    assert result.exit_code == 3
    assert lines(result)["database"].startswith("up, version ")
    assert result.stderr.startswith("The database is not migrated")


def test_another_kind_of_key_in_the_streams_place_is_a_problem(client: redis.Redis):
    client.set(STREAM, "text")
    result = run()
    assert (result.exit_code, result.stderr) == (
        3, f"The key {STREAM} is a string, not a stream: rename one or the other.\n"
    )  # fmt: skip
    assert lines(result)["length"] == "unknown"


def test_another_kind_of_key_in_the_place_of_the_responses_is_named(client: redis.Redis):
    client.set("exness:response-stream", "text")
    client.xgroup_create(STREAM, "dbstorage", "0", mkstream=True)
    sentence = "The key exness:response-stream is a string, not a stream: rename one or the other"
    result = run()
    assert (result.exit_code, result.stderr) == (3, f"{sentence}.\n")
    assert lines(result)["verdict"] == f"Redis does not take everything: {sentence}"
    assert lines(result)["length"] == "0"


def test_a_redis_that_does_not_let_us_look_says_so(client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    client.acl_setuser("looks", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-xlen"])
    parts = urlsplit(os.environ["REDIS_URL"])
    monkeypatch.setenv("REDIS_URL", parts._replace(netloc=f"looks:x@{parts.netloc.rpartition('@')[2]}").geturl())
    try:
        result = run()
    finally:
        client.acl_deluser("looks")
    assert result.exit_code == 3
    assert "xlen" in lines(result)["verdict"]


def test_watch_looks_again_until_ctrl_c(client: redis.Redis):
    command = [sys.executable, "-c", "from dbstorage.cli import main; main()", "status", "--watch", "0.1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["redis"]["length"] == 0
        write(client, 2)
        while json.loads(process.stdout.readline())["redis"]["length"] != 2:
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1  # nobody reads


def test_what_was_closed_today_and_stored_last(client: redis.Redis, engine: Engine):
    def closed() -> tuple[dict[str, str], Any]:
        with engine.begin() as connection:
            connection.execute(text('DELETE FROM "Orders"'))
            for order_id, symbol, profit, days in [
                ("a", "eth", 2.5, 0),
                ("b", "btc", 1, 0),
                ("c", "btc", -3, 0),
                ("d", "btc", 9, 1),
            ]:
                connection.execute(insert, {"order": order_id, "symbol": symbol, "profit": profit, "days": days})
        return lines(run()), as_json()

    insert = text(
        'INSERT INTO "Orders" ("orderId", "userId", symbol, type, quantity, leverage, "openPrice", "closePrice", '
        '"openTime", "closeTime", "profitLoss") SELECT :order, \'u\', :symbol, \'buy\', 1, 1, 1, 1, moment, moment, '
        ":profit FROM (SELECT timezone('UTC', now()) - :days * interval '1 day' AS moment) AS given"
    )
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO \"User\" (\"userID\", email) VALUES ('u', 'u@example.com')"))
    shown, data = within_one_day(closed)
    assert shown["today (UTC)"] == "2 btc (profit -2), 1 eth (profit 2.5)"
    assert shown["last order"].startswith("d of u, btc, closed ")
    assert [one["orders"] for one in data["database"]["today"]] == [2, 1]


def test_a_terminal_shows_no_more_lines_than_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LINES", "5")
    redraw(lambda: say(*(f"line {number}" for number in range(9))))
    assert capsys.readouterr().out.splitlines()[-4:] == ["line 0", "line 1", "line 2", "… 6 more lines"]


def test_a_long_verdict_stays_in_sight_and_tables_keep_their_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LINES", "6")
    monkeypatch.setenv("COLUMNS", "20")
    redraw(lambda: say("v" * 45, *(f"line {number}" for number in range(4))))
    assert capsys.readouterr().out.splitlines()[-3:] == ["v" * 45, "line 0", "… 3 more lines"]
    monkeypatch.setenv("COLUMNS", "80")
    redraw(lambda: print_table(["code", "failed"], [["invalid_symbol", 7]]))
    drawn = capsys.readouterr().out
    assert "\t" not in drawn
    assert "invalid_symbol  7" in drawn


def test_a_role_that_may_not_see_orders_is_no_problem_of_the_service(
    client: redis.Redis, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    role = f"looks_{secrets.token_hex(4)}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public, dbstorage TO {role}")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA dbstorage TO {role}")
        connection.commit()
        parts = urlsplit(os.environ["DATABASE_URL"])
        place = parts.netloc.rpartition("@")[2]
        monkeypatch.setenv("DATABASE_URL", parts._replace(netloc=f"{role}:x@{place}").geturl())
        try:
            shown = lines(run())
        finally:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")
            connection.commit()
    assert shown["verdict"].startswith("nobody reads")
    assert (shown["today (UTC)"], shown["failed tasks"]) == ("unknown", "none")
