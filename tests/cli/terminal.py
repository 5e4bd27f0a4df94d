"""The `dbstorage` command on a terminal, where tables are drawn and bars move."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def on_terminal(*arguments: str, columns: int) -> tuple[int, str]:
    """Exit code and all that a terminal of this width was shown."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-c", "from dbstorage.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": str(columns)}
    with subprocess.Popen(command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        # What Linux says when nobody writes any more.
        with suppress(OSError):
            while part := os.read(screen, 65_536):
                shown += part
    os.close(screen)
    return process.returncode, shown.decode()
