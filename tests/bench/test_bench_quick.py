import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psycopg2
import pytest

from bench.contenders.orders_sql import INSERT_BATCH
from bench.traffic import closed_orders
from bench.verification import WrongRowsError, verify_rows


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick benchmark with tiny numbers wrote."""
    directory = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "bench", "quick", "--entries", "300", "--rounds", "1", "--output", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "service-failures / bare-loop: " in done.stdout
    return directory


def test_the_quick_benchmark_measures_service_and_bare_loop(results: Path):
    data = json.loads((results / "quick.json").read_text())
    assert data["benchmark"] == "quick"
    assert data["entries"] == 300
    assert [run["contender"] for run in data["runs"]] == ["service-failures", "bare-loop"]
    assert data["missing"] == {}
    assert list(data["ratios"]) == ["service-failures / bare-loop"]
    for run in data["runs"]:
        assert run["seconds"] > 0
        assert run["usage"].keys() == {"service", "postgresql", "redis"}
        assert all(group["peak_memory"] > 0 for group in run["usage"].values())


def test_the_results_say_where_when_and_with_what_they_were_measured(results: Path):
    machine = json.loads((results / "quick.json").read_text())["machine"]
    assert machine["versions"].keys() >= {"Python", "PostgreSQL", "Valkey", "celery"}
    assert machine["cores"] >= 1
    text = (results / "quick.md").read_text()
    assert text.startswith("# Ingest: 300 closed orders")
    assert machine["date"] in text
    assert "![Closed orders stored per second (median, more is better)](quick.svg)" in text


def test_the_picture_has_a_bar_for_each_contender(results: Path):
    picture = ElementTree.parse(results / "quick.svg").getroot()
    bars = picture.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 2
    assert all(float(bar.attrib["width"]) > 0 for bar in bars)


@pytest.fixture
def stored_orders(database_url: str) -> tuple[Any, Any]:
    """Twenty orders, stored; the traffic they are of, and a cursor."""
    traffic = closed_orders(20, 3)
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    cursor = connection.cursor()
    for user in traffic.users:
        cursor.execute('INSERT INTO "User" ("userID", "email") VALUES (%s, %s)', user)
    cursor.execute(INSERT_BATCH, (json.dumps([json.loads(entry)["message"] for entry in traffic.entries]),))
    return traffic, cursor


def test_rows_as_they_should_be_are_counted(stored_orders: tuple[Any, Any], database_url: str):
    traffic, _ = stored_orders
    assert verify_rows(database_url, traffic.expected_rows()) == 20


@pytest.mark.parametrize(
    "change",
    [
        'DELETE FROM "Orders" WHERE "id" = 7',
        'UPDATE "Orders" SET "closePrice" = "closePrice" + 0.01 WHERE "id" = 7',
        'UPDATE "Orders" SET "orderId" = \'somebody else\' WHERE "id" = 7',
    ],
)
def test_a_row_that_is_wrong_is_found(stored_orders: tuple[Any, Any], database_url: str, change: str):
    traffic, cursor = stored_orders
    cursor.execute(change)
    with pytest.raises(WrongRowsError, match="rows are wrong"):
        verify_rows(database_url, traffic.expected_rows())
