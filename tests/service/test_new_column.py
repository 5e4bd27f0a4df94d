"""CONTRIBUTING's example column: one line in the table of columns is enough, from the wire to the answers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.closed_orders import ORDER
from tests.service.platform import Platform, order, question, user
from tests.service.worker import Worker

CHECKOUT = Path(__file__).parents[2]


class WorkerWithColumn(Worker):
    """A worker of a version that has the column."""

    application = "tests.service.example_column_app"


def in_that_version(program: str, environment: dict[str, str]) -> str:
    """What a program prints there."""
    done = subprocess.run(
        [sys.executable, "-c", f"import tests.service.example_column\n{program}"],
        cwd=CHECKOUT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_worker_stores_compares_and_answers_it(
    platform: Platform, environment: dict[str, str], tmp_path: Path
) -> None:
    platform.query('ALTER TABLE "Orders" ADD "exampleFee" double precision NOT NULL DEFAULT 7')
    with WorkerWithColumn(environment, tmp_path) as worker:
        worker.start()
        flat: dict[str, Any] = order("flat", "ann", exampleFee="0.75")
        platform.send(
            user("ann"),
            order("a", "ann", exampleFee=2.5),
            order("none", "ann"),
            order("other name", "ann", exampleCost=1.25),
        )
        platform.send_raw({b"function": b"createCloseOrder", b"message": json.dumps(flat["message"]).encode()})
        conflict, refused = platform.send(order("a", "ann", exampleFee=3), order("b", "ann", exampleFee="much"))
        platform.send(order("a", "ann", exampleFee=2.5))
        platform.wait_until_finished()
        stored = platform.query('SELECT "orderId", "exampleFee" FROM "Orders" ORDER BY "orderId"')
        assert stored == [("a", 2.5), ("flat", 0.75), ("none", 0.0), ("other name", 1.25)]
        assert platform.failed_codes() == {
            conflict: ("failed", "order_conflict"),
            refused: ("failed", "invalid_example_fee"),
        }
        platform.send(question("ann", "plain"), question("ann", "detailed", detail=True))
        detailed = platform.answer_to("detailed")["orders"]
        assert {order["orderId"]: order["exampleFee"] for order in detailed} == dict(stored)
        assert [order for order in platform.answer_to("plain")["orders"] if "exampleFee" in order] == []


def test_without_it_in_the_database_nothing_is_written_and_a_sentence_says_why(platform: Platform) -> None:
    program = """
from sqlalchemy import text
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import inspect_shape
from dbstorage.errors import DatabaseNotReadyError
from dbstorage.settings import load_settings
with create_engine(load_settings().database).connect() as connection:
    try:
        inspect_shape(connection)
    except DatabaseNotReadyError as error:
        print(error)
"""
    printed = in_that_version(program, platform.environment)
    assert printed == 'DBStorage cannot write to "Orders" in schema "public": the column "exampleFee" is missing.\n'


@pytest.mark.parametrize(
    ("value", "is_ordinary", "stored"), [(1.5, True, 1.5), (None, True, 0.0), (-0.0, True, 0.0), ("2", False, 2.0)]
)
def test_the_quick_way_says_what_the_rules_say(value: Any, is_ordinary: bool, stored: float) -> None:
    program = """
import os
from dbstorage.commands.interpret import interpret
from dbstorage.commands.ordinary import ordinary_command
from dbstorage.commands.decode import decode
from dbstorage.wire.entry import StreamEntry
entry = StreamEntry("1-0", [b"message", os.environ["ENTRY"].encode()])
quick, ruled = ordinary_command(entry), interpret(decode(entry), 100)
print(quick is not None, ruled.example_fee, quick is None or repr(quick) == repr(ruled))
"""
    entry = {"function": "createCloseOrder", "message": {**ORDER, "exampleFee": value}}
    assert in_that_version(program, {"ENTRY": json.dumps(entry)}) == f"{is_ordinary} {stored} True\n"
