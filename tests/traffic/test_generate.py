import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dbstorage.cli import main
from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import interpret
from dbstorage.traffic.generate import engine_commands
from dbstorage.wire.command import encode_command
from dbstorage.wire.entry import Layout, StreamEntry

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.jsonl"


def of(commands: list[dict[str, Any]], function: str) -> list[dict[str, Any]]:
    return [command for command in commands if command["function"] == function]


def test_the_same_seed_makes_the_same_commands_and_another_one_others():
    first = list(engine_commands(7, 5, 50, users_again=2, orders_again=3, questions=4))
    assert list(engine_commands(7, 5, 50, users_again=2, orders_again=3, questions=4)) == first
    assert not {json.dumps(command) for command in engine_commands(8, 5, 50)} & {json.dumps(each) for each in first}


def test_there_are_as_many_of_each_kind_as_asked_for():
    commands = list(engine_commands(1, 6, 80, users_again=5, orders_again=7, questions=9))
    orders = of(commands, "createCloseOrder")
    users = of(commands, "createUser")
    questions = of(commands, "getCloseOrders")
    assert (len(users), len(orders), len(questions)) == (11, 87, 9)
    assert len({order["message"]["orderId"] for order in orders}) == 80
    assert len({json.dumps(order) for order in orders}) == 80
    assert len({user["message"]["userId"] for user in users}) == 6
    assert len({question["requestId"] for question in questions}) == 9


def test_nobody_closes_an_order_or_asks_before_signing_up_and_no_address_has_two_owners():
    known: set[str] = set()
    owners: dict[str, str] = {}
    for command in engine_commands(3, 20, 200, users_again=30, orders_again=10, questions=20):
        if command["function"] == "createUser":
            person = command["message"]
            known.add(person["userId"])
            assert owners.setdefault(person["userEmail"], person["userId"]) == person["userId"]
        else:
            assert (command.get("userId") or command["message"]["userId"]) in known


@pytest.mark.parametrize("layout", Layout)
def test_the_service_accepts_every_command(layout: Layout):
    kinds: Counter[str] = Counter()
    for command in engine_commands(2, 10, 200, users_again=5, orders_again=5, questions=20):
        fields = encode_command(command, layout)
        entry = StreamEntry("1-0", [part for field in fields.items() for part in field])
        kinds[type(interpret(decode(entry), 100)).__name__] += 1
    assert kinds == {"CreateUser": 15, "CloseOrder": 205, "HistoryQuestion": 20}


def test_without_users_there_is_nothing_and_without_orders_none_comes_twice():
    assert list(engine_commands(1, 0, 10, questions=3)) == []
    assert [command["function"] for command in engine_commands(1, 1, 0, orders_again=3)] == ["createUser"]


def test_the_sample_is_what_the_command_prints_by_itself():
    result = CliRunner().invoke(main, ["generate"])
    assert result.exit_code == 0
    assert result.stdout_bytes == SAMPLE.read_bytes()
    commands = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    assert len({command["message"]["orderId"] for command in of(commands, "createCloseOrder")}) == 2000
    assert len({command["message"]["userId"] for command in of(commands, "createUser")}) == 60
    assert len(of(commands, "createUser")) > 60
    assert len(of(commands, "createCloseOrder")) > 2000


def test_the_numbers_of_each_kind_are_options_of_the_command():
    options = ["--seed=4", "--users=2", "--orders=9", "--questions=1", "--users-again=0", "--orders-again=3"]
    lines = CliRunner().invoke(main, ["generate", *options]).stdout.splitlines()
    kinds = Counter(json.loads(line)["function"] for line in lines)
    assert kinds == {"createUser": 2, "createCloseOrder": 12, "getCloseOrders": 1}
