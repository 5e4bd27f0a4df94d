"""A paused service with a real worker."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.request import urlopen

import pytest

from dbstorage.embedded.ports import choose_port
from dbstorage.operating.pause import pause_service, resume_service
from dbstorage.settings import load_settings
from dbstorage.status import read_verdict
from tests.metrics.scraping import scrape
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def dbstorage(environment: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", "from dbstorage.cli import main; main()", *arguments]
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("ordering", ["strict", "parallel"])
def test_nothing_is_stored_and_questions_are_told_until_somebody_resumes(
    platform: Platform, start_worker: StartWorker, environment: dict[str, str], ordering: str
):
    platform.send(user("user-1"), order("before"))
    worker = start_worker(ORDERING=ordering)
    platform.wait_until_finished()
    dbstorage(environment, "pause", "--reason", "a new disk")
    wait_until(lambda: "Paused by an operator: a new disk" in worker.log, "the worker to see it")

    platform.send(order("meanwhile"), question("user-1", "r-paused"))
    assert platform.answer_to("r-paused")["error"] == "paused"
    assert platform.orders().keys() == {"before"}

    # It survives a restart: the new worker begins nothing.
    worker.stop()
    worker.start()
    platform.send(order("after a restart"), question("user-1", "r-again"))
    assert platform.answer_to("r-again")["error"] == "paused"
    assert platform.orders().keys() == {"before"}
    assert platform.failed("code") == []

    dbstorage(environment, "resume")
    platform.wait_until_finished()
    assert platform.orders().keys() == {"before", "meanwhile", "after a restart"}
    wait_until(lambda: "The operator's pause is over" in worker.log, "the worker to say so")


def test_a_paused_service_waits_for_no_lock_and_goes_on_behind_a_table_that_is_rebuilt(
    platform: Platform, start_worker: StartWorker, environment: dict[str, str]
):
    """As docs/delivery.md says for work on a table that takes minutes."""
    worker = start_worker(QUERY_TTL="60")
    platform.send(user("user-1"))
    platform.wait_until_finished()
    dbstorage(environment, "pause", "--reason", "ALTER TABLE")
    wait_until(lambda: "Paused by an operator: ALTER TABLE" in worker.log, "the worker to see it")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND application_name = 'dbstorage'"
    )
    with platform.locked_by("""ALTER TABLE "Orders" ALTER COLUMN quantity TYPE numeric""") as rebuilding:
        platform.send(order("meanwhile"))
        for number in range(20):
            platform.send(question("user-1", f"q-{number}"))
            assert platform.answer_to(f"q-{number}")["error"] == "paused"
            assert platform.query(waiting) == [(0,)]
        rebuilding.commit()
    assert platform.orders() == {}
    dbstorage(environment, "resume")
    platform.wait_until_finished()
    assert platform.orders().keys() == {"meanwhile"}
    assert platform.failed("code") == []
    assert "locked" not in worker.log


def test_a_pause_is_told_by_probe_status_and_metrics_and_ends_nobody(
    platform: Platform, start_worker: StartWorker, environment: dict[str, str]
):
    port = choose_port()
    start_worker(METRICS_PORT=str(port))
    standby = start_worker("standby")
    wait_until(lambda: "Standing by" in standby.log, "the standby")

    def status() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(dbstorage(environment, "status", "--json"))["verdict"]
        return found

    wait_until(lambda: status()["sentence"] == "fine, 1 worker stands by", "the verdict")
    dbstorage(environment, "pause", "--reason", "a new disk")

    wait_until(lambda: scrape(port).get('dbstorage_verdict{standing="paused"}') == 1, "the metric")
    assert urlopen(f"http://127.0.0.1:{port}/livez").status == 200
    found = status()
    assert (found["standing"], found["exit_code"]) == ("paused", 1)
    assert "a new disk" in found["sentence"]


def test_the_verdict_follows_what_was_asked_for_at_once_and_names_who_has_not_followed(
    platform: Platform, start_worker: StartWorker, environment: dict[str, str]
):
    start_worker()
    settings = load_settings(environment)

    def said_until_it_is(sentence: str) -> set[str]:
        said: set[str] = set()

        def look() -> bool:
            said.add(verdict := read_verdict(settings).sentence)
            return verdict == sentence

        wait_until(look, f"the verdict {sentence!r}, after {said}")
        return said

    said_until_it_is("fine")
    since = pause_service(platform.redis, settings, "a new disk", "joe").since
    paused = f"paused since {datetime.fromtimestamp(since, UTC):%H:%M}Z by joe: a new disk"
    assert said_until_it_is(paused) <= {paused, f"{paused}; worker@test has not followed yet"}
    resume_service(platform.redis, settings)
    not_yet = "nothing can be stored: the pause is over, and worker@test has not followed yet"
    assert said_until_it_is("fine") <= {"fine", not_yet}
