"""Log lines: one line an event, as text or as JSON, on standard error or in a file."""

import json
import logging
import sys
import threading
import warnings
from collections import Counter
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from types import TracebackType
from typing import Any, TextIO

import click
from click.core import ParameterSource

from dbstorage.printable import printable, without_addresses
from dbstorage.settings import LogFormat, Settings

#: Failures of one code that are written in a second, each by itself; the rest is summed up.
MOST_A_SECOND = 10
FLOOD_SECONDS = 1.0
#: Fields that a line may carry beside its sentence.
EXTRA_FIELDS = ("task_id", "entry_id", "code")


class TextFormatter(logging.Formatter):
    """`2026-05-05T00:35:14.283Z WARNING dbstorage.reader: the sentence (entry_id=1-0)`, tracebacks on lines below."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message = printable(record.getMessage())
        # Many sentences begin with the task's id, and some task ids end with the entry's.
        named = {name for name in ("task_id", "entry_id") if str(getattr(record, name, None)) in message}
        extra = ", ".join(f"{name}={value}" for name, value in _extra(record).items() if name not in named)
        line = f"{_moment(record)} {record.levelname} {record.name}: {message}{extra and f' ({printable(extra)})'}"
        traceback = _traceback(self, record)
        return "\n".join([line, *map(printable, traceback.split("\n"))]) if traceback else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        traceback = _traceback(self, record)
        if traceback:
            fields["traceback"] = traceback
        return json.dumps(fields).replace("\x7f", "\\u007f")


class Flood(logging.Filter):
    """Lets ten failures of one code through in a second, and sums up the rest in one line at its end."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._logger = logging.getLogger("dbstorage.failures")
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        code = getattr(record, "code", None)
        if not isinstance(code, str) or record.levelno != logging.WARNING or record.name == self._logger.name:
            return True
        with self._lock:
            self._seen[code] += 1
            if self._timer is None:
                self._timer = threading.Timer(FLOOD_SECONDS, self._sum_up)
                # A worker that ends waits a second for it, so that its last line is not lost.
                self._timer.daemon = False
                self._timer.start()
            return self._seen[code] <= MOST_A_SECOND

    def _sum_up(self) -> None:
        with self._lock:
            seen, self._seen, self._timer = self._seen, Counter(), None
        for code, number in seen.items():
            if number > MOST_A_SECOND:
                left_out = number - MOST_A_SECOND
                self._logger.warning("%s more %s.", f"{left_out:,}", code, extra={"code": code})


def set_up_logging(settings: Settings, log_file: str | None = None) -> None:
    """Send everything from LOG_LEVEL on (or the level of the worker's option -l) to a file, or to standard error.

    Warnings of Python and errors that end the process become lines too. Ends the process with exit code 2 where the
    file cannot be written.
    """
    handler = _handler(log_file)
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else TextFormatter())
    handler.addFilter(Flood())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level_of_command_line() or settings.log_level)
    # Celery tells of each task it receives and finishes, which is what Flower shows, and of all that the pool is given.
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.pool"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("celery.app.trace").filters[:] = [_is_no_outcome]
    # Celery calls this too; from the second time on it replaces nothing.
    logging.captureWarnings(True)
    warnings.showwarning = _log_warning
    sys.excepthook = _log_exception
    threading.excepthook = lambda hook: _log_exception(hook.exc_type, hook.exc_value, hook.exc_traceback)


def _is_no_outcome(record: logging.LogRecord) -> bool:
    """Whether this is not Celery's traceback of a task that failed as tasks may fail: we log a sentence of our own."""
    error = record.exc_info[1] if record.exc_info else None
    return not getattr(error, "is_outcome", False)


def _handler(log_file: str | None) -> logging.Handler:
    if not log_file:
        return logging.StreamHandler(sys.stderr)
    try:
        # Follows the name, so that logrotate may move the file away.
        return WatchedFileHandler(log_file, encoding="utf-8")
    except OSError as error:
        print(f"The log file {log_file!r} cannot be written: {error.strerror}.", file=sys.stderr)
        raise SystemExit(2) from None


def _level_of_command_line() -> int | None:
    """The level given with `celery … worker -l`; None where only Celery's default stands there."""
    context = click.get_current_context(silent=True)
    if context is None or context.get_parameter_source("loglevel") is not ParameterSource.COMMANDLINE:
        return None
    level = context.params["loglevel"]
    return level if isinstance(level, int) else None


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in EXTRA_FIELDS if getattr(record, name, None) is not None}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback of the exception, or one that was caught in another process; without e-mail addresses."""
    text = formatter.formatException(record.exc_info) if record.exc_info else getattr(record, "traceback", "")
    # Our own sentences name no address; a driver's message or a bug's may.
    return without_addresses(text).rstrip("\n")


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, PendingDeprecationWarning):
        # Celery's, at each loss of its broker, about a setting that `application.configuration` makes.
        return
    words = " ".join(str(message).split())
    logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, words, filename, lineno)


def _log_exception(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger("dbstorage").critical("Unexpected %s.", kind.__name__, exc_info=(kind, error, traceback))
