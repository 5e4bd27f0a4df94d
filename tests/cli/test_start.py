import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dbstorage.cli import COMMANDS, main

#: What takes long to import, and most commands need.
SLOW = {"alembic", "redis", "rich", "sqlalchemy"}


def test_the_help_tells_of_every_command_what_it_does_in_a_whole_sentence():
    lines = CliRunner().invoke(main, ["--help"], terminal_width=80).output.partition("Commands:\n")[2].splitlines()
    assert dict(line.split(maxsplit=1) for line in lines) == COMMANDS


def test_every_command_is_called_as_its_module():
    context = click.Context(main)
    commands = [main.get_command(context, name) for name in COMMANDS]
    assert [command and command.name for command in commands] == list(COMMANDS)


def test_what_is_no_command_is_refused_with_a_sentence():
    result = CliRunner().invoke(main, ["settings"])
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, "Error: No such command 'settings'.")


@pytest.mark.parametrize(
    ("line", "slow"),
    [
        ("--help", SLOW),
        ("--version", SLOW),
        ("generate --orders=1 --users=1", SLOW),
        ("env --help", SLOW),
        ("history --help", {"alembic", "sqlalchemy"}),
    ],
)
def test_a_command_waits_for_no_import_that_only_others_need(line: str, slow: set[str]):
    program = (
        "import sys; from dbstorage.cli import main; main(standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *line.split()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert slow & set(done.stderr.split()) == set()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean status?"),
        (["failed", "lst"], "No such command 'lst'. Did you mean list?"),
    ],
)
def test_a_typo_in_a_command_is_met_with_what_was_meant(arguments: list[str], sentence: str):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize("command", ["worker", "flower"])
def test_help_of_celerys_commands_needs_no_settings(command: str):
    done = subprocess.run(
        [sys.executable, "-m", "dbstorage", command, "--help"], env={}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].partition("[")[0].endswith(f" {command} ")
