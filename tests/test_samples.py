"""The samples of the documents, played on a running service; numbers, times and places may differ."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from tests.conftest import POSTGRES_SETTINGS
from tests.metrics.scraping import get
from tests.service.platform import STREAM, Platform, order, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until, within_one_day

CHECKOUT = Path(__file__).parents[1]
OUTAGE = "What happens while the database is down?"
#: What a person has on the PATH, run from this checkout.
COMMANDS = '{name}() {{ "{python}" -m {name} "$@"; }}'
#: The port of the pages' samples.
PORT = "9100"


def samples(page: str, title: str | None = None, without: str | None = None) -> dict[str, str]:
    """command -> what the page shows of it; of one section, or of all but one."""
    found: dict[str, str] = {}
    text = (CHECKOUT / "docs" / page).read_text()
    for heading, section in re.findall(r"^##? (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        if title in (None, heading) and heading != without:
            for block in re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
                for command, output in re.findall(r"^\$ ([^\n]*)\n(.*?)(?=^\$ |\Z)", block, re.MULTILINE | re.DOTALL):
                    found[re.sub(r"\s+# .*", "", command)] = output
    return found


def words(text: str) -> list[str]:
    """A text without what is another one each time: moments, ids, numbers, addresses."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\S+", "TIME", text)
    text = re.sub(r"(redis|postgresql)://\S*?(?=[.,\s]|$)(?:\.[\d.:]+\S*)?", "URL", text)
    text = re.sub(r"\w+@\S+ on \S+", "NODE", text)
    text = re.sub(r"The role \S+ has", "The role R has", text)
    return re.sub(r"\d[\d,.]*(?:-\d+)?", "N", text).split()


def parts(output: str) -> list[list[str]]:
    """The words of a sample between its ellipses."""
    return [words(part) for part in re.split(r"^…$", output, flags=re.MULTILINE) if part.strip()]


def shown_in_turn(expected: list[list[str]], shown: list[str]) -> bool:
    """Whether these parts come one after the other, each of them whole."""
    for part in expected:
        places = (place for place in range(len(shown)) if shown[place : place + len(part)] == part)
        if (place := next(places, None)) is None:
            return False
        shown = shown[place + len(part) :]
    return True


