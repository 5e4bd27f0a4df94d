import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BESIDE_PYTHON = Path(sys.executable).parent
#: The programs of the project's own environment first, as in the image.
SEARCH_PATH = os.pathsep.join([str(BESIDE_PYTHON), os.environ.get("PATH", ""), "/usr/sbin"])

HOW_TO_INSTALL = {
    "pgbouncer": "the Debian package pgbouncer has it",
    "promtool": "the Debian package prometheus has it",
    "check-jsonschema": "pip install -r .ci/checkers.txt",
    "hadolint": "pip install -r .ci/checkers.txt",
    "kubernetes-validate": "pip install -r .ci/checkers.txt",
}


def check(program: str, *arguments: str | Path) -> None:
    """Run a checker and fail with what it says; skip where it is not installed, except in continuous integration."""
    done = subprocess.run([find(program), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def find(program: str) -> str:
    """The path of a program; skip the test where it is not installed, except in continuous integration."""
    found = shutil.which(program, path=SEARCH_PATH)
    if found is None:
        sentence = f"{program} is not installed: {HOW_TO_INSTALL[program]}."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found
