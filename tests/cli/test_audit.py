import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dbstorage.cli import main
from tests.cli.terminal import on_terminal
from tests.service.platform import GROUP, STREAM, Platform, order, question, user
from tests.storage.service import Service


@pytest.fixture
def platform(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Platform]:
    """The servers that the command looks at; nothing is in them yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    with closing(Platform(redis_url, database_url)) as platform:
        yield platform


def audit(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["audit", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def lose(platform: Platform, *commands: dict[str, Any]) -> list[str]:
    """Send commands and acknowledge them without doing anything."""
    ids = platform.send(*commands)
    platform.redis.xgroup_create(STREAM, GROUP, "0")
    platform.redis.xreadgroup(GROUP, "worker@test", {STREAM: ">"}, count=len(ids))
    platform.redis.xack(STREAM, GROUP, *ids)
    return ids


def test_nothing_missing_is_exit_code_0(platform: Platform):
    lose(platform, question("u"))
    first, last = platform.send(order("o"), order("[bold]o\x1b[2J"))
    result = audit()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "function\tacknowledged\tpending\tentries",
        "createCloseOrder\t0\t2\t2",
        "getCloseOrders\t1\t0\t1",
    ]
    assert "The service is not done with 2 of them" in result.stderr
    assert "nothing missing" in result.stderr
    assert audit("--from", first, "--to", last).stdout.splitlines()[1:] == ["createCloseOrder\t2\t2"]


def test_missing_entries_are_named_and_are_exit_code_1(platform: Platform):
    ids = lose(platform, user("u"), order("o", "u"), order("o\x1b[2J", "u"))
    result = audit()
    assert result.exit_code == 1
    named = [line.split("\t")[:2] for line in result.stdout.splitlines() if "-" in line and "\t" in line]
    assert named == [
        [ids[0], f"createUser:{ids[0]}"],
        [ids[1], "createCloseOrder:o"],
        [ids[2], "createCloseOrder:o\\x1b[2J"],
    ]
    assert result.stderr.endswith(f"Looked at 3 entries, {ids[0]} to {ids[2]}: 3 missing.\n")

    shortened = audit("--show", "1")
    assert ids[0] in shortened.stdout
    assert ids[1] not in shortened.stdout
    assert "1 of 3 missing entries are named; --show names more.\n" in shortened.stderr


def test_json_holds_the_counts_and_the_missing_entries(platform: Platform):
    ids = lose(platform, order("o"), order("p"), question("u"))
    result = audit("--json", "--show", "1")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "first": ids[0],
        "last": ids[2],
        "entries": 3,
        "counts": {"createCloseOrder": {"missing": 2}, "getCloseOrders": {"acknowledged": 1}},
        "codes": {},
        "trimmed_unread": 0,
        "owners": {},
        "misplaced": [],
        "missing_count": 2,
        "missing": [
            {
                "entry_id": ids[0],
                "task_id": "createCloseOrder:o",
                "function": "createCloseOrder",
                "reason": "No order with its orderId is stored, and no failure is recorded.",
            }
        ],
    }


def test_an_order_under_another_person_is_exit_code_1(environment: dict[str, str], platform: Platform):
    service = Service(environment)
    ids = service.send(user("u"), user("v"), order("o", "u"))
    service.store()
    assert audit().exit_code == 0
    platform.query("""UPDATE "Orders" SET "userId" = 'v'""")
    result = audit()
    assert result.exit_code == 1
    assert f"{ids[2]}\tcreateCloseOrder:o\t" in result.stdout
    assert "1 stored order stands under another person.\n" in result.stderr
    service.redis.close()
    service.resources.engine.dispose()


def test_an_empty_range_is_said(platform: Platform):
    result = audit()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"There is no entry in this range of {STREAM}.\n"
    assert json.loads(audit("--json").stdout)["entries"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "yesterday"], "--from is 'yesterday'; expected an entry id such as 1746403514283-0"),
        (["--to", "1-2-3"], "--to is '1-2-3'; expected an entry id"),
        (["--from", "2000", "--to", "1000"], "--from 2000 stands behind --to 1000 in the stream"),
        (["--show", "-1"], "--show"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], sentence: str):
    result = audit(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("variable", "url"), [("REDIS_URL", "redis://:secret@localhost:1"), ("DATABASE_URL", "postgresql://localhost:1/x")]
)
def test_a_server_that_is_away_proves_nothing(
    variable: str, url: str, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, url)
    result = audit()
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(("Redis cannot be used", "The database cannot be used"))
    assert "secret" not in result.stderr


def test_on_a_terminal_the_table_is_drawn_and_long_reasons_are_folded(platform: Platform):
    lose(platform, order("o"))
    exit_code, shown = on_terminal("audit", columns=60)
    assert exit_code == 1
    assert "Auditing" in shown
    assert "createCloseOrder" in shown
    assert "\t" not in shown
