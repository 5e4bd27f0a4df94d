"""Completion as bash, zsh and fish ask for it: the words in variables, the answer on standard output, no server."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("dbstorage")


def ask(directory: Path, **variables: str) -> str:
    """What the command prints for these variables, in a directory without servers."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    done = subprocess.run(
        [COMMAND], cwd=directory, env={**inherited, **variables}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


def completions(directory: Path, shell: str, *words: str) -> list[str]:
    """The values that the shell is offered for the last of the words."""
    if shell == "fish":
        variables = {"COMP_WORDS": " ".join(["dbstorage", *words]), "COMP_CWORD": words[-1]}
    else:
        variables = {"COMP_WORDS": " ".join(["dbstorage", *words]), "COMP_CWORD": str(len(words))}
    lines = ask(directory, _DBSTORAGE_COMPLETE=f"{shell}_complete", **variables).splitlines()
    if shell == "zsh":
        return lines[1::3]
    return [line.split(",", 1)[1].split("\t")[0] for line in lines]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("fail",), ["failed"]),
        (("failed", "re"), ["restore", "retry"]),
        (("failed", "retry", "--code", "user_n"), ["user_not_found"]),
        (("failed", "list", "--code", "invalid_s"), ["invalid_stippage", "invalid_stop_loss", "invalid_symbol"]),
        (("failed", "edit", "--state", "re"), ["retrying", "resolved"]),
        (("failed", "purge", "--state", "d"), ["discarded"]),
        (("failed", "list", "--function", "createC"), ["createCloseOrder"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_commands_codes_and_states_are_completed(tmp_path: Path, words: tuple[str, ...], expected: list[str]):
    assert sorted(completions(tmp_path, "bash", *words)) == sorted(expected)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(tmp_path: Path, shell: str):
    assert sorted(completions(tmp_path, shell, "failed", "edit", "--state", "re")) == ["resolved", "retrying"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_to_read(tmp_path: Path, shell: str):
    script = ask(tmp_path, _DBSTORAGE_COMPLETE=f"{shell}_source")
    assert f"_DBSTORAGE_COMPLETE={shell}_complete" in script
    program = shutil.which(shell)
    if program is not None and shell != "fish":
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=60)


def test_bash_completes_what_a_person_types(tmp_path: Path):
    if shutil.which("bash") is None:
        pytest.skip("There is no bash here.")
    # As the key Tab does it.
    typed = (
        'eval "$(_DBSTORAGE_COMPLETE=bash_source dbstorage)"; '
        "COMP_WORDS=(dbstorage failed retry --code user_n); COMP_CWORD=4; "
        '_dbstorage_completion dbstorage user_n --code; echo "${COMPREPLY[@]}"'
    )
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", typed],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["user_not_found"]
