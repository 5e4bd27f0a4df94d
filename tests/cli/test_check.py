import json
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result
from sqlalchemy import text

from dbstorage.checks import database_server, redis_server
from dbstorage.cli import main
from dbstorage.database.engine import create_engine
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.redis import EmbeddedRedis
from tests.database.prisma_tables import PrismaTables, snapshot

STREAM = "exness:dbstorage-stream"


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> redis.Redis:
    """The Redis that the command looks at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    return redis.Redis.from_url(redis_url)


@pytest.fixture
def migrated(client: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def empty(client: redis.Redis, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    return empty_database_url


def check(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["check", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def findings() -> dict[str, list[tuple[str, str]]]:
    """Grade and sentence of everything that is found, by subject."""
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(check("--json").stdout):
        found.setdefault(finding["subject"], []).append((finding["grade"], finding["sentence"]))
    return found


def create_tables(database_url: str, shape: PrismaTables, *changes: str) -> None:
    engine = create_engine(parse_database_url(database_url))
    with engine.begin() as connection:
        shape.create(connection)
        for change in changes:
            connection.execute(text(change))
    engine.dispose()


def test_a_migrated_database_and_an_empty_redis_are_without_problem(migrated: str):
    result = check()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("fine     Redis ")
    assert lines[-1] == (
        "fine     Trial              Done and rolled back: a user, orders, a duplicate and a conflict, histories, "
        "a failed task, a move."
    )
    assert not any(line.startswith("problem") for line in lines)
    assert findings()["Tables"] == [
        (
            "fine",
            'In schema "public": Orders with the key "id", symbol as text, type as text, no closeReason, '
            "User with balance.",
        )
    ]


def test_passwords_are_not_shown(migrated: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://:redis-secret@127.0.0.1:1")
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://joe:broker-secret@127.0.0.1:1//")
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:database-secret@127.0.0.1:1/db")
    assert "secret" not in check().output


def test_servers_that_cannot_be_reached_are_problems(migrated: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:secret@127.0.0.1:1/db")
    result = check()
    assert result.exit_code == 3
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["problem", "Redis"],
        ["problem", "Broker"],
        ["problem", "PostgreSQL"],
    ]
    assert result.stdout.count("Connection refused") == 3


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("CELERY_BROKER_URL", "amqp://127.0.0.1:1//"),
        ("DATABASE_URL", "postgresql://joe@127.0.0.1:1/db"),
    ],
)
def test_one_server_that_is_away_is_exit_code_3(
    migrated: str, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
):
    monkeypatch.setenv(variable, url)
    result = check("--json")
    assert result.exit_code == 3
    assert sum(finding["away"] for finding in json.loads(result.stdout)) == (2 if variable == "REDIS_URL" else 1)


def test_variables_that_look_like_ours_are_named(migrated: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BATCHSIZE", "100")
    monkeypatch.setenv("QUERYTTL", "9")
    result = check()
    assert result.exit_code == 0
    assert [line.split(maxsplit=2)[2] for line in result.stdout.splitlines()[:2]] == [
        "BATCHSIZE is set, and nothing reads it: did you mean BATCH_SIZE?",
        "QUERYTTL is set, and nothing reads it: did you mean QUERY_TTL?",
    ]


def test_failed_tasks_that_fill_the_disk_are_named(migrated: str, monkeypatch: pytest.MonkeyPatch):
    assert "Failed tasks" not in findings()
    monkeypatch.setattr(database_server, "MANY_BYTES", 1000)
    [(grade, sentence)] = findings()["Failed tasks"]
    assert grade == "warning"
    assert sentence.startswith("They take 0.0 GiB of the database's disk. Delete old ones: dbstorage failed purge ")


def test_a_broker_of_its_own_is_asked(migrated: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://joe:secret@127.0.0.1:1//")
    assert findings()["Broker"] == [
        ("problem", "amqp://joe:***@127.0.0.1:1// cannot be used: [Errno 111] Connection refused.")
    ]


def test_nothing_is_changed_and_the_migration_is_foretold(empty: str, client: redis.Redis):
    create_tables(empty, PrismaTables(), 'CREATE INDEX "mine" ON "Orders" ("userId")')
    engine = create_engine(parse_database_url(empty))
    with engine.connect() as connection:
        before = snapshot(connection)
    assert findings()["Migration"] == [
        (
            "warning",
            '`dbstorage migrate` would: add the index "Orders_closeTime_idx" to "Orders" in schema "public" '
            "(its writers wait meanwhile).",
        ),
        (
            "warning",
            '`dbstorage migrate` would: add the index "Orders_userId_closeTime_idx" to "Orders" in schema "public" '
            "(its writers wait meanwhile).",
        ),
        ("warning", '`dbstorage migrate` would: create the schema "dbstorage" with our own tables.'),
    ]
    with engine.connect() as connection:
        assert snapshot(connection) == before
    engine.dispose()
    assert client.keys() == []


def test_an_empty_database_has_no_tables_yet(empty: str):
    found = findings()
    assert found["Tables"] == [("fine", "There is neither User nor Orders yet.")]
    assert found["Migration"][0] == (
        "warning",
        '`dbstorage migrate` would: create the table "User" in schema "public".',
    )


def test_every_difference_of_the_shape_is_named(empty: str):
    create_tables(empty, PrismaTables(order_id_is_key=True, enums=True, close_reason=True, no_balance=True))
    assert findings()["Tables"] == [
        (
            "fine",
            'In schema "public": Orders with the key "orderId", symbol as public."Symbol", type as public."OrderSide", '
            "closeReason kept, User without balance.",
        )
    ]


def test_tables_that_cannot_be_written_to_are_a_problem(empty: str):
    create_tables(empty, PrismaTables(), 'ALTER TABLE "Orders" DROP COLUMN "stopLoss"')
    assert check().exit_code == 1
    refusal = 'DBStorage cannot write to "Orders" in schema "public": the column "stopLoss" is missing.'
    found = findings()
    assert found["Tables"] == [("problem", refusal)]
    assert found["Migration"] == [("problem", f"`dbstorage migrate` would refuse and change nothing. {refusal}")]


def test_a_schema_that_does_not_exist_is_a_problem(migrated: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", f"{migrated}?schema=elsewhere")
    assert check().exit_code == 1
    [(grade, sentence)] = findings()["Tables"]
    assert grade == "problem"
    assert "The schema elsewhere does not exist" in sentence.replace('"', "")


def test_tables_that_vanished_after_the_migration_are_a_problem(migrated: str):
    engine = create_engine(parse_database_url(migrated))
    with engine.begin() as connection:
        connection.execute(text('DROP TABLE "Orders"'))
    engine.dispose()
    [(grade, sentence)] = findings()["Tables"]
    assert grade == "problem"
    assert 'has no table "Orders" in schema "public", although it was migrated' in sentence


def test_a_server_that_takes_no_writes_is_a_problem(migrated: str):
    engine = create_engine(parse_database_url(migrated))
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    engine.dispose()
    assert findings()["PostgreSQL writes"][0] == (
        "problem",
        "The server takes no writes: it is a standby or read-only.",
    )


def test_a_server_that_may_lose_commits_is_a_warning(migrated: str):
    # The tests' own server is such a one.
    [(grade, sentence)] = findings()["PostgreSQL writes"]
    assert grade == "warning"
    assert sentence.startswith("Off: fsync, full_page_writes, synchronous_commit.")


def test_versions_that_were_not_tried_are_warnings(migrated: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database_server, "OLDEST", 99)
    monkeypatch.setattr(redis_server, "OLDEST", (9, 0))
    found = findings()
    assert found["PostgreSQL"][0][0] == "warning"
    assert found["PostgreSQL"][0][1].endswith("DBStorage expects PostgreSQL 99 to 18.")
    assert found["Redis"][0][0] == "warning"
    assert found["Redis"][0][1].endswith("DBStorage expects Redis 7.0 to 8.")


def test_a_redis_that_keeps_nothing_is_a_warning_and_one_with_an_append_only_file_is_not(
    migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    [(grade, sentence)] = findings()["Redis persistence"]
    assert grade == "warning"
    assert sentence.startswith("Nothing is written to disk")
    server = EmbeddedRedis(tmp_path / "durable", durable=True)
    server.start()
    monkeypatch.setenv("REDIS_URL", server.url)
    try:
        assert findings()["Redis persistence"] == [("fine", "Append-only file, written to disk everysec.")]
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "no")
            client.config_set("save", "60 1")
            [(grade, sentence)] = findings()["Redis persistence"]
            assert (grade, sentence[:28]) == ("warning", "Snapshots only (save 60 1), ")
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
            [(grade, sentence)] = findings()["Redis memory"]
            assert grade == "warning"
            assert sentence.startswith("Limited to 100 MiB; policy allkeys-lru: at the limit a whole stream may vanish")
            client.config_set("maxmemory-policy", "volatile-ttl")
            assert findings()["Redis memory"][0][0] == "warning"
            client.config_set("maxmemory-policy", "noeviction")
            assert findings()["Redis memory"][0][0] == "fine"
            client.execute_command("ACL", "SETUSER", "default", "-config")
            assert "does not show whether it saves snapshots" in findings()["Redis persistence"][0][1]
    finally:
        server.stop()


def test_positions_of_the_stream_and_of_all_its_groups_are_told(migrated: str, client: redis.Redis):
    assert findings()["Command stream"] == [("fine", f"{STREAM} does not exist yet.")]
    first, last = "1-0", "3-0"
    for entry_id in (first, "2-0", last):
        client.xadd(STREAM, {"message": "{}"}, id=entry_id)
    found = findings()
    assert found["Command stream"] == [("fine", f"{STREAM} holds 3 entries, {first} to {last}.")]
    assert found["Consumer group"] == [
        (
            "warning",
            "dbstorage does not exist yet: the first worker creates it at the stream's beginning "
            "and works off the 3 entries that are there.",
        )
    ]
    client.xgroup_create(STREAM, "dbstorage", "0")
    client.xgroup_create(STREAM, "another", "$")
    client.xreadgroup("dbstorage", "worker", {STREAM: ">"}, count=1)
    ours, other = sorted(findings()["Consumer group"], key=lambda finding: "not ours" in finding[1])
    assert ours[0] == "fine"
    assert ours[1].startswith(f"dbstorage has read up to {first}. Not read yet: ")
    assert ours[1].endswith("; in hand: 1; consumers: 1.")
    assert other == (
        "fine",
        f"another (not ours) has read up to {last}. Not read yet: 0; in hand: 0; consumers: 0.",
    )
    client.xtrim(STREAM, maxlen=0, approximate=False)
    assert findings()["Command stream"] == [("fine", f"{STREAM} is empty; its last entry was {last}.")]


def test_a_stream_name_that_is_taken_by_something_else_is_a_problem(migrated: str, client: redis.Redis):
    client.set(STREAM, "text")
    assert check().exit_code == 1
    assert findings()["Command stream"] == [
        ("problem", f"{STREAM} is a string, not a stream: rename one or the other.")
    ]
