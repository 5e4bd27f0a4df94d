import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from dbstorage.embedded.process import spawn


class CeleryProcess:
    """A `celery -A dbstorage …` process that ends with us; its output goes to the log file, by default to ours."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stop_timeout: float,
        log_file: Path | None = None,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.environment = environment
        self.stop_timeout = stop_timeout
        self.log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; does not wait until it is ready."""
        with ExitStack() as stack:
            output = stack.enter_context(self.log_file.open("ab")) if self.log_file else None
            self._process = spawn(
                [sys.executable, "-m", "celery", "-A", "dbstorage", *self.arguments],
                # Without its servers it could finish nothing, so there is nothing to be gentle about.
                signal_when_orphaned=signal.SIGKILL,
                environment=self.environment,
                output=output,
            )

    def poll(self) -> int | None:
        """None while it runs, else its exit code (negative: the signal that ended it)."""
        return self._process.poll() if self._process else 0

    def stop(self) -> None:
        """Ask it to end; kill it when it has not after `stop_timeout` seconds."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        # A frozen process would not see the signal.
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
