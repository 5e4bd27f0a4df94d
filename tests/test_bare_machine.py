"""`make run` and `make test` need Python and make, nothing else: no server, no git, no compiler.

Slow (10 s): the whole service is started, from the packages that make has installed for these tests. `.ci/run` tries
the installation on such a machine, too.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from dbstorage.embedded.running_servers import running_servers
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[1]
#: What `make run` reads of a clone.
CLONED = (
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "alembic.ini",
    "dbstorage",
    "examples",
    "migrations",
    "tasks",
)


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose PATH holds what `.ci/bare` names and nothing else."""
    programs = tmp_path / "programs"
    subprocess.run([CHECKOUT / ".ci" / "bare", programs, sys.executable], check=True)
    assert {"make", "python3", "sh"} <= {path.name for path in programs.iterdir()}
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": str(programs), "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": os.environ.get("TMPDIR", "/tmp")}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which make has installed everything."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in CLONED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(CHECKOUT / name, clone / name)
    # Links to its files, and not to itself: Python goes by the name with which it was called.
    (clone / ".venv").symlink_to(sys.prefix)
    return clone


def test_a_clone_may_lie_anywhere_under_any_locale(clone: Path, machine: dict[str, str]):
    elsewhere = clone.rename(clone.with_name("plà ce"))
    command = [str(elsewhere / ".venv/bin/python"), "-P", "-c", "import dbstorage; print(ascii(dbstorage.__file__))"]
    found = subprocess.run(command, env={**machine, "LC_ALL": "C"}, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ascii(str(elsewhere / "dbstorage" / "__init__.py"))


@contextmanager
def make_run(clone: Path, machine: dict[str, str]) -> Iterator[str]:
    """What `make run` prints until the service is up."""
    printed = clone.parent / "printed"
    with printed.open("wb") as output:
        # Where make does not know of an installation, it would make one.
        command = ["make", "--old-file", ".venv/installed", "run"]
        process = subprocess.Popen(
            command, cwd=clone, env=machine, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: "is up" in printed.read_text() or process.poll() is not None, "the service to be up")
        assert process.poll() is None, printed.read_text()
        yield printed.read_text()
    finally:
        # As Ctrl-C does: to make and to all that it started.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert "Everything is stopped." in printed.read_text()


def stored_orders(database_url: str) -> int:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM "Orders"')
        [(number,)] = cursor.fetchall()
    return int(number)


def test_make_run_starts_its_own_servers_and_stores_a_first_order(clone: Path, machine: dict[str, str]):
    absent = ("redis-server", "valkey-server", "postgres", "initdb", "git", "bash", "cc")
    assert [name for name in absent if shutil.which(name, path=machine["PATH"])] == []
    with make_run(clone, machine) as printed:
        [first, *_] = re.findall(r"^  (\.venv/bin/dbstorage send .*)$", printed, re.MULTILINE)
        ended = subprocess.run(
            ["/bin/sh", "-c", first], cwd=clone, env=machine, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        servers = running_servers(clone / ".dbstorage")
        assert servers
        assert stored_orders(servers["DATABASE_URL"]) > 0
