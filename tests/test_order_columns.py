"""Every document and example that lists the columns of an order has all of them."""

import re
from pathlib import Path

import pytest

from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind, OrderColumn, Shown
from dbstorage.traffic.generate import engine_commands

CONTRACT = (Path(__file__).parents[1] / "docs" / "contract.md").read_text()


def section(document: str, heading: str) -> str:
    """What stands below a heading of the contract, up to the next one."""
    [found] = re.findall(rf"^#+ {re.escape(heading)}.*?\n(.*?)(?=^#|\Z)", document, re.MULTILINE | re.DOTALL)
    return str(found)


def first_cells(text: str) -> set[str]:
    """The names in the first column of its tables."""
    rows = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {name.strip("`") for row in rows for name in row.split(", ")}


def forgotten(document: str, column: OrderColumn) -> list[str]:
    """Where a document with the contract's headings says nothing of a column."""
    rules, answers, tables = (section(document, heading) for heading in ("2.1", "2.3", "4."))
    places = []
    if column.name not in first_cells(rules) or (column.alias is not None and f"`{column.alias}`" not in rules):
        places.append("2.1")
    named = column.name in re.findall(r"\w+", answers)
    if column.shown is not Shown.NEVER and not named:
        places.append("2.3")
    if column.kind is not ColumnKind.REMARK and column.name not in first_cells(tables):
        places.append("4")
    return places


@pytest.mark.parametrize("column", ORDER_COLUMNS, ids=lambda column: column.name)
def test_the_contract_has_each_column_in_its_rules_its_answers_and_its_tables(column: OrderColumn):
    assert forgotten(CONTRACT, column) == []


@pytest.mark.parametrize(
    ("column", "places"),
    [
        (OrderColumn("exampleFee", ColumnKind.AMOUNT), ["2.1", "2.3", "4"]),
        (OrderColumn("exampleFee", ColumnKind.AMOUNT, Shown.NEVER), ["2.1", "4"]),
        (OrderColumn("exampleRemark", ColumnKind.REMARK, Shown.WITH_REMARK), ["2.1", "2.3"]),
        (OrderColumn("quantity", ColumnKind.AMOUNT, alias="exampleAmount"), ["2.1"]),
    ],
)
def test_one_that_it_forgets_is_found(column: OrderColumn, places: list[str]):
    assert forgotten(CONTRACT, column) == places


@pytest.mark.parametrize("column", ORDER_COLUMNS, ids=lambda column: column.name)
def test_the_generator_sends_each_column(column: OrderColumn):
    made = engine_commands(seed=1, users=3, orders=30)
    orders = [command["message"] for command in made if command["function"] == "createCloseOrder"]
    assert [order for order in orders if order.get(column.name) is not None]


@pytest.mark.parametrize(
    ("name", "field"), [("orderId", "order_id"), ("takeProfit", "take_profit"), ("symbol", "symbol")]
)
def test_the_field_of_a_command_is_named_after_the_column(name: str, field: str):
    assert OrderColumn(name, ColumnKind.AMOUNT).field == field
