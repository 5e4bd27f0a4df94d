import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner, Result
from rich.text import Text
from sqlalchemy import Connection

from dbstorage.cli import main
from dbstorage.commands.orders import close_order
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import inspect_shape
from dbstorage.database.url import parse_database_url
from dbstorage.storage.orders import store_orders
from tests.cli.terminal import on_terminal
from tests.failed_tasks.records import add, add_many, record
from tests.service.platform import order


@pytest.fixture
def connection(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Connection]:
    """A connection to the database that the commands use too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    monkeypatch.setenv("DATABASE_URL", database_url)
    engine = create_engine(parse_database_url(database_url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def tasks(connection: Connection) -> list[int]:
    return add(
        connection,
        record(order_id="order-a"),
        record(order_id="order-b", user_id="user-2", code="user_not_found", state="retrying"),
        record(order_id="order-c", state="resolved"),
        record(order_id="order-d", payload=b'{"message":{"userEmail":"joe@example.com"}}', message="[bold]no\x1b[2J"),
    )


def failed(*arguments: object, answer: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["failed", *map(str, arguments)], input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def states(database_url: str) -> list[str]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT state FROM dbstorage.failed_tasks ORDER BY id")
        return [state for (state,) in cursor]


def listed(*arguments: object) -> list[str]:
    return [task["order_id"] for task in json.loads(failed("list", "--json", *arguments).stdout)]


def test_list_shows_what_is_to_be_done_and_no_payload(tasks: list[int]):
    result = failed("list")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout), delimiter="\t"))
    assert [row["order"] for row in rows] == ["order-d", "order-b", "order-a"]
    assert rows[1] | {"last failed": ""} == {
        "id": str(tasks[1]),
        "state": "retrying",
        "code": "user_not_found",
        "user": "user-2",
        "order": "order-b",
        "attempts": "1",
        "last failed": "",
        "what happened": "symbol is 'doge': expected btc, eth or sol.",
    }
    assert rows[0]["what happened"] == "[bold]no\\x1b[2J"
    assert "joe@example.com" not in result.stdout


def test_the_list_can_be_filtered_and_limited(tasks: list[int]):
    assert listed("--all") == ["order-d", "order-c", "order-b", "order-a"]
    assert listed("--state", "resolved", "--state", "retrying") == ["order-c", "order-b"]
    assert listed("--user", "user-2") == ["order-b"]
    assert listed("--order", "order-a", "--code", "invalid_symbol", "--function", "createCloseOrder") == ["order-a"]
    assert listed("--text", "joe@example.com") == ["order-d"]
    assert listed("--task-id", "createCloseOrder:order-a") == ["order-a"]
    assert listed(tasks[2], tasks[0]) == ["order-c", "order-a"]
    result = failed("list", "--limit", 2)
    assert (result.stdout.count("\n"), result.stderr) == (3, "2 of 3 tasks; --limit or --all shows more.\n")


def test_json_of_a_list_has_every_field_but_the_payload(tasks: list[int]):
    [task] = json.loads(failed("list", tasks[0], "--json").stdout)
    assert set(task) == {
        "id", "task_id", "function", "entry_id", "user_id", "order_id", "code", "message", "attempts",
        "first_failed_at", "last_failed_at", "state", "retry_at",
    }  # fmt: skip
    assert task["last_failed_at"].endswith("Z")
    assert task["retry_at"] is None


def test_nothing_found_is_exit_code_1(connection: Connection):
    result = failed("list")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "No failed task matches.\n")
    result = failed("list", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    result = failed("show", 1)
    assert (result.exit_code, result.stderr) == (1, "There is no failed task 1.\n")
    result = failed("retry", 1, "--yes")
    assert (result.exit_code, result.stderr) == (1, "No task in state failed matches.\n")
    result = failed("discard", "--all", "--yes")
    assert (result.exit_code, result.stderr) == (1, "No task in state failed or retrying matches.\n")


def test_show_prints_everything_readably(tasks: list[int]):
    result = failed("show", tasks[3])
    assert result.exit_code == 0
    assert "code:            invalid_symbol\n" in result.stdout
    assert "message:         [bold]no\\x1b[2J\n" in result.stdout
    assert "retry at:        -\n" in result.stdout
    assert result.stdout.endswith(
        'layout:          envelope\npayload:\n  {\n    "message": {\n      "userEmail": "joe@example.com"\n    }\n  }\n'
    )


def test_show_as_json_has_the_bytes_too(connection: Connection):
    [task] = add(connection, record(layout="flat", payload=b"*2\r\n$1\r\na\r\n$2\r\n\xff!\r\n"))
    shown = json.loads(failed("show", task, "--json").stdout)
    assert shown["payload"] == [["a", "\\xff!"]]
    assert shown["payload_base64"] == "KjINCiQxDQphDQokMg0K/yENCg=="
    assert shown["layout"] == "flat"


def test_retry_asks_first(tasks: list[int], database_url: str):
    result = failed("retry", "--all", answer="n\n")
    assert result.exit_code == 4
    assert "Retry 2 tasks? [y/N]" in result.stderr
    assert result.stderr.endswith("Nothing was changed; --yes does it without asking.\n")
    assert failed("retry", "--all").exit_code == 4
    assert states(database_url) == ["failed", "retrying", "resolved", "failed"]

    result = failed("retry", tasks[0], "--no-wait", answer="y\n")
    assert result.exit_code == 0
    # Before it, older versions of click show the answer.
    assert result.stdout.endswith("1 task is retried.\n")
    assert states(database_url) == ["retrying", "retrying", "resolved", "failed"]


def test_retry_and_discard_take_a_filter(tasks: list[int], database_url: str):
    result = failed("retry", "--order", "order-d", "--yes", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, "1 task is retried.\n")
    result = failed("discard", "--code", "invalid_symbol", "-y", "--json")
    assert json.loads(result.stdout) == {"matched": 2, "changed": 2, "dry_run": False}
    assert states(database_url) == ["discarded", "retrying", "resolved", "discarded"]


def test_a_dry_run_only_counts(tasks: list[int], database_url: str):
    before = states(database_url)
    assert failed("discard", "--all", "--dry-run").stdout == "3 tasks would be discarded.\n"
    assert failed("retry", *tasks, "--dry-run").stdout == "2 tasks would be retried.\n"
    assert json.loads(failed("retry", "--all", "--dry-run", "--json").stdout) == {
        "matched": 2, "changed": 0, "dry_run": True
    }  # fmt: skip
    assert states(database_url) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["retry"], "Say which tasks: with ids, with a filter such as --code, or with --all for all of them."),
        (["discard", "--yes"], "Say which tasks"),
        (["discard", "1", "--all"], "Say either which tasks, by their ids, or --all."),
        (["retry", "--code", ""], "expected some text"),
        (["retry", "--text", ""], "expected some text"),
        (["show", "order-a"], "'order-a' is not the id of a failed task: expected a whole number such as 17."),
        (["list", "9999999999999999999"], "is not the id of a failed task"),
        (["list", "--state", "lost"], "'lost' is not one of"),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["list", "--text", "\udcff"], "expected some text, in UTF-8"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(tasks: list[int], arguments: list[str], sentence: str):
    result = failed(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_database_that_is_away_is_a_sentence_and_exit_code_3(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:secret@localhost:1/nowhere")
    result = failed("list")
    assert result.exit_code == 3
    assert result.stderr.startswith("The database cannot be used: ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_a_database_that_is_not_migrated_is_a_sentence_too(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
):
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    result = failed("retry", "--all")
    assert result.exit_code == 3
    assert result.stderr == "The database is not migrated: `dbstorage migrate` creates the table of failed tasks.\n"


def test_settings_that_are_missing_are_exit_code_2(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DATABASE_URL")
    result = failed("list")
    assert result.exit_code == 2
    assert "DATABASE_URL is not set" in result.stderr


@pytest.mark.parametrize("command", ["list", "show", "retry", "discard"])
def test_help_tells_the_exit_codes(command: str):
    assert "  1  nothing matched, or there is no such task\n" in failed(command, "--help").stdout


def test_on_a_terminal_the_list_is_a_table(tasks: list[int]):
    exit_code, shown = on_terminal("failed", "list", columns=200)
    assert exit_code == 0
    lines = shown.splitlines()
    assert "\t" not in shown
    assert [line.split()[1] for line in lines[1:]] == ["failed", "retrying", "failed"]
    assert "[bold]no\\x1b[2J" in lines[1]


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_ids_are_whole_on_any_terminal_and_the_sentence_is_cut(connection: Connection, columns: int):
    order_id, user_id = "6d1a0e52-2f7c-4b0e-9d0f-1c2b3a4d5e6f", "0f9e8d7c-6b5a-4f3e-8d2c-1b0a99887766"
    [task] = add(connection, record(order_id=order_id, user_id=user_id, message="A sentence " + "of many words " * 20))
    exit_code, shown = on_terminal("failed", "list", columns=columns)
    assert exit_code == 0
    [heading, line] = shown.splitlines()
    assert line.split()[0] == str(task)
    assert order_id in line
    assert "invalid_symbol" in line
    assert line.rstrip().endswith("…")
    assert columns < 80 or max(Text.from_ansi(each).cell_len for each in (heading, line)) <= columns
    assert (user_id in line) == (columns >= 120)


def test_failed_needs_the_database_alone(tasks: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("REDIS_URL")
    assert failed("list").exit_code == 0
    assert failed("show", tasks[0]).exit_code == 0
    assert failed("edit", tasks[0], "--set", "symbol=btc", "--dry-run").exit_code in (0, 1)
    assert failed("discard", tasks[0], "--yes").stdout == "1 task is discarded.\n"
    monkeypatch.delenv("DATABASE_URL")
    result = CliRunner().invoke(main, ["failed", "list"])
    assert result.exit_code == 2
    assert "DATABASE_URL is not set" in result.stderr
    assert "REDIS_URL" not in result.stderr


def test_a_code_that_no_task_has_is_an_error_and_not_good_news(tasks: list[int]):
    for command in ("list", "retry", "groups", "export"):
        result = failed(command, "--code", "user_not_fuond")
        assert result.exit_code == 2
        assert "No task ever failed with the code user_not_fuond. Did you mean user_not_found?" in result.stderr
    assert "Did you mean invalid_symbol?" in failed("list", "--code", "invalid_symbl").stderr
    # One that exists, and is not among the tasks at the moment.
    assert failed("list", "--code", "user_conflict").exit_code == 1
    assert failed("list", "--function", "createOrder").exit_code == 2


def test_a_discard_is_undone_and_everything_is_on_record(tasks: list[int], database_url: str):
    assert failed("discard", tasks[0], "--yes", "--reason", "a test").exit_code == 0
    assert failed("restore", tasks[0], "--yes").stdout == "1 task is restored.\n"
    assert states(database_url)[0] == "failed"
    result = CliRunner().invoke(main, ["operations", "--json"])
    found = json.loads(result.stdout)
    assert [(one["what"], one["affected"], one["reason"]) for one in found] == [
        ("restore", 1, None),
        ("discard", 1, "a test"),
    ]
    shown = CliRunner().invoke(main, ["operations"])
    assert f"ids {tasks[0]}" in shown.stdout


def test_to_discard_many_their_number_has_to_be_typed(connection: Connection, database_url: str):
    add_many(connection, [record() for _ in range(99)] + [record(code="order_conflict") for _ in range(2)])
    result = failed("discard", "--all", answer="yes\n")
    assert result.exit_code == 4
    assert "        99  invalid_symbol\n         2  order_conflict\n" in result.stderr
    assert "Discard 101 tasks? Type their number" in result.stderr
    assert set(states(database_url)) == {"failed"}
    assert failed("discard", "--all", answer="101\n").exit_code == 0
    assert set(states(database_url)) == {"discarded"}


def test_tasks_are_grouped_by_sentence_or_user_and_narrowed_by_time(tasks: list[int]):
    found = json.loads(failed("groups", "--json").stdout)
    assert [(one["code"], one["sentence"], one["number"]) for one in found] == [
        ("invalid_symbol", "[bold]no\x1b[2J", 1),
        ("invalid_symbol", "symbol is …: expected btc, eth or sol.", 1),
        ("user_not_found", "symbol is …: expected btc, eth or sol.", 1),
    ]
    assert [one["user"] for one in json.loads(failed("groups", "--by", "user", "--json").stdout)] == [
        "user-1",
        "user-2",
    ]
    assert len(listed("--since", "1h")) == 3
    assert listed("--until", "2026-01-01") == []
    wrong = failed("list", "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "'yesterday' is no moment" in wrong.stderr


def test_an_export_holds_the_payloads(tasks: list[int]):
    lines = [json.loads(line) for line in failed("export").stdout.splitlines()]
    assert [line["order_id"] for line in lines] == ["order-d", "order-c", "order-b", "order-a"]
    assert lines[0]["payload"] == '{"message":{"userEmail":"joe@example.com"}}'
    rows = list(csv.DictReader(io.StringIO(failed("export", "--format", "csv", "--state", "failed").stdout)))
    assert [row["order_id"] for row in rows] == ["order-d", "order-a"]
    assert rows[0]["payload"] == lines[0]["payload"]
    assert failed("export", "--order", "none").stdout == ""


def test_what_is_mended_is_told_and_asked_first(connection: Connection, database_url: str):
    good = json.dumps(order("o-1", symbol="doge")).encode()
    bad = json.dumps(order("o-2", symbol="doge", quantity="many")).encode()
    first, _ = add(connection, record(payload=good), record(payload=bad))
    dry = failed("edit", "--code", "invalid_symbol", "--set", "symbol=btc", "--dry-run")
    assert dry.stdout == "1 task would be mended and retried.\n"
    assert dry.stderr.splitlines() == [
        f"{first}: symbol doge -> btc",
        "1 task would still fail: quantity is …; expected a finite number or the text of one.",
    ]
    assert failed("edit", "--all", "--set", "symbol=btc", answer="no\n").exit_code == 4
    assert states(database_url) == ["failed", "failed"]
    done = failed("edit", "--all", "--set", "symbol=btc", "--yes", "--json", "--no-wait")
    assert json.loads(done.stdout)["mended"] == 1
    assert states(database_url) == ["retrying", "failed"]
    for wrong in (["--set", "orderId=1", "--all"], ["--set", "symbol=btc"], ["--all"]):
        assert failed("edit", *wrong).exit_code == 2


def test_a_retry_that_nobody_runs_is_waited_for_no_longer_than_told(tasks: list[int], database_url: str):
    result = failed("retry", "--all", "--yes", "--timeout", "0.2")
    assert (result.exit_code, result.stdout) == (0, "2 retried: 2 still to be tried.\n")
    assert result.stderr.startswith("Nothing has happened for 0.2 s: does a worker run? The retry goes on. ")
    assert failed("cancel", tasks[0], tasks[3], "--yes").stdout == "2 tasks are cancelled.\n"
    assert states(database_url) == ["failed", "retrying", "resolved", "failed"]
    result = failed("retry", "--all", "--yes", "--no-wait")
    assert result.stdout == "2 tasks are retried.\n"
    assert "`dbstorage failed list --state retrying` shows what is left" in result.stderr


def test_both_orders_of_a_conflict_stand_side_by_side(connection: Connection):
    connection.exec_driver_sql("""INSERT INTO "User" ("userID", email) VALUES ('user-1', 'joe@example.com')""")
    stored = close_order(order("o-1", "user-1", quantity=2)["message"])
    store_orders(connection, inspect_shape(connection), [stored])
    connection.commit()
    came = json.dumps(order("o-1", "user-1", quantity=3)).encode()
    conflict, gone, other = add(
        connection,
        record(order_id="o-1", code="order_conflict", payload=came),
        record(code="order_conflict", payload=json.dumps(order("o-2", "user-1")).encode()),
        record(payload=came),
    )
    shown = failed("show", conflict).stdout.splitlines()
    [differing] = [line for line in shown if line.startswith("  * ")]
    assert differing.split() == ["*", "quantity", "2", "3"]
    assert "    symbol      btc                  btc" in shown
    fields = json.loads(failed("show", conflict, "--json").stdout)["conflict"]
    assert [each["name"] for each in fields if each["same"] is False] == ["quantity"]
    assert [each["name"] for each in fields if each["same"] is None] == ["orderId", "userId"]
    for without in (gone, other):
        assert json.loads(failed("show", without, "--json").stdout)["conflict"] is None


def test_show_has_the_payload_as_it_came_beside_the_mended_one(connection: Connection):
    [task] = add(connection, record(payload=b'{"symbol":"btc"}', original_payload=b'{"symbol":"doge"}'))
    shown = failed("show", task).stdout
    assert shown.index('"btc"') < shown.index("payload as it came, before it was mended:") < shown.index('"doge"')
    assert json.loads(failed("show", task, "--json").stdout)["original_payload"] == '{"symbol":"doge"}'


def test_old_records_are_purged_and_open_ones_never(tasks: list[int], database_url: str):
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE dbstorage.failed_tasks SET last_failed_at = now() - interval '91 days'")
        connection.commit()
    assert failed("purge", "--older-than", "100d", "--yes").stdout == "The records of 0 tasks are deleted.\n"
    assert failed("purge", "--older-than", "90d", "--dry-run").stdout == "The records of 1 task would be deleted.\n"
    assert failed("purge", "--older-than", "90d", "--yes").stdout == "The records of 1 task are deleted.\n"
    assert states(database_url) == ["failed", "retrying", "failed"]
    assert failed("purge", "--older-than", "90d", "--state", "failed", "--yes").exit_code == 2
