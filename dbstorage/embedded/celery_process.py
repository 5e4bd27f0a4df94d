import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from dbstorage.embedded.files import open_log
from dbstorage.embedded.process import OURSELVES, Account, spawn


class CeleryProcess:
    """A `celery -A dbstorage …` process that ends with us. Its output goes to the log file, by default to ours."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stop_timeout: float,
        log_file: Path | None = None,
        account: Account = OURSELVES,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.environment = environment
        self.stop_timeout = stop_timeout
        self.log_file = log_file
        self.account = account
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; does not wait until it is ready."""
        with ExitStack() as stack:
            output = stack.enter_context(open_log(self.log_file)) if self.log_file else None
            self._process = spawn(
                [sys.executable, "-P", "-m", "dbstorage", *self.arguments],
                # SIGKILL when we die: without its servers it could finish nothing in any case.
                signal_when_orphaned=signal.SIGKILL,
                environment=self._environment(),
                account=self.account,
                output=output,
                reach=_what_python_needs(),
            )

    def _environment(self) -> dict[str, str]:
        """The environment; for another account with its own home directory, because ours is closed to it."""
        if self.account == OURSELVES:
            return dict(self.environment)
        known = pwd.getpwuid(self.account.user_id)
        return {**self.environment, "HOME": known.pw_dir, "USER": known.pw_name, "LOGNAME": known.pw_name}

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


def _what_python_needs() -> list[Path]:
    """Directories of the interpreter and of all packages; and the current one, from which settings may name files."""
    own = [Path(spec.origin).parent for name in ("dbstorage", "tasks") if (spec := find_spec(name)) and spec.origin]
    return [Path(sys.base_prefix), Path(sys.prefix), *own, Path.cwd()]
