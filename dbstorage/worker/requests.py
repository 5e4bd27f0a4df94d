"""Task requests: how entries of the stream, and tasks of the broker, appear to Celery's inspection and to Flower."""

import logging
from typing import Any

from celery.worker.request import Request

from dbstorage.commands.interpret import Identity
from dbstorage.printable import without_addresses
from dbstorage.storage.outcome import Status
from dbstorage.wire.entry import StreamEntry

logger = logging.getLogger(__name__)


class StreamRequest:
    """An entry of the stream as a Celery task request; light, because there are tens of thousands a second."""

    __slots__ = ("__weakref__", "entry_id", "eventer", "hostname", "id", "name", "received", "started", "summary")

    #: What Celery asks of any request that it lists or cancels.
    acknowledged = False
    worker_pid: int | None = None

    class task:  # Celery reads `request.task.acks_late`
        """Stands for the task's options."""

        acks_late = True

    def __init__(self, entry: StreamEntry, identity: Identity, hostname: str, received: float) -> None:
        self.id = identity.task_id
        self.name = identity.name
        self.summary = identity.summary
        self.entry_id = entry.id
        self.hostname = hostname
        self.received = received
        self.started = 0.0
        # Set by Celery when its connection to the broker is made anew.
        self.eventer: Any = None

    @property
    def time_start(self) -> float:
        """When its batch was handed to the pool, in seconds since 1970."""
        return self.started

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect active` shows."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.summary,
            "kwargs": {"entry_id": self.entry_id},
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.started or None,
            "acknowledged": False,
            "delivery_info": {"exchange": "", "routing_key": "stream", "priority": 0, "redelivered": False},
            "worker_pid": None,
        }

    def revoked(self) -> bool:
        """An entry of the stream cannot be revoked: nothing is lost by a click."""
        return False

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Flower's Terminate: refused, because a whole batch would run again."""
        logger.warning("Not terminated: %s is an entry of the stream and runs to its end.", self.id)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Celery's cancellation at a cold shutdown: the entry stays pending and is delivered again."""


class BrokerRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task called through the broker; shows its arguments without e-mail addresses.

    Who calls it writes its arguments as text into the message, as events and pages are to show them.
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
