"""Entries that are too large: they fail without being decoded, and cost their neighbours nothing."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.service.platform import STREAM, Platform, order, question, user
from tests.service.worker import StartWorker

CHECKOUT = Path(__file__).parents[2]
#: A pool process that dies as soon as it looks at the entry with this attachment.
DEADLY = """
import os, sys
import dbstorage.storage.work as work

alive = work.{function}

def deadly(what, *arguments):
    if multiprocessing_child() and "attachment" in repr(what)[:2000]:
        os.kill(os.getpid(), 9)
    return alive(what, *arguments)

# Else an ordinary order would not get as far.
work.ordinary_command = lambda entry: None

def multiprocessing_child():
    from billiard import current_process
    return current_process().name != "MainProcess"

work.{function} = deadly
"""
MEGABYTE = 1024 * 1024
KEPT = 64 * 1024
SETTINGS = {"QUERY_TTL": "3600"}


def large(size: int, order_id: str = "large") -> bytes:
    """A createCloseOrder of this many bytes: its message holds an attachment that no rule knows."""
    command = order(order_id, "u", attachment="")
    text = json.dumps(command)
    return text.replace('"attachment": ""', f'"attachment": "{"x" * (size - len(text))}"').encode()


def neighbours(platform: Platform, *between: dict[Any, Any]) -> list[str]:
    """Send a user, some orders around these entries, and a question; the entry ids of all."""
    small = [{b"message": json.dumps(order(f"small-{number}", "u")).encode()} for number in range(10)]
    first = {b"message": json.dumps(user("u")).encode()}
    last = {b"message": json.dumps(question("u", "q")).encode()}
    return platform.send_raw(first, *small[:5], *between, *small[5:], last)


def check_neighbours(platform: Platform) -> None:
    platform.wait_until_finished()
    assert len(platform.answer_to("q")["orders"]) >= 10


def retry(platform: Platform) -> None:
    platform.query("UPDATE dbstorage.failed_tasks SET state = 'retrying', retry_at = now()")


def test_an_entry_at_the_limit_is_stored_and_one_beyond_it_fails_alone(
    platform: Platform, start_worker: StartWorker
) -> None:
    start_worker(**SETTINGS)
    too_large = large(MEGABYTE + 1)
    ids = neighbours(platform, {b"message": large(MEGABYTE, "at-the-limit")}, {b"message": too_large})
    check_neighbours(platform)
    assert "at-the-limit" in platform.orders()
    [(entry_id, code, state, payload, length, sha256)] = platform.failed(
        "entry_id", "code", "state", "payload", "whole_length", "whole_sha256"
    )
    assert (entry_id, code, state) == (ids[7], "too_large", "failed")
    assert bytes(payload) == too_large[:KEPT]
    assert length == len(too_large) + len("message")
    assert sha256 == hashlib.sha256(too_large).hexdigest()


@pytest.mark.parametrize(
    "fields",
    [
        {b"function": b"createCloseOrder", b"message": b"x" * 2 * MEGABYTE},
        {b"message": b"{", b"more": b"x" * MEGABYTE},
        {b"n" * 2 * MEGABYTE: b"value"},
        {f"field-{number}".encode(): b"\xff" * 100 for number in range(20_000)},
    ],
    ids=["flat", "two fields", "a large name", "many fields"],
)
def test_an_entry_of_any_layout_is_measured(
    fields: dict[bytes, bytes], platform: Platform, start_worker: StartWorker
) -> None:
    start_worker(**SETTINGS)
    neighbours(platform, fields)
    check_neighbours(platform)
    [(code, kept, length)] = platform.failed("code", "octet_length(payload)", "whole_length")
    assert code == "too_large"
    assert kept <= KEPT
    assert length == sum(len(name) + len(value) for name, value in fields.items())


def test_a_retry_reads_the_stream_again(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    [entry_id] = platform.send_raw({b"message": large(2 * MEGABYTE)})
    platform.send(user("u"))
    platform.wait_until_finished()
    retry(platform)
    platform.wait_for_state(entry_id, "failed")
    assert platform.failed("code", "attempts") == [("too_large", 2)]

    worker.stop()
    worker.environment["MAX_ENTRY_BYTES"] = str(4 * MEGABYTE)
    worker.start()
    retry(platform)
    platform.wait_for_state(entry_id, "resolved")
    assert platform.orders() == {"large": "u"}
    assert platform.failed("task_id", "order_id", "whole_length") == [("createCloseOrder:large", "large", None)]


def test_a_retry_says_where_the_stream_does_not_hold_the_entry_any_more(
    platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    [entry_id] = platform.send_raw({b"message": large(2 * MEGABYTE)})
    platform.wait_until_finished()
    worker.stop()
    platform.redis.xdel(STREAM, entry_id)
    worker.environment["MAX_ENTRY_BYTES"] = str(4 * MEGABYTE)
    worker.start()
    retry(platform)
    platform.wait_for_state(entry_id, "failed")
    [(code, message)] = platform.failed("code", "message")
    assert code == "too_large"
    assert "does not hold this entry any more" in message


@pytest.mark.parametrize(
    ("dies_in", "task"),
    [("understand_request", "createCloseOrder:bug"), ("decode", "invalidEntry:{entry_id}")],
    ids=["its rules", "its decoding"],
)
def test_the_record_of_an_entry_that_kills_needs_no_more_than_its_beginning(
    dies_in: str, task: str, platform: Platform, start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DEADLY.format(function=dies_in))
    start_worker(**SETTINGS, PYTHONPATH=os.pathsep.join([str(tmp_path), str(CHECKOUT)]))
    ids = neighbours(platform, {b"message": large(MEGABYTE // 2, "bug")})
    check_neighbours(platform)
    [(task_id, code, kept, length)] = platform.failed("task_id", "code", "octet_length(payload)", "whole_length")
    assert (code, kept) == ("poison", KEPT)
    assert length > MEGABYTE // 2
    assert task_id == task.format(entry_id=ids[6])


def test_entries_that_no_worker_has_room_for_cost_their_neighbours_nothing(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Eighty megabytes are given up on their way, and only their beginning is read."""
    start_worker(**SETTINGS)
    huge = b"x" * 80_000_000
    neighbours(platform, {b"message": huge[:50_000_000]}, {b"message": huge})
    check_neighbours(platform)
    assert sorted(platform.failed("whole_length", "whole_sha256 IS NULL", "octet_length(payload)")) == [
        (50_000_007, False, KEPT),
        (80_000_007, True, KEPT),
    ]
