"""A retry that is waited for, with a real worker."""

import json
from collections import Counter
from contextlib import closing

import psycopg2
import pytest

from dbstorage.failed_tasks.filters import State
from dbstorage.failed_tasks.retry_progress import in_words
from tests.service.platform import Platform, order, user
from tests.service.test_pause import dbstorage
from tests.service.worker import StartWorker
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ({State.RESOLVED: 12, State.FAILED: 4960}, "4,972 retried: 12 stored, 4,960 failed again."),
        ({State.RESOLVED: 4972}, "4,972 retried: 4,972 stored."),
        ({State.FAILED: 4971, State.RETRYING: 1}, "4,972 retried: 4,971 failed again, 1 still to be tried."),
        ({}, "4,972 retried: their records are deleted."),
    ],
)
def test_the_last_line_says_what_became_of_the_tasks(states: dict[State, int], sentence: str):
    assert in_words(Counter(states), 4972) == sentence


def test_a_retry_ends_with_what_became_of_the_tasks(
    platform: Platform, start_worker: StartWorker, environment: dict[str, str]
):
    platform.send(user("user-1"), order("never", symbol="doge"), order("late", "ann"))
    start_worker(USER_WAIT="0")
    wait_until(lambda: sorted(platform.failed("state")) == [("failed",), ("failed",)], "both to fail")
    with (
        closing(psycopg2.connect(environment["DATABASE_URL"])) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    assert dbstorage(environment, "failed", "retry", "--all", "--yes") == "2 retried: 1 stored, 1 failed again.\n"
    changed = dbstorage(environment, "failed", "retry", "--all", "--yes", "--json")
    assert json.loads(changed) == {
        "matched": 1, "changed": 1, "dry_run": False, "stored": 0, "failed_again": 1, "left": 0,
    }  # fmt: skip
    mended = dbstorage(environment, "failed", "edit", "--all", "--set", "symbol=BTC", "--yes")
    assert mended == "1 task is mended and retried.\n1 retried: 1 stored.\n"
