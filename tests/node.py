"""Node packages for tests, installed beside their package.json and kept there for the next run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: Seconds; a cold cache and a slow line.
INSTALL_TIMEOUT = 280


def node_packages(directory: Path) -> Path:
    """Install what the lock file of the directory names, unless it is there; skip the test where that cannot be done.

    With CI=true nothing is skipped.
    """
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        _give_up(f"{' and '.join(missing)} not found: install Node 20 or later to run this test.")
    lock = (directory / "package-lock.json").read_bytes()
    stamp = directory / "node_modules" / ".installed"
    if not stamp.exists() or stamp.read_bytes() != lock:
        # Scripts of packages would download programs from elsewhere.
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_TIMEOUT)
        except subprocess.TimeoutExpired:
            _give_up(f"npm ci in {directory.name} took more than {INSTALL_TIMEOUT} s.")
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
            _give_up(f"npm ci in {directory.name} failed: {' '.join(errors[:3])}")
        stamp.write_bytes(lock)
    return directory


def _give_up(sentence: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)
