"""A table that another session has locked as a whole: every command names the session, and says nothing untrue."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner, Result

from dbstorage.cli import main
from tests.service.platform import Platform, order, user


@pytest.fixture
def holder(platform: Platform, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The process id of the session that has locked the failed tasks."""
    passwords = {"SERVICE_PASSWORD": "a", "FLOWER_PASSWORD": "b"}
    for name, value in (environment | passwords).items():
        monkeypatch.setenv(name, value)
    platform.send(user("u"), order("o", "u"))
    with platform.locked_by("LOCK TABLE dbstorage.failed_tasks IN ACCESS EXCLUSIVE MODE") as connection:
        yield connection.info.backend_pid


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", ["status", "failed list", "find o", "audit", "failed retry --all", "grants --give"])
def test_the_session_is_named(command: str, holder: int) -> None:
    result = run(*command.split())
    assert result.exit_code == 3
    assert f'A table is locked by session {holder} (application "forgotten", idle in transaction' in result.output
    assert "filter matches too much" not in result.output


def test_the_database_is_not_said_to_be_down(holder: int) -> None:
    found = json.loads(run("status", "--json").stdout)
    assert found["database"]["up"] is True
    assert f"A table is locked by session {holder}" in found["verdict"]["sentence"]


def test_the_closing_count_of_send_names_it(holder: int, tmp_path: Path) -> None:
    commands = tmp_path / "commands.jsonl"
    commands.write_text(json.dumps(user("v")))
    result = run("send", str(commands), "--timeout", "0.1")
    assert f"Whether any failed is unknown. A table is locked by session {holder}" in result.output


def test_a_migration_says_for_whom_it_waits_and_goes_on_afterwards(
    database_url: str, environment: dict[str, str]
) -> None:
    with closing(psycopg2.connect(database_url, application_name="forgotten")) as other:
        other.cursor().execute('LOCK TABLE dbstorage.alembic_version, "Orders" IN ACCESS EXCLUSIVE MODE')
        program = Path(sys.executable).with_name("dbstorage")
        with subprocess.Popen(
            [program, "migrate"], env=os.environ | environment, stderr=subprocess.PIPE, text=True
        ) as it:
            assert it.stderr is not None
            line = next(line for line in it.stderr if "waits" in line)
            assert f'The migration waits for session {other.info.backend_pid} (application "forgotten"' in line
            other.rollback()
            assert it.wait(60) == 0
