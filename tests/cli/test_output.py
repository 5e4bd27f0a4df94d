"""What the command prints of strangers' text, on a terminal and into a pipe."""

import io
import json

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
