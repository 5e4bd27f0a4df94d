"""What the command prints of strangers' text, on a terminal and into a pipe."""

import io
import json
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from dbstorage.cli import main, output

#: A title, a cleared screen, a line of its own, the other direction.
HOSTILE = "o\x1b]0;title\x07\x1b[2J\nforged\tcell\r\u202e\x9b\x7f\ud800"
SHOWN = "o\\x1b]0;title\\x07\\x1b[2J\\nforged\\tcell\\r\\u202e\\x9b\\x7f\\ud800"


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]):
    output.say(f"No order {HOSTILE}.", "Two.")
    output.say(HOSTILE, err=True)
    assert capsys.readouterr() == (f"No order {SHOWN}.\nTwo.\n", f"{SHOWN}\n")


def test_a_table_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str]):
    output.print_table(["order", "user"], [[HOSTILE, "ann"], [None, 1]])
    assert capsys.readouterr().out == f"order\tuser\n{SHOWN}\tann\n\t1\n"


def test_a_table_on_a_terminal_holds_nothing_that_moves_the_cursor(monkeypatch: pytest.MonkeyPatch):
    screen = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=screen, force_terminal=True, width=200, no_color=True))
    output.print_table(["order"], [[HOSTILE]])
    drawn = screen.getvalue()
    assert SHOWN in drawn
    assert "\x07" not in drawn
    assert "\x1b]" not in drawn
    assert "\x1b[2J" not in drawn


def test_json_is_ascii_without_control_characters_and_says_the_same(capsys: pytest.CaptureFixture[str]):
    output.print_json({"orderId": HOSTILE})
    printed = capsys.readouterr().out
    assert printed.rstrip("\n").isprintable()
    assert printed.isascii()
    assert json.loads(printed) == {"orderId": HOSTILE}


@pytest.mark.parametrize(
    "arguments",
    [(HOSTILE,), (f"--{HOSTILE}",), ("resume", HOSTILE), ("failed", HOSTILE), ("failed", "list", "--limit", HOSTILE)],
    ids=["command", "option", "argument", "subcommand", "value"],
)
def test_what_was_typed_wrong_is_told_in_one_line(arguments: tuple[str, ...]):
    ended = CliRunner().invoke(main, [argument.removesuffix("\ud800") for argument in arguments])
    assert ended.exit_code == 2
    assert SHOWN.removesuffix("\\ud800") in ended.output.splitlines()[-1]
    assert all(line.isprintable() for line in ended.output.splitlines())


USER = "0f0e8c1c-8a8f-4b5b-9f4c-000000000000"
LONG = "symbol is …; expected btc, sol or eth, and then some more words that make it long."
TABLES: list[tuple[list[str], list[object], dict[str, Any]]] = [
    (["nr", "code", "first", "last", "user"], [250, "invalid_symbol", "2026-11-26 07:20Z", "2026-11-26 07:21Z", USER],
     {"whole": ["code", "first", "last", "user"], "spare": ["first", "last"]}),
    (["missing entry", "task", "reason"], ["1795677612777-2", "createCloseOrder:o-17", LONG], {"cut": "reason"}),
    (["when", "which · reason"], ["2026-11-26 07:20:51Z", LONG], {"whole": ["when"]}),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "row", "options"), TABLES)
def test_at_80_columns_ids_and_moments_stay_whole_and_sentences_give_way(
    monkeypatch: pytest.MonkeyPatch, columns: list[str], row: list[object], options: dict[str, Any]
):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, no_color=True)
    monkeypatch.setattr(output, "console", lambda: console)
    output.print_table(columns, [row], **options)
    drawn = click.unstyle(screen.getvalue()).splitlines()
    assert all(len(line) <= 80 for line in drawn)
    assert str(row[-1] if columns[-1] == "user" else row[0]) in "\n".join(drawn)
    assert ("…" in drawn[1]) == (LONG in row)


def test_an_id_wider_than_the_terminal_is_folded_and_the_others_stay_whole(monkeypatch: pytest.MonkeyPatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, no_color=True)
    monkeypatch.setattr(output, "console", lambda: console)
    output.print_table(["tasks", "user"], [[1, USER], [2, "U" * 255]], whole=["user"])
    assert USER in screen.getvalue()
    assert "tasks" in screen.getvalue()
    assert screen.getvalue().count("U") == 255
