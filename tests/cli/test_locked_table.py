"""A table that another session has locked as a whole: every command names the session, and says nothing untrue."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from dbstorage.cli import main
from tests.service.platform import Platform, order, user


@pytest.fixture
def holder(platform: Platform, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The process id of the session that has locked the failed tasks."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    platform.send(user("u"), order("o", "u"))
    with platform.locked_by("LOCK TABLE dbstorage.failed_tasks IN ACCESS EXCLUSIVE MODE") as connection:
        yield connection.info.backend_pid


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", ["status", "failed list", "find o", "audit", "failed retry --all"])
def test_the_session_is_named(command: str, holder: int) -> None:
    result = run(*command.split())
    assert result.exit_code == 3
    assert f'A table is locked by session {holder} (application "forgotten", idle in transaction' in result.output
    assert "filter matches too much" not in result.output


def test_the_database_is_not_said_to_be_down(holder: int) -> None:
    found = json.loads(run("status", "--json").stdout)
    assert found["database"]["up"] is True
    assert f"A table is locked by session {holder}" in found["verdict"]["sentence"]
