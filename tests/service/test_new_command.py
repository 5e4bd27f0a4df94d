"""CONTRIBUTING's example command, `renameUser`, from the stream to the metrics: one object, and what writes it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from dbstorage.audit import audit
from dbstorage.commands.registry import BY_COMMAND, KINDS
from dbstorage.database.engine import create_engine
from dbstorage.embedded.ports import choose_port
from dbstorage.failed_tasks.changes import Change, apply
from dbstorage.failed_tasks.filters import Filter
from dbstorage.settings import load_settings
from tests.service.platform import Platform, user
from tests.service.renaming import RENAME_USER
from tests.service.worker import Worker
from tests.waiting import wait_until

APPLICATION = "tests.service.renaming_app"


def counted(metrics: str, name: str, outcome: str) -> str | None:
    """The value of a counter of this command."""
    pattern = rf'^{name}{{[^}}]*function="renameUser",[^}}]*outcome="{outcome}"[^}}]*}} (\S+)$'
    found = re.search(pattern, metrics, re.MULTILINE)
    return found[1] if found else None


class RenamingWorker(Worker):
    """A worker of a version that knows the command."""

    application = APPLICATION


def rename(user_id: str, email: str) -> dict[str, str]:
    return {"function": "renameUser", "userId": user_id, "userEmail": email}


def test_it_works_from_the_stream_to_the_metrics(
    platform: Platform, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = choose_port()
    with RenamingWorker({**environment, "METRICS_PORT": str(port)}, tmp_path) as worker:
        worker.start()
        flat = {b"function": b"renameUser", b"userId": b"bob", b"userEmail": b"bob@y", b"broken": b"\xff"}
        platform.send(user("ann"), user("bob"), rename("ann", "ann@y"))
        platform.send_raw(flat)
        *_, unknown, refused = platform.send(rename("cleo", "cleo@y"), {"function": "renameUser", "userId": "ann"})
        platform.wait_until_finished()
        assert platform.users() == {"ann": "ann@y", "bob": "bob@y"}
        assert platform.failed_codes() == {
            unknown: ("failed", "user_unknown"),
            refused: ("failed", "invalid_user_email"),
        }
        assert {function for (function,) in platform.failed("function")} == {"renameUser"}

        # A call through the broker, and a retry.
        subprocess.run(
            [sys.executable, "-m", "celery", "-A", APPLICATION, "call", "renameUser",
             "--kwargs", json.dumps({"userId": "bob", "userEmail": "bob@z"})],
            env={**os.environ, **environment}, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        wait_until(lambda: platform.users()["bob"] == "bob@z", "the call")
        limited = subprocess.run(
            [sys.executable, "-m", "celery", "-A", APPLICATION, "control", "rate_limit", "renameUser", "1/m"],
            env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert "renameUser has no rate limit" in limited.stdout
        platform.send(user("cleo"))
        platform.wait_until_finished()
        settings = load_settings(environment)
        engine = create_engine(settings.database)
        with engine.connect() as connection:
            assert apply(connection, settings.scope, Filter(code="user_unknown"), Change.RETRY, who="me") == 1
        engine.dispose()
        wait_until(lambda: platform.users()["cleo"] == "cleo@y", "the retry")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            metrics = reply.read().decode()
        assert counted(metrics, "dbstorage_entries_total", "updated") == "2.0"
        assert counted(metrics, "dbstorage_entries_total", "failed") == "2.0"
        assert counted(metrics, "dbstorage_calls_total", "updated") == "1.0"
        assert counted(metrics, "dbstorage_retries_total", "updated") == "1.0"

    # A version that does not know it finds what is acknowledged or failed, and misses nothing.
    report = audit(settings)
    assert sum(report.counts["invalidEntry"].values()) == 4
    assert "missing" not in report.counts["invalidEntry"]
    # One that knows it looks whether it took effect: the call has changed what bob's entry said.
    monkeypatch.setitem(KINDS, RENAME_USER.name, RENAME_USER)
    monkeypatch.setitem(BY_COMMAND, RENAME_USER.command, RENAME_USER)
    report = audit(settings)
    assert report.counts["renameUser"] == {"stored": 2, "missing": 1, "failed": 1}
    [other] = [one for one in report.missing if one.function == "renameUser"]
    assert other.reason == "Its user has another address, and no failure is recorded."
