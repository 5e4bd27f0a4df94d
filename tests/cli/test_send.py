import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dbstorage.cli import main
from dbstorage.embedded.redis import EmbeddedRedis
from tests.cli.terminal import on_terminal
from tests.service.platform import STREAM, Platform, order, question, user
from tests.waiting import wait_until

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.jsonl"


@pytest.fixture(autouse=True)
def servers(service: Platform, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands find the servers of the running service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("DATABASE_URL", service.database_url)


def send(*arguments: object, content: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, ["send", *map(str, arguments)], input=content)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write(*commands: dict[str, Any]) -> str:
    Path("commands.jsonl").write_text("".join(f"{json.dumps(command)}\n" for command in commands))
    return "commands.jsonl"


def last_entries(service: Platform, count: int) -> list[dict[bytes, bytes]]:
    entries: Any = service.redis.xrevrange(STREAM, count=count)
    return [fields for _, fields in reversed(entries)]


def test_the_sample_is_stored_and_answered_and_sent_again_changes_no_row(service: Platform):
    rows = 'SELECT * FROM "Orders" JOIN "User" ON "userID" = "userId" ORDER BY "orderId"'
    [(orders_before, users_before)] = service.query('SELECT (SELECT count(*) FROM "Orders"), count(*) FROM "User"')
    first = send(SAMPLE)
    assert first.exit_code == 0, first.output
    sending, waiting, answers, failures = first.stdout.splitlines()
    assert sending.startswith(f"Sent 2,167 entries to {STREAM} in ")
    assert waiting.startswith("All of them were acknowledged ")
    assert answers == "Answered: 83 of 83 questions."
    assert failures == "Failed: none."
    stored = service.query(rows)
    assert len(stored) - orders_before == 2000
    assert len(service.users()) - users_before == 60

    again = json.loads(send(SAMPLE, "--json").stdout)
    assert (again["acknowledged"], again["answered"], again["failed"]) == (2167, 83, {})
    assert service.query(rows) == stored


def test_the_flat_layout_is_stored_and_answered_too(service: Platform):
    file = write(user("flat-sender"), order("flat-sent", "flat-sender"), question("flat-sender", "flat-question"))
    report = json.loads(send(file, "--layout", "flat", "--json").stdout)
    assert (report["sent"], report["acknowledged"], report["questions"], report["answered"]) == (3, 3, 1, 1)
    assert service.orders()["flat-sent"] == "flat-sender"
    [fields] = last_entries(service, 1)
    assert fields[b"function"] == b"getCloseOrders"


def test_questions_without_a_request_id_are_followed_as_well():
    file = write(question("nobody"), question("nobody"))
    report = json.loads(send(file, "--json").stdout)
    assert (report["questions"], report["answered"]) == (2, 2)


def test_what_fails_and_what_waits_is_told_by_code():
    wrong = [order(f"wrong-{number}", "sender", symbol="doge") for number in range(3)]
    file = write(user("sender"), *wrong, order("early", "nobody-yet"), {"function": "dropTables"})
    result = send(file)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:] == [
        "Failed: 3 invalid_symbol, 1 unknown_function (see dbstorage failed list).",
        "Waiting for another attempt: 1 user_not_found.",
    ]


def test_standard_input_is_read_too(service: Platform):
    result = send("-", content=json.dumps(user("from-standard-input")).encode())
    assert result.exit_code == 0, result.output
    assert "from-standard-input" in service.users()


def test_a_file_with_a_wrong_line_is_refused_whole(service: Platform):
    length = service.redis.xlen(STREAM)
    Path("wrong").write_text('{"function":"createUser"}\n\n[1]\n{x\n' + "y\n" * 10)
    result = send("wrong")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "wrong was not sent; expected one JSON object a line (--raw sends lines as they stand).",
        "Line 2 is empty.",
        "Line 3 is JSON but not an object.",
        "Line 4 is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)).",
        "Line 5 is not JSON (Expecting value: line 1 column 1 (char 0)).",
        "Line 6 is not JSON (Expecting value: line 1 column 1 (char 0)).",
        "8 more lines are wrong.",
    ]
    assert service.redis.xlen(STREAM) == length


