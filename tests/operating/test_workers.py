from dataclasses import replace
from typing import Any

import pytest
import redis

from dbstorage.operating.workers import WorkerReport, describe, read_reports, read_workers, write_report
from dbstorage.redis_access.holder import KeyHolder, Place
from dbstorage.redis_access.keys import lease_key, worker_key, workers_key
from dbstorage.settings import load_settings

NOW = 1_778_018_926.0
REPORT = WorkerReport(node="a@x", host="x", process_id=7, version="1", state="active", at=NOW - 1)
HELD = replace(REPORT, state="waiting", holding="the database is away", holding_since=NOW - 60)


@pytest.mark.parametrize(
    ("report", "alive", "leads", "strict", "state"),
    [
        (REPORT, True, True, True, "reads"),
        (REPORT, True, False, False, "reads"),
        (replace(REPORT, state="standby"), True, False, True, "stands by"),
        (HELD, True, True, True, "waits"),
        (replace(REPORT, state="aside"), True, False, True, "told to stand by"),
        (replace(REPORT, state="aside"), True, True, True, "told to stand by"),
        (replace(REPORT, state="aside"), True, False, False, "told to stand by"),
        (replace(HELD, state="aside"), True, False, True, "told to stand by"),
        (replace(REPORT, state="aside"), False, False, True, "gone"),
        # The broker is away: it is not in Redis, and says so itself.
        (HELD, False, False, True, "waits"),
        (replace(HELD, at=NOW - 60), False, False, True, "gone"),
        (replace(HELD, rests=True), True, True, True, "rests"),
        (replace(HELD, rests=True), True, False, False, "rests"),
        (replace(HELD, rests=True, state="standby"), True, False, True, "stands by"),
        # It was in Redis, so it is not cut off from the broker: it was killed.
        (replace(HELD, rests=True), False, False, True, "gone"),
        (REPORT, False, False, True, "gone"),
        # A full Redis takes no reports; its keys still tell.
        (replace(REPORT, at=NOW - 60), True, True, True, "reads"),
        (None, True, True, True, "reads"),
        (None, True, False, True, "stands by"),
        (None, True, False, False, "reads"),
        (None, False, False, True, "gone"),
    ],
)
def test_a_worker_is_described_by_its_report_its_sign_of_life_and_the_lease(
    report: WorkerReport | None, alive: bool, leads: bool, strict: bool, state: str
):
    assert describe("a@x", report, alive=alive, leads=leads, strict=strict, now=NOW).state == state


def test_why_a_worker_waits_is_told_only_while_it_does():
    assert describe("a@x", HELD, alive=True, leads=True, strict=True, now=NOW).holding == "the database is away"
    assert describe("a@x", HELD, alive=False, leads=False, strict=True, now=NOW + 60).holding is None


def test_standbys_are_found_though_they_have_no_consumer(redis_url: str):
    settings = load_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://localhost/db"})
    client: Any
    with redis.Redis.from_url(redis_url) as client:
        now = client.time()[0]
        for name in ("a@x", "b@x"):
            holder = KeyHolder(name, Place("x", "boot", "pid:[1]"), 7, name)
            client.set(worker_key(settings, name), holder.token)
            state = "active" if name == "a@x" else "standby"
            write_report(client, settings, replace(REPORT, node=name, state=state, at=now), forget_before=None)
        client.set(lease_key(settings), KeyHolder("a@x", Place("x", "boot", "pid:[1]"), 7, "a@x").token)
        client.hset(workers_key(settings), "c@x", b"\xff what somebody else wrote")
        found = {worker.name: worker.state for worker in read_workers(client, settings, ["gone@x"])}
        assert found == {"a@x": "reads", "b@x": "stands by", "gone@x": "gone"}
        assert 0 < client.ttl(workers_key(settings)) <= 3600
        write_report(client, settings, replace(REPORT, at=now), forget_before=now)
        assert [report.node for report in read_reports(client, settings)] == ["a@x", "b@x"]
        write_report(client, settings, replace(REPORT, at=now + 2), forget_before=now + 1)
        assert [report.node for report in read_reports(client, settings)] == ["a@x"]
