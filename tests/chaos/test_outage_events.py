"""An outage is one event in tools that collect errors, at its beginning."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import Servers
from tests.service.platform import Platform, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


@pytest.mark.parametrize("away", ["postgres", "redis"])
def test_an_outage_is_one_event_at_its_beginning(
    away: str,
    servers: Servers,
    platform: Platform,
    environment: dict[str, str],
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    path = tmp_path / "observed.jsonl"
    environment["OBSERVED"] = str(path)
    worker = start_worker("observed", "-I", "tests.service.plugged.sentry")
    platform.send(user("before"))
    platform.wait_until_finished()

    def events() -> list[dict[str, Any]]:
        return [*map(json.loads, path.read_text().splitlines())] if path.exists() else []

    if away == "postgres":
        servers.postgres.stop("immediate")
        platform.send(user("during"))
        wait_until(events, "the event")
        servers.postgres.start()
        wait_until(lambda: "is back after" in worker.log, "storing to go on")
    else:
        servers.redis.stop()
        wait_until(events, "the event")
        # Celery waits for its broker by then, too.
        wait_until(lambda: "The broker" in worker.log, "the broker to be missed")
        servers.redis.start()
        platform.send(user("during"))
    wait_until(lambda: "during" in platform.users(), "storing to go on")
    worker.stop()
    [event] = events()
    assert event["level"] == "error"
    assert event["message"] in ("%s is away: %s. Storing goes on when it is back.", "Reading is interrupted: %s.")
    assert "Traceback" not in worker.log
