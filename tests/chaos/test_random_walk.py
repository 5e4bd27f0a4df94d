"""Faults in combination, at random: whatever happened, once all is well again everything that is due is taken up.

A walk that fails prints itself as one line. To do exactly the same steps again, or fewer of them:

    RANDOM_WALK='strict 2: writes 30; redis frozen; wait 7.0; redis well; check all' \\
        .venv/bin/pytest tests/chaos/test_random_walk.py

`RANDOM_WALK_SEED` chooses other walks, as many as before.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.redis import EmbeddedRedis
from tests.chaos.conftest import FULL, Servers, scaled
from tests.chaos.walk import CHECK, MOMENTARY, WELL, Setting, Step, parse, random_steps, written
from tests.chaos.walk_world import World
from tests.service.platform import Platform

SETTINGS = [Setting("strict", 1), Setting("strict", 2), Setting("parallel", 2)]
if FULL:
    SETTINGS += [Setting("strict", 2, own_broker=True), Setting("strict", 1, small_disk=True)]
#: Together 200 rounds in full.
WALKS = scaled(1, 8)
ROUNDS = scaled(1, 5)
STEPS = scaled(8, 12)
#: Room for a server's data, its log of changes included; it is memory.
SMALL_DISK = "320m"


def how_to_repeat(setting: Setting, steps: list[Step]) -> str:
    """The command that does these steps again."""
    line = f"RANDOM_WALK='{written(setting, steps)}'"
    return f"To do it again:\n    {line} \\\n    .venv/bin/pytest tests/chaos/test_random_walk.py"


def walk(setting: Setting, rounds: list[list[Step]], servers: Servers, directory: Path) -> None:
    """Do the steps of these rounds; a failure tells all that were done."""
    done: list[Step] = []
    with World(setting, servers, directory, written(setting, rounds[0])) as world:
        for step in (step for steps in rounds for step in steps):
            done.append(step)
            try:
                world.do(step)
            except Exception as error:
                error.add_note(how_to_repeat(setting, done))
                raise


@contextmanager
def small_disk(directory: Path) -> Iterator[Servers]:
    """Servers on a file system so small that it can be filled; skips where none can be made."""
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=755", "tmpfs", str(directory)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no small file system can be made: {mounted.stderr.strip()}")
    try:
        servers = Servers(directory)
        servers.redis = EmbeddedRedis(directory.with_name("redis"))
        servers.postgres.settings |= {"max_wal_size": "64MB", "min_wal_size": "32MB"}
        servers.start()
        try:
            upgrade(parse_database_url(servers.postgres.url))
            yield servers
        finally:
            servers.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False)


@contextmanager
def servers_of(setting: Setting, servers: Servers, directory: Path) -> Iterator[Servers]:
    if setting.small_disk:
        with small_disk(directory / "disk") as own:
            yield own
    else:
        yield servers


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(WALKS))
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.skipif("RANDOM_WALK" in os.environ, reason="the walk of RANDOM_WALK is done instead")
def test_whatever_happened_all_that_is_due_is_taken_up(
    setting: Setting, number: int, servers: Servers, platform: Platform, tmp_path: Path
) -> None:
    """Slow (20 s each): faults last longer than a lease, and what they leave behind is waited for."""
    seed = os.environ.get("RANDOM_WALK_SEED", "1")
    rounds = [random_steps(setting, f"{seed}/{setting}/{number}/{turn}", STEPS) for turn in range(ROUNDS)]
    with servers_of(setting, servers, tmp_path) as used:
        walk(setting, rounds, used, tmp_path)


@pytest.mark.timeout(900)
@pytest.mark.skipif("RANDOM_WALK" not in os.environ, reason="it is for doing a walk again")
def test_the_walk_that_random_walk_names(servers: Servers, platform: Platform, tmp_path: Path) -> None:
    setting, steps = parse(os.environ["RANDOM_WALK"])
    with servers_of(setting, servers, tmp_path) as used:
        walk(setting, [steps], used, tmp_path)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_walk_can_be_written_down_and_ends_with_all_well(setting: Setting) -> None:
    for number in range(100):
        steps = random_steps(setting, str(number), 12)
        assert parse(written(setting, steps)) == (setting, steps)
        assert steps == random_steps(setting, str(number), 12)
        assert steps[-1] == CHECK
        lasting = [step for step in steps if step.what in setting.conditions() and step.how not in MOMENTARY]
        assert set({step.what: step.how for step in lasting}.values()) <= {WELL}
