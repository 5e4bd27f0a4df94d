import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dbstorage.embedded.ports import choose_port
from dbstorage.logs import Flood, JsonFormatter, TextFormatter
from dbstorage.settings import load_settings
from tests.metrics.scraping import get
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

SECRET = "S3cret-w0rd"
#: Forges a line, clears the screen, turns the direction round.
HOSTILE = "o-1\n2026 ERROR forged\r\x1b[2J\u2028\x85\u202e\x7f"


def record(message: str, *arguments: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("dbstorage.test", logging.WARNING, __file__, 1, message, arguments, None)
    made.created = 1777941314.283
    made.__dict__.update(extra)
    return made


def failure() -> Any:
    try:
        raise ValueError('Key (email)=(jo.doe+x@example.com) already exists, "a@b.c"')
    except ValueError:
        return sys.exc_info()


def test_a_text_line_has_moment_level_logger_and_sentence() -> None:
    assert (
        TextFormatter().format(record("%d entries.", 3))
        == "2026-05-05T00:35:14.283Z WARNING dbstorage.test: 3 entries."
    )


def test_a_text_line_names_the_ids_that_its_sentence_does_not() -> None:
    line = TextFormatter().format(record("o-1 failed: no.", task_id="o-1", entry_id="5-0", code=None))
    assert line.endswith(": o-1 failed: no. (entry_id=5-0)")


def test_a_json_line_holds_the_same_as_fields() -> None:
    line = JsonFormatter().format(record("o-1 failed.", task_id="o-1", entry_id="5-0", code="invalid_symbol"))
    assert json.loads(line) == {
        "time": "2026-05-05T00:35:14.283Z",
        "level": "WARNING",
        "logger": "dbstorage.test",
        "message": "o-1 failed.",
        "task_id": "o-1",
        "entry_id": "5-0",
        "code": "invalid_symbol",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_a_client_wrote_cannot_begin_a_new_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%s failed.", HOSTILE, task_id=HOSTILE + "2"))
    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_a_traceback_has_no_invisible_character_but_its_line_ends() -> None:
    lines = TextFormatter().format(record("A bug.", traceback=f"Traceback:\n  File\nValueError: {HOSTILE}")).split("\n")
    assert all(map(str.isprintable, lines))
    assert lines[1:3] == ["Traceback:", "  File"]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_comes_without_email_addresses(formatter: logging.Formatter) -> None:
    event = record("It failed.")
    event.exc_info = failure()
    line = formatter.format(event)
    assert "ValueError: Key (email)=(***@***) already exists" in line.replace("\\", "")
    assert "example.com" not in line
    assert "a@b.c" not in line


def test_a_traceback_from_another_process_stands_below_the_line() -> None:
    text = 'Traceback (most recent call last):\n  File "x"\nValueError: a@b.c\n'
    assert TextFormatter().format(record("A bug.", traceback=text)).splitlines()[1:] == [
        "Traceback (most recent call last):",
        '  File "x"',
        "ValueError: ***@***",
    ]
    assert json.loads(JsonFormatter().format(record("A bug.", traceback=text)))["traceback"].startswith("Traceback")


PROGRAM = """
import logging, sys, threading, warnings
from dbstorage.embedded.ports import choose_port
from dbstorage.logs import set_up_logging
from dbstorage.settings import load_settings
set_up_logging(load_settings())
logging.getLogger("another.package").debug("hidden")
logging.getLogger("another.package").info("told")
logging.captureWarnings(True)
warnings.warn("two\\nlines", RuntimeWarning)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("the end")
"""


def lines_of(program: str, **settings: str) -> list[str]:
    environment = {"REDIS_URL": "redis://localhost", "DATABASE_URL": "postgresql://localhost/db", **settings}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    return done.stderr.splitlines()


def test_warnings_and_unexpected_errors_become_lines_too() -> None:
    lines = [json.loads(line) for line in lines_of(PROGRAM, LOG_FORMAT="json")]
    assert [line["message"].partition(" (")[0] for line in lines] == [
        "told",
        "RuntimeWarning: two lines",
        "Unexpected ZeroDivisionError.",
        "Unexpected ValueError.",
    ]
    assert "the end" in lines[-1]["traceback"]


def test_nothing_below_the_level_is_logged() -> None:
    lines = lines_of(PROGRAM, LOG_FORMAT="json", LOG_LEVEL="error")
    assert [json.loads(line)["level"] for line in lines] == ["CRITICAL", "CRITICAL"]


def test_settings_show_no_password_when_they_are_printed() -> None:
    settings = load_settings(
        {
            "REDIS_URL": f"redis://:{SECRET}@localhost",
            "DATABASE_URL": f"postgresql://me:{SECRET}@localhost/db",
            "CELERY_BROKER_URL": f"amqp://me:{SECRET}@localhost",
        }
    )
    assert SECRET not in f"{settings} {settings!r}"


def names_somebody(log: str) -> bool:
    """Whether an e-mail address of `send_everything` can be recognized."""
    return "secret.person" in log or "not.an.address" in log or "a@b.c" in log


def send_everything(platform: Platform) -> None:
    """Every kind of outcome: stored, duplicate, conflicts, rejected, retried, answered, undecodable."""
    platform.send(*(user(f"person-{number}", f"secret.person{number}@example.com") for number in range(20)))
    platform.send(*(order(f"order-{number}", f"person-{number % 20}") for number in range(200)))
    platform.send(order("order-1", "person-1"), order("order-1", "person-1", quantity=9))
    platform.send(order("order-x", "nobody"), order("order-y", "person-1", symbol="doge"))
    platform.send(user("person-1", "secret.person2@example.com"), user("person-1", "not.an.address@example.com\x00"))
    platform.send({"function": "secret.person3@example.com", "message": {}}, question("person-1", "asked"))
    platform.send_raw(
        {"message": "secret.person4@example.com is not JSON"}, {"function": "createUser", "message": "a@b.c"}
    )
    platform.wait_until_finished()
    wait_until(lambda: platform.failed_with_order("order-x")[0][2] == "failed", "the retries to be over")


def test_a_worker_logs_failures_with_their_ids_and_nobodys_address(
    start_worker: StartWorker, platform: Platform
) -> None:
    worker = start_worker(USER_WAIT="1", QUERY_TTL="600", LOG_LEVEL="info")
    send_everything(platform)
    wait_until(lambda: "order-x failed" in worker.log, "the last retry to be logged")
    assert worker.stop() == 0
    assert not names_somebody(worker.log)
    assert platform.database_url.split(":")[2].split("@")[0] not in worker.log
    failed = [line for line in worker.log.splitlines() if " WARNING dbstorage." in line]
    for code in ("order_conflict", "invalid_symbol", "user_conflict", "unknown_function", "invalid_entry"):
        assert [line for line in failed if code in line and re.search(r"entry_id=\d+-\d+|:\d+-\d+", line)], code
    stored = [line for line in worker.log.splitlines() if re.search(r"order-1\d\d", line)]
    assert stored == []


def test_every_line_on_standard_error_is_json_from_start_to_end(
    environment: dict[str, str], platform: Platform, tmp_path: Path
) -> None:
    options = {"LOG_FORMAT": "json", "USER_WAIT": "0", "PYTHONWARNINGS": "always"}
    stderr = tmp_path / "stderr"
    with stderr.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "dbstorage", "worker", "-l", "debug"],
            env={**environment, **options},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        send_everything(platform)
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=30)
    lines = [json.loads(line) for line in stderr.read_text().splitlines()]
    assert {"INFO", "WARNING", "DEBUG"} <= {line["level"] for line in lines}
    assert not names_somebody(stderr.read_text())
    # Celery's banner would stand between the lines where both outputs are collected.
    assert [line for line in output.splitlines() if line.strip()] == ["worker: Warm shutdown (MainProcess)"]


