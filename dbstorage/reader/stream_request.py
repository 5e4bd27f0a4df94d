"""An entry of the stream as Celery's inspection and Flower know it: as a task request."""

import logging
from typing import Any

from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import identify, identify_undecodable
from dbstorage.errors import RejectedEntry
from dbstorage.reader.messages import Entry
from dbstorage.wire.entry import StreamEntry

logger = logging.getLogger(__name__)


class StreamRequest:
    """An entry in hand, with what Celery asks of any request that it lists or cancels.

    It is made, and named, when somebody asks. `started`: when its job began, in seconds since 1970; 0 while it waits.
    """

    acknowledged = False
    worker_pid: int | None = None

    class task:  # Celery reads `request.task.acks_late`
        """In the place of a Celery task, of which only the options are asked."""

        acks_late = True

    def __init__(self, entry: Entry, hostname: str, started: float) -> None:
        try:
            identity = identify(decode(StreamEntry(entry.id, entry.fields)))
        except RejectedEntry:
            identity = identify_undecodable(entry.id)
        self.id = identity.task_id
        self.name = identity.name
        self.summary = identity.summary
        self.entry_id = entry.id
        self.hostname = hostname
        self.received = entry.received
        self.started = started
        # Set by Celery when its connection to the broker is made anew.
        self.eventer: Any = None

    @property
    def time_start(self) -> float:
        """When its batch began to run, in seconds since 1970; 0 while it waits."""
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
