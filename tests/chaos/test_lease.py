"""The lease, whatever its key holds: it is never taken from a live worker, and never kept by a dead one."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.conftest import full_only
from tests.service.platform import GROUP, STREAM, Platform, order, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

PREFIX = f"dbstorage:{STREAM}:{GROUP}:"
LEASE = f"{PREFIX}lease"
SIGN_OF_LIFE = f"{PREFIX}worker:worker@test"
#: Seconds within which a worker reads that nobody stands in the way of (docs/delivery.md).
TAKEN_OVER = 10
OTHERS = {
    "another program's": b"another program's",
    "broken bytes": b"\xff\xfe\x00",
    "a huge process number": b'{"node": "gone@test", "host": "h", "process_id": 99999999999999999999, "nonce": "n"}',
}


def in_a_process_namespace(earlier_processes: int) -> tuple[str, ...]:
    """A prefix that runs a command as a container does, with this many processes before it."""
    script = "/bin/true; " * earlier_processes + '"$0" "$@"; exit $?'
    return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script)


def namespaces_can_be_made() -> bool:
    try:
        return subprocess.run([*in_a_process_namespace(1), "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("token", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("key", [LEASE, pytest.param(SIGN_OF_LIFE, marks=full_only)], ids=["lease", "sign of life"])
def test_what_nobody_renews_is_taken_over(
    key: str, token: bytes, platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (7 s): the other has as long to renew the key as a worker would have."""
    platform.redis.set(key, token)
    worker = start_worker()
    platform.send(user("u"), order("o", "u"))
    wait_until(lambda: "o" in platform.orders(), "the lease to be taken over", TAKEN_OVER)
    assert "Traceback" not in worker.log


def test_a_lease_that_somebody_else_overwrote_is_taken_back(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker()
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    platform.redis.set(LEASE, "another program's")
    platform.send(order("after", "u"))
    wait_until(lambda: "after" in platform.orders(), "the lease to be taken back", TAKEN_OVER)
    assert "Traceback" not in worker.log


@pytest.mark.skipif(not namespaces_can_be_made(), reason="no right to make process namespaces here")
def test_workers_in_containers_of_one_host_name_do_not_take_each_other_for_dead(
    platform: Platform, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each sees its own processes only, and none with the other's number."""
    with ExitStack() as stack:
        workers = []
        for number, name in enumerate(("first", "second")):
            worker = stack.enter_context(Worker(environment, tmp_path, name))
            worker.prefix = in_a_process_namespace(1 + 5 * number)
            workers.append(worker.start())
        first, second = workers
        wait_until(lambda: "Standing by" in second.log, "the second to stand by")
        platform.send(user("u"), *(order(f"o-{number}", "u") for number in range(50)))
        platform.wait_until_finished()
        assert "Lost the lease" not in first.log + second.log
        assert "Standing by" not in first.log