class Stage:
    """A directory and servers, on which the samples of a page are played."""

    def __init__(self, environment: dict[str, str], directory: Path, expected: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment, "PYTHONPATH": str(CHECKOUT)}
        self.directory = directory
        self.expected = expected
        self.played: set[str] = set()

    def show(self, command: str, port: int | None = None) -> str:
        """What it prints into a pipe: without colours, and each cell of a table whole. Questions are told yes."""
        functions = [COMMANDS.format(name=name, python=sys.executable) for name in ("dbstorage", "celery")]
        done = subprocess.run(
            ["bash", "-c", "\n".join([*functions, command.replace(PORT, str(port or PORT))])],
            env=self.environment, cwd=self.directory, text=True, timeout=60,
            input="y\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode in (0, 1, 2, 3), done.stdout
        assert "Traceback" not in done.stdout
        self.played.add(command)
        return done.stdout

    def same(self, command: str, port: int | None = None) -> None:
        """It shows what the page shows, but for what an ellipsis stands for."""
        shown = words(self.show(command, port))
        expected = self.expected[command]
        if "…\n" in expected:
            assert shown_in_turn(parts(expected), shown), " ".join(shown)
        else:
            assert shown == words(expected), command

    def answers(self, port: int, page: str) -> None:
        """The probe says what the page shows, sooner or later."""
        command = f"curl http://localhost:{PORT}/{page}"
        expected = words(self.expected[command])
        wait_until(lambda: words(get(port, f"/{page}")[1]) == expected, f"{command} to print: {self.expected[command]}")
        self.played.add(command)


@pytest.fixture
def port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def fact(label: str, text: str) -> list[str]:
    """The words beside this label."""
    [found] = re.findall(rf"^{re.escape(label)}: +(.*)", text, re.MULTILINE)
    return words(found)


def labels(text: str) -> list[str]:
    """What stands before the colons of a list of facts."""
    return re.findall(r"^([a-z][\w ()]*):", text, re.MULTILINE)


def findings(text: str) -> list[str]:
    """What a check looks at."""
    return re.findall(r"^(?:fine|warning|problem) +([A-Z]\S*(?: \S+)*?)  ", text, re.MULTILINE)


def status_with_orders_of_today(stage: Stage, platform: Platform) -> str:
    platform.query("""UPDATE "Orders" SET "closeTime" = timezone('UTC', now()) RETURNING 1""")
    return stage.show("dbstorage status")


def test_the_samples_of_the_page_operations(platform: Platform, start_worker: StartWorker, port: int, tmp_path: Path):
    """Slow (about 20 s): two workers, and each command is a process of its own."""
    stage = Stage(platform.environment, tmp_path, samples("operations.md", without=OUTAGE))
    start_worker("worker1", METRICS_PORT=str(port), USER_WAIT="0")
    stage.answers(port, "livez")
    stage.answers(port, "readyz")
    # It finds more where servers are not durable, as those of the tests.
    found = findings(stage.show("dbstorage check"))
    assert [name for name in findings(stage.expected["dbstorage check"]) if name not in found] == []

    platform.send(
        user("u-1"),
        order("o-1", "u-1"),
        order("o-1", "u-1", symbol="sol"),
        order("o-2", "u-1", symbol="doge"),
        order("o-3", "u-7"),
        order("o-4", "u-1", symbol="sol", profitLoss=-2),
    )
    platform.wait_until_finished()
    start_worker("worker2", USER_WAIT="0")

    wait_until(lambda: "standing by:    worker2" in stage.show("dbstorage status"), "the standby to be seen")
    status = within_one_day(partial(status_with_orders_of_today, stage, platform))
    assert labels(status) == labels(stage.expected["dbstorage status"])
    for label in ("verdict", "today (UTC)"):
        assert fact(label, status) == fact(label, stage.expected["dbstorage status"])

    stage.same("dbstorage failed list")
    stage.same("dbstorage failed show 2")
    stage.same("dbstorage find o-2")
    stage.same("dbstorage failed retry --code user_not_found --dry-run")
    platform.query("""INSERT INTO "User" ("userID", "email") VALUES ('u-7', 'u-7@example.com') RETURNING 1""")
    stage.same("dbstorage failed retry --code user_not_found --yes")
    stage.same("dbstorage failed discard --code order_conflict --yes")
    stage.same("dbstorage history u-7")
    stage.same('dbstorage pause --reason "a new disk for PostgreSQL"')
    stage.same(f"METRICS_PORT={PORT} celery -A dbstorage worker -n second@%h", port)
    assert stage.played == set(stage.expected)


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A migrated PostgreSQL that the test may stop."""
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False, settings=POSTGRES_SETTINGS)
    server.start()
    upgrade(parse_database_url(server.url))
    yield server
    server.stop("immediate")


def test_the_samples_of_an_outage(
    redis_url: str, own_database: EmbeddedPostgres, start_worker: StartWorker, port: int, tmp_path: Path
):
    """Slow (about 12 s): PostgreSQL is started twice."""
    stage = Stage(
        {"REDIS_URL": redis_url, "DATABASE_URL": own_database.url},
        tmp_path,
        samples("operations.md", title=OUTAGE),
    )
    with closing(Platform(redis_url, own_database.url)) as platform:
        worker: Worker = start_worker(DATABASE_URL=own_database.url, METRICS_PORT=str(port))
        platform.send(user("u"))
        platform.wait_until_finished()
        own_database.stop()
        platform.send(order("o", "u"))
        stage.answers(port, "livez")
        stage.answers(port, "readyz")
        wait_until(partial(_finds_pending, stage), "the entry in hand to be shown")
        stage.same("dbstorage status")
        own_database.start()
        platform.wait_until_finished()
    assert stage.played == set(stage.expected)
    [away, back] = re.findall(
        r"^\d.*(?:is away|is back).*$", (CHECKOUT / "docs/operations.md").read_text(), re.MULTILINE
    )
    wait_until(lambda: shown_in_turn([words(away), words(back)], words(worker.log)), "the log to say both")


def _finds_pending(stage: Stage) -> bool:
    return re.search(r"^pending: +1$", stage.show("dbstorage status"), re.MULTILINE) is not None


def test_the_sample_of_a_wrong_variable(platform: Platform, tmp_path: Path):
    stage = Stage(platform.environment, tmp_path, samples("configuration.md"))
    for command in stage.expected:
        stage.same(command)


def test_the_sample_of_the_page_deployment(platform: Platform, tmp_path: Path):
    stage = Stage(platform.environment, tmp_path, samples("deployment.md"))
    [(command, expected)] = stage.expected.items()
    shown = stage.show(command)
    for line in expected.splitlines():
        assert line.rstrip("…").strip() in shown, line


def test_the_sample_of_an_audit(platform: Platform, start_worker: StartWorker, tmp_path: Path):
    stage = Stage(platform.environment, tmp_path, samples("audit.md"))
    start_worker()
    stage.show(f"dbstorage send {CHECKOUT / 'examples' / 'sample.jsonl'}")
    [missing] = re.findall(r"createCloseOrder:(\S+)", stage.expected["dbstorage audit"])
    assert platform.query("""DELETE FROM "Orders" WHERE "orderId" = %s RETURNING 1""", missing) == [(1,)]
    stage.same("dbstorage audit")


def compact(command: dict[str, Any]) -> dict[bytes, bytes]:
    """As engines write it, without blanks."""
    return {b"message": orjson.dumps(command)}


def test_the_samples_of_the_page_failed_tasks(platform: Platform, start_worker: StartWorker, tmp_path: Path):
    """Slow (about 15 s): each command is a process of its own."""
    stage = Stage(platform.environment, tmp_path, samples("failed-tasks.md"))
    start_worker(USER_WAIT="0")
    platform.send_raw(
        *map(
            compact,
            [
                user("u-1"),
                *(order(f"o-{number}", "u-7") for number in range(1, 4)),
                *(order(f"o-{number}", "u-8") for number in range(4, 6)),
                *(
                    order(f"o-{number}", "u-1", symbol=symbol)
                    for number, symbol in enumerate(["doge", "doge", "xrp"], 6)
                ),
            ],
        )
    )
    platform.wait_until_finished()
    platform.query("""INSERT INTO "User" ("userID", "email") VALUES ('u-8', 'u-8@example.com') RETURNING 1""")
    for command, expected in stage.expected.items():
        if "| jq " in command and shutil.which("jq") is None:
            continue
        if expected:
            stage.same(command)
        else:
            assert "Error" not in stage.show(command)
    assert platform.redis.xlen(STREAM) == 9