def test_raw_lines_are_sent_as_they_stand(service: Platform):
    Path("raw").write_bytes(b'\xff{\n\n[1]\n{"function":"dropTables"}\n')
    result = send("raw", "--raw")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Failed: 3 invalid_entry, 1 unknown_function (see dbstorage failed list)."
    assert last_entries(service, 4) == [{b"message": line} for line in Path("raw").read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing-there"], "nothing-there cannot be read: No such file or directory."),
        (["."], ". cannot be read: Is a directory."),
        (["empty"], "empty holds no line, so there is nothing to send."),
        (["empty", "--raw"], "empty holds no line, so there is nothing to send."),
        (["empty", "--raw", "--layout=flat"], "--raw sends lines as they stand, so it goes with the layout envelope"),
        (["empty", "--rate=0"], "0.0 is not in the range x>0"),
    ],
)
def test_what_cannot_be_sent_is_told_in_a_sentence(arguments: list[str], sentence: str):
    Path("empty").touch()
    result = send(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_without_waiting_only_the_sending_is_told():
    result = send(write(user("not-waited-for")), "--no-wait", "--rate", "1000")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert json.loads(send(write(user("not-waited-for")), "--no-wait", "--json").stdout).keys() == {"sent", "seconds"}


def test_a_group_that_does_nothing_ends_the_waiting_with_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONSUMER_GROUP", "nobody")
    result = send(write(user("waits"), question("waits", "unanswered")), "--timeout", "0.3")
    assert result.exit_code == 1
    _, acknowledged, advice, *_ = result.stdout.splitlines()
    assert acknowledged.startswith("Only 0 of them were acknowledged by the group nobody within ")
    assert advice.startswith("is a worker running (celery -A dbstorage worker)")


def test_a_question_that_is_not_answered_is_counted(monkeypatch: pytest.MonkeyPatch):
    # Answers go to a stream where nobody looks for them.
    monkeypatch.setenv("RESPONSE_STREAM", "elsewhere")
    result = send(write(question("nobody", "unseen")))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:4] == [
        "Answered: 0 of 1 questions.",
        "A question older than 5 s (QUERY_TTL) is not answered any more.",
    ]


def test_without_a_database_the_failures_are_unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:secret@127.0.0.1:1/db")
    result = send(write(user("no-database")))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith(
        "Whether any failed is unknown. PostgreSQL did not tell what failed"
    )
    assert json.loads(send(write(user("no-database")), "--json").stdout)["failed"] is None


def test_without_redis_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1:1")
    result = send(write(user("no-redis")))
    assert result.exit_code == 3
    assert result.stderr.startswith("Redis cannot be used: Error 111 connecting to 127.0.0.1:1")
    assert "secret" not in result.output


def test_on_a_terminal_a_bar_shows_how_far_it_is():
    exit_code, shown = on_terminal("send", str(SAMPLE), "--rate", "20000", columns=120)
    assert exit_code == 0, shown
    assert "Sending" in shown
    assert "2167/2167" in shown
    assert "Answered: 83 of 83 questions." in shown


#: So slowly that it takes longer than any test.
SLOWLY = ("--rate", "5")
STOPPED = r"Stopped: (\d+) of 200 entries are in the stream, and perhaps some of the next ones; .+ does no harm\."
WAITED = r"The waiting ends here: all 200 entries are in the stream, and workers go on with them\."


@pytest.mark.parametrize("options", [SLOWLY, ()], ids=["while it sends", "while it waits"])
def test_ctrl_c_says_what_is_in_the_stream_already(service: Platform, options: tuple[str, ...]):
    # A stream that nobody reads, so that the waiting does not end by itself.
    stream = f"unread-{len(options)}"
    file = write(*(user(f"stopped-{number}") for number in range(200)))
    command = [sys.executable, "-c", "from dbstorage.cli import main; main()", "send", file, *options]
    environment = {**os.environ, "DBSTORAGE_STREAM": stream, "PYTHONPATH": str(SAMPLE.parents[1])}

    def written() -> int:
        length: Any = service.redis.xlen(stream)
        return int(length)

    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: written() >= (3 if options else 200), "entries in the stream")
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed) == (130, "")
    told = re.fullmatch(STOPPED, said.rstrip())
    if options:
        assert told, said
        assert 2 <= int(told[1]) <= written() < 200
    else:
        # The signal may come between the last write and its reply.
        assert re.fullmatch(WAITED, said.rstrip()) or told, said
        assert written() == 200
    service.redis.delete(stream)
