"""Entries that somebody trims before they were read are lost; log, status, audit and metrics say how many."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from dbstorage.cli import main
from tests.service.platform import STREAM, Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def run(platform: Platform, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(main, list(arguments))


def test_the_log_status_and_audit_say_how_many_are_gone(
    platform: Platform, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start_worker()
    platform.send(user("u"), order("first", "u"))
    platform.wait_until_finished()
    assert worker.stop() == 0
    platform.send(*(order(f"o{number}", "u") for number in range(500)))
    platform.redis.xtrim(STREAM, maxlen=50, approximate=False)

    # While nobody works: the gap shows by itself.
    assert json.loads(run(platform, monkeypatch, "status", "--json").stdout)["redis"]["trimmed_unread"] == 450

    worker = start_worker()
    platform.wait_until_finished()
    assert len(platform.orders()) == 51
    wait_until(lambda: "450 entries were trimmed from the stream before the service read them" in worker.log, "the log")
    assert json.loads(run(platform, monkeypatch, "status", "--json").stdout)["redis"]["trimmed_unread"] == 450
    assert "450 entries were trimmed" in run(platform, monkeypatch, "status").output
    verdict = json.loads(run(platform, monkeypatch, "status", "--json").stdout)["verdict"]
    assert (verdict["standing"], verdict["exit_code"]) == ("lost", 1)
    assert verdict["sentence"].startswith("450 entries were trimmed from the stream before anybody read them")
    # Who knows it and says so sees the next gap all the better; figures and audit go on telling.
    assert run(platform, monkeypatch, "status", "--acknowledge").exit_code == 0
    assert [what for (what,) in platform.query("SELECT what FROM dbstorage.operations")] == ["acknowledge"]
    found = json.loads(run(platform, monkeypatch, "status", "--json").stdout)
    assert (found["verdict"]["standing"], found["redis"]["trimmed_unread"]) == ("fine", 450)
    audited = run(platform, monkeypatch, "audit", "--json")
    assert (audited.exit_code, json.loads(audited.stdout)["trimmed_unread"]) == (1, 450)

    # A second gap is another one, and what was read is trimmed without a word.
    assert worker.stop() == 0
    platform.send(*(order(f"p{number}", "u") for number in range(100)))
    platform.redis.xtrim(STREAM, maxlen=30, approximate=False)
    start_worker()
    platform.wait_until_finished()
    platform.redis.xtrim(STREAM, maxlen=0, approximate=False)
    platform.send(order("last", "u"))
    platform.wait_until_finished()
    assert json.loads(run(platform, monkeypatch, "status", "--json").stdout)["redis"]["trimmed_unread"] == 520
    assert "70 entries were trimmed" in run(platform, monkeypatch, "status").output.splitlines()[0]
