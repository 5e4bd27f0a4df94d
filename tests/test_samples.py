"""The samples of docs/operations.md, played on a running service; numbers, times and places may differ."""

import os
import re
import shlex
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.metrics.scraping import get
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until, within_one_day

CHECKOUT = Path(__file__).parents[1]
PAGE = (CHECKOUT / "docs" / "operations.md").read_text()
#: Of a database that is down, and of a port that somebody has: tests/chaos and tests/metrics bring those about.
NOT_PLAYED = {"What happens while the database is down?", "How do I stop, restart or update it?"}


def samples() -> dict[str, str]:
    """command -> what the page shows of it, but for the sections whose commands are not played."""
    found: dict[str, str] = {}
    for title, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        if title not in NOT_PLAYED:
            for block in re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
                for command, output in re.findall(r"^\$ ([^\n]*)\n(.*?)(?=^\$ |\Z)", block, re.MULTILINE | re.DOTALL):
                    found[command] = output
    return found


SAMPLES = samples()


def words(text: str) -> list[str]:
    """A text without what is another one each time: moments, ids, numbers, addresses."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\S+", "TIME", text)
    text = re.sub(r"(redis|postgresql)://\S*?(?=[.,\s]|$)(?:\.[\d.:]+\S*)?", "URL", text)
    text = re.sub(r"The role \S+ has", "The role R has", text)
    return re.sub(r"\d[\d,.]*(?:-\d+)?", "N", text).split()


class Stage:
    """A service with a standby, on which the samples are played."""

    def __init__(self, platform: Platform, directory: Path) -> None:
        self.platform = platform
        self.directory = directory
        self.played: set[str] = set()

    def show(self, command: str) -> str:
        """What it prints, into a pipe: without colours and bars, and each cell of a table whole."""
        done = subprocess.run(
            [sys.executable, "-m", "dbstorage", *shlex.split(command)[1:]],
            env={**os.environ, **self.platform.environment, "PYTHONPATH": str(CHECKOUT)},
            cwd=self.directory, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        self.played.add(command)
        return done.stdout

    def same(self, command: str) -> None:
        """It shows what the page shows, up to an ellipsis."""
        expected = SAMPLES[command]
        shown = words(self.show(command))
        if expected.rstrip().endswith("…"):
            expected = expected.rstrip()[:-1]
            shown = shown[: len(words(expected))]
        assert shown == words(expected), command


@pytest.fixture
def stage(platform: Platform, tmp_path: Path) -> Stage:
    return Stage(platform, tmp_path)


def shows(port: int, page: str, text: str) -> bool:
    return get(port, f"/{page}")[1] == text


def free_port() -> int:
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


def status_with_orders_of_today(stage: Stage) -> str:
    stage.platform.query("""UPDATE "Orders" SET "closeTime" = timezone('UTC', now()) RETURNING 1""")
    return stage.show("dbstorage status")


def test_the_samples_of_the_page(stage: Stage, start_worker: StartWorker):
    """Slow (about 20 s): two workers, and each command is a process of its own."""
    port = free_port()
    start_worker("worker1", METRICS_PORT=str(port), USER_WAIT="0")
    for page in ("livez", "readyz"):
        command = f"curl http://localhost:9100/{page}"
        wait_until(partial(shows, port, page, SAMPLES[command]), command)
        stage.played.add(command)
    # It finds more where servers are not durable, as those of the tests.
    found = findings(stage.show("dbstorage check"))
    assert [name for name in findings(SAMPLES["dbstorage check"]) if name not in found] == []

    stage.platform.send(
        user("u-1"),
        order("o-1", "u-1"),
        order("o-1", "u-1", symbol="sol"),
        order("o-2", "u-1", symbol="doge"),
        order("o-3", "u-7"),
        order("o-4", "u-1", symbol="sol", profitLoss=-2),
    )
    stage.platform.wait_until_finished()
    start_worker("worker2", USER_WAIT="0")

    wait_until(lambda: "standing by:    worker2" in stage.show("dbstorage status"), "the standby to be seen")
    status = within_one_day(partial(status_with_orders_of_today, stage))
    assert labels(status) == labels(SAMPLES["dbstorage status"])
    for label in ("verdict", "today (UTC)"):
        assert fact(label, status) == fact(label, SAMPLES["dbstorage status"])
    assert words(status)[:5] == words(SAMPLES["dbstorage status"])[:5]

    stage.same("dbstorage failed list")
    stage.same("dbstorage failed show 2")
    stage.same("dbstorage find o-2")
    for line in SAMPLES["dbstorage grants"].splitlines():
        assert line.rstrip("…").strip() in stage.show("dbstorage grants"), line

    stage.same("dbstorage failed retry --code user_not_found --dry-run")
    stage.platform.query("""INSERT INTO "User" ("userID", "email") VALUES ('u-7', 'u-7@example.com') RETURNING 1""")
    stage.same("dbstorage failed retry --code user_not_found --yes")
    stage.same("dbstorage failed discard --code order_conflict --yes")
    stage.same("dbstorage history u-7")
    stage.same('dbstorage pause --reason "a new disk for PostgreSQL"')
    assert stage.played == set(SAMPLES)
