"""In which order the tests run, and which files never run at the same time when several processes run them."""

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

CHECKOUT = Path(__file__).parents[1]
SERVERS = {"postgres_server", "redis_server", "servers"}

#: The files that take longest, by and large the longest first, so that none is begun when the others are about to end;
#: those that stand together run in one process, one after the other.
LONG = (
    # They measure the ten seconds that docs/delivery.md allows for a take-over, for reading again and for SIGTERM.
    (
        "tests/chaos/test_redis_outage.py",
        "tests/chaos/test_several_workers.py",
        "tests/chaos/test_database_outage.py",
        "tests/chaos/test_shutdown.py",
    ),
    ("tests/chaos/test_random_walk.py", "tests/chaos/test_liveness.py", "tests/chaos/test_lost_lease.py"),
    ("tests/chaos/test_full_redis.py", "tests/chaos/test_slow_link.py"),
    # They share one node_modules and one generated client.
    ("tests/prisma/test_client.py", "tests/prisma/test_drift.py"),
    # `dbstorage up` prefers the ports that a person knows, and comes back on those that it had.
    ("tests/cli/test_up.py", "tests/test_readme.py", "tests/test_bare_machine.py", "tests/test_packaging.py"),
    ("tests/replay/test_restore.py",),
    ("tests/bench/test_growth.py",),
    ("tests/dashboard/test_access.py",),
    ("tests/reader/test_orders.py",),
    ("tests/service/test_observers.py",),
    ("tests/chaos/test_sentinel.py",),
    ("tests/dashboard/test_service_browser.py",),
    ("tests/chaos/test_pool.py",),
    ("tests/service/test_controls.py",),
    ("tests/service/test_two_services.py",),
    ("tests/service/test_database_faults.py",),
    ("tests/metrics/test_worker.py",),
    ("tests/chaos/test_large_entries.py",),
    ("tests/test_samples.py",),
    ("tests/service/test_against_model.py",),
    ("tests/reader/test_machine.py",),
    ("tests/reader/test_faults.py",),
    ("tests/chaos/test_kill.py",),
)
_TURN_OF = {file: turn for turn, files in enumerate(LONG, start=1) for file in files}


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist comes without types
    """A file at a time, because most files share a worker or a Flower among their tests; LONG says what else."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return LONG[_TURN_OF[file] - 1][0] if file in _TURN_OF else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """What `pytest -n` asks which process runs what."""
    config.option.loadscopereorder = False  # the order is the one below, and not by the number of tests
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run first what needs no server: most mistakes show there, within seconds. Then what takes longest."""
    if config.getoption("without_servers"):
        items[:] = [item for item in items if not _needs_server(item)]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    file = item.path.relative_to(CHECKOUT).as_posix()
    if file in _TURN_OF:
        return _TURN_OF[file]
    return len(LONG) + 1 if _needs_server(item) else 0


def _needs_server(item: pytest.Item) -> bool:
    return not SERVERS.isdisjoint(getattr(item, "fixturenames", ()))
