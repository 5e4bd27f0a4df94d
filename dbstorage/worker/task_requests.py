"""Task requests: how entries of the stream, and tasks of the broker, appear to Celery's inspection and to Flower."""

import logging
from typing import Any

from celery.worker.request import Request

from dbstorage.printable import without_addresses
from dbstorage.storage.outcome import Status

logger = logging.getLogger(__name__)


class BrokerRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task called through the broker; shows its arguments without e-mail addresses.

    The caller's Celery writes the arguments as text into the message, for events and pages to show.
    """

    @property
    def argsrepr(self) -> str:
        """The positional arguments as text."""
        return without_addresses(str(super().argsrepr))

    @property
    def kwargsrepr(self) -> str:
        """The named arguments as text."""
        return without_addresses(str(super().kwargsrepr))

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect active` shows."""
        shown: dict[str, Any] = super().info(safe=safe)
        shown["args"], shown["kwargs"] = self.argsrepr, self.kwargsrepr
        return shown

    def send_event(self, type: str, **fields: Any) -> None:
        """Send a task event; those of an end are counted here, in the main process, whatever process ran the task."""
        super().send_event(type, **fields)
        status = status_at_end(type, fields.get("result"))
        if status is not None:
            self.app.metrics.call_finished(self.name, status)


def status_at_end(event_type: str, result: str | None) -> Status | None:
    """What an event says of a task that ended; None where it did not end. `result` is its result as Python text."""
    if event_type == "task-failed":
        return Status.FAILED
    if event_type == "task-retried":
        return Status.RETRYING
    if event_type != "task-succeeded":
        return None
    return Status((result or "").strip("'"))
