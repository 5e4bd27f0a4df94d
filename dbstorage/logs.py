"""Log lines: one line an event, as text or as JSON, on standard error."""

import json
import logging
import sys
from datetime import UTC, datetime

from dbstorage.settings import LogFormat, Settings

#: Fields that a line may carry beside its sentence.
EXTRA_FIELDS = ("task_id", "entry_id", "code")


class TextFormatter(logging.Formatter):
    """`2026-05-05T00:35:14.283Z WARNING dbstorage.reader: the sentence`, tracebacks on lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in EXTRA_FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up_logging(settings: Settings) -> None:
    """Send everything from LOG_LEVEL on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # Celery tells of each task it receives and finishes; that is what Flower shows.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
