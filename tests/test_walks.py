"""Compares docs/architecture.md with the code: its words, its rooms, and three walks from file to file."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "dbstorage"
PAGE = (CHECKOUT / "docs" / "architecture.md").read_text()
CODE = "\n".join(path.read_text() for room in (PACKAGE, CHECKOUT / "tasks") for path in room.rglob("*.py"))
WALKS = ("An order", "A question", "A failure and its retry")
#: Each begins where it is drawn to, or where another walk has been.
BEGINNINGS = {
    "batch/job.py",
    "cli/failed_change.py",
    "dashboard/failed_changes.py",
    "reader/core.py",
    "storage/work.py",
}


class Step(NamedTuple):
    before: str
    name: str
    after: str


def section(title: str) -> str:
    [text] = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def rows(title: str) -> list[list[str]]:
    """The cells of the table in this section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")][1:]


def steps(walk: str) -> list[Step]:
    return [Step(*(cell.strip("`") for cell in row[:3])) for row in rows(walk)]


def names(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


@pytest.mark.parametrize("walk", WALKS)
def test_each_step_of_a_walk_is_named_in_the_file_that_it_leaves_and_in_the_one_that_it_enters(walk: str):
    for before, name, after in steps(walk):
        assert names((PACKAGE / before).read_text(), name), f"{before} does not name {name}"
        assert names((PACKAGE / after).read_text(), name), f"{after} does not name {name}"


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_jumps_to_no_file_in_which_it_has_not_been(walk: str):
    been = set(BEGINNINGS)
    for before, _, after in steps(walk):
        assert before in been or before in {step.after for step in steps(WALKS[0])}, before
        been.add(after)


def test_each_word_of_the_glossary_stands_in_the_code():
    words = rows("A dozen words")
    assert 12 <= len(words) <= 15
    assert [word for word, _, name in words if not names(CODE, name.strip("`"))] == []


def test_what_is_to_be_read_first_is_there():
    for rooms, _, first in (row for row in rows("The tree") if len(row) == 3):
        paths = [CHECKOUT / name for name in re.findall(r"`([^`]+/)`", rooms)]
        folders = [path for path in paths if path.is_dir()] or [PACKAGE]
        name = first.strip("`")
        assert any((folder / name).exists() for folder in [*folders, PACKAGE]), name
