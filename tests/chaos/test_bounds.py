"""Memory, the pending list and both streams stay within bounds under any load."""

import json

import psutil
import pytest

from dbstorage.reader.core import READ_BYTES
from tests.chaos.conftest import scaled
from tests.service.platform import GROUP, RESPONSES, STREAM, Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

MEGABYTE = 1024 * 1024
BATCH = 500


def resident_megabytes(worker: Worker) -> float:
    """Memory of the main process and its pool processes, shared pages counted once for each."""
    assert worker.process is not None
    processes = [psutil.Process(worker.process.pid), *worker.pool_processes]
    return sum(process.memory_full_info().pss for process in processes) / MEGABYTE


def fill(platform: Platform, count: int) -> None:
    """Add a backlog of orders."""
    template = json.dumps(order("ORDER", "u")).encode()
    for start in range(0, count, 10_000):
        with platform.redis.pipeline(transaction=False) as pipeline:
            for number in range(start, min(count, start + 10_000)):
                pipeline.xadd(STREAM, {b"message": template.replace(b"ORDER", b"backlog-%d" % number)})
            pipeline.execute()


@pytest.mark.timeout(scaled(300, 1_500))
def test_a_backlog_grows_neither_memory_nor_the_pending_list(platform: Platform, start_worker: StartWorker) -> None:
    backlog = scaled(40_000, 1_000_000)
    platform.send(user("u"))
    fill(platform, backlog)
    worker = start_worker(STREAM_KEEP="1000")
    early = late = 0.0
    most_pending = 0

    def worked_off() -> bool:
        nonlocal early, late, most_pending
        most_pending = max(most_pending, platform.pending())
        # Counting the rows again and again would slow down what is watched.
        [(stored,)] = platform.query('SELECT coalesce(max(id), 0) FROM "Orders"')
        if not early and stored > backlog / 2:
            early = resident_megabytes(worker)
        if not late and stored > backlog * 9 / 10:
            late = resident_megabytes(worker)
        return platform.finished()

    wait_until(worked_off, "the backlog to be worked off", scaled(120, 1_200))
    assert platform.query('SELECT count(*) FROM "Orders"') == [(backlog,)]
    assert most_pending <= 3 * BATCH
    assert late < early + 15, f"{early:.0f} MB halfway, {late:.0f} MB near the end"
    assert late < 250
    wait_until(lambda: platform.redis.xlen(STREAM) < 1_000 + 500, "the stream to be trimmed behind the work")


def test_an_entry_that_a_group_has_not_acknowledged_is_never_trimmed(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (12 s): the stream is trimmed every five seconds, and has to be twice."""
    ids = platform.send(user("u"), *(order(f"old-{number}", "u") for number in range(1_000)))
    platform.redis.xgroup_create(STREAM, "auditor", "0")
    platform.redis.xreadgroup("auditor", "someone", {STREAM: ">"}, count=500)
    platform.redis.xack(STREAM, "auditor", *ids[:350])
    start_worker(STREAM_KEEP="0")
    wait_until(lambda: not platform.redis.xrange(STREAM, ids[0], ids[0]), "what nobody needs to be trimmed")
    platform.wait_until_finished()
    assert platform.redis.xrange(STREAM, ids[350], ids[350]), "an entry that another group has in hand was trimmed"
    assert len(platform.orders()) == 1_000
    platform.redis.xgroup_destroy(STREAM, "auditor")
    wait_until(lambda: not platform.redis.xrange(STREAM, ids[350], ids[350]), "the rest to be trimmed")


def test_the_response_stream_stays_at_its_limit(platform: Platform, start_worker: StartWorker) -> None:
    for number in range(3_000):
        platform.redis.xadd(RESPONSES, {"message": f"left over {number}"})
    start_worker(RESPONSE_MAXLEN="200", QUERY_TTL="3600")
    wait_until(lambda: platform.redis.xlen(RESPONSES) < 400, "the stream to be trimmed at the start")
    platform.send(*(question("nobody", f"q-{number}") for number in range(1_000)))
    platform.wait_until_finished()
    platform.answer_to("q-999")
    assert platform.redis.xlen(RESPONSES) < 400


def test_entries_of_a_megabyte_are_read_in_small_numbers(platform: Platform, start_worker: StartWorker) -> None:
    # All of them would fit into one batch by their number, and by their size into three at most.
    count, most = scaled(100, 400), 3 * READ_BYTES // MEGABYTE
    assert most < count <= BATCH
    platform.send(user("u"))
    for number in range(count):
        command = {**order(f"big-{number}", "u"), "note": "x" * MEGABYTE}
        platform.send_raw({b"message": json.dumps(command).encode()})
    worker = start_worker(MAX_ENTRY_BYTES=str(2 * MEGABYTE))
    most_pending = 0

    def worked_off() -> bool:
        nonlocal most_pending
        most_pending = max(most_pending, platform.pending())
        return platform.finished()

    wait_until(worked_off, "the large entries to be worked off")
    assert 0 < most_pending <= most
    assert len(platform.orders()) == count
    assert resident_megabytes(worker) < 400
    assert platform.redis.xinfo_groups(STREAM)[0]["name"] == GROUP.encode()