@pytest.mark.parametrize(("option", "variable", "told"), [("critical", "debug", False), ("debug", "critical", True)])
def test_the_workers_own_option_is_stronger_than_the_variable(
    start_worker: StartWorker, option: str, variable: str, told: bool
) -> None:
    port = choose_port()
    worker = start_worker("worker", "-l", option, ready=False, LOG_LEVEL=variable, METRICS_PORT=str(port))
    wait_until(lambda: get(port, "/readyz") == (200, "ready (active)\n"), "the worker to read")
    assert bool(re.search(" (DEBUG|INFO|WARNING) ", worker.log)) is told


def test_passwords_stay_out_of_the_log_when_servers_are_away(start_worker: StartWorker) -> None:
    worker = start_worker(
        "worker", "-l", "debug", ready=False,
        REDIS_URL=f"redis://me:{SECRET}@127.0.0.1:1/0", DATABASE_URL=f"postgresql://me:{SECRET}@127.0.0.1:1/db",
    )  # fmt: skip
    wait_until(lambda: "127.0.0.1:1" in worker.log, "the worker to look for its broker")
    worker.stop()
    assert SECRET not in worker.log


def test_a_flood_of_one_code_is_summed_up(capsys: pytest.CaptureFixture[str]):
    written: list[logging.LogRecord] = []
    flood = Flood()
    logger = logging.getLogger("dbstorage.failures")
    handler = logging.Handler()
    handler.emit = written.append  # type: ignore[method-assign, assignment]
    logger.addHandler(handler)
    try:

        def failure(code: str) -> logging.LogRecord:
            record = logging.LogRecord("dbstorage.reader", logging.WARNING, __file__, 1, "failed", None, None)
            record.code = code
            return record

        passed = [flood.filter(failure("invalid_symbol")) for _ in range(30)]
        assert passed == [True] * 10 + [False] * 20
        assert flood.filter(failure("order_conflict"))
        # What is no failure is never left out.
        other = logging.LogRecord("dbstorage", logging.WARNING, __file__, 1, "Paused", None, None)
        assert all(flood.filter(other) for _ in range(30))
        wait_until(lambda: written, "the summary")
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in written] == ["20 more invalid_symbol."]
