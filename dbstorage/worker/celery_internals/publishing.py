"""Task events, published in large messages that never hold up the event loop.

Leans on `EventDispatcher._group_buffer`, `buffer_limit` and `send(retry=)`.
"""

import time
from collections.abc import Iterable
from typing import Any

import orjson
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from celery.events.event import group_from
from celery.utils.time import utcoffset
from kombu.serialization import register

#: How many task events are published in one message. Larger messages cost more for each event.
EVENT_BUFFER = 1_000
#: The serializer of events: JSON, for Flower and everybody else, written five times as fast.
EVENT_SERIALIZER = "orjson"


def register_event_serializer() -> None:
    """Make EVENT_SERIALIZER known; what it writes is read as any JSON."""
    register(  # type: ignore[no-untyped-call]
        EVENT_SERIALIZER, lambda value: orjson.dumps(value).decode(), orjson.loads, "application/json", "utf-8"
    )


class BatchingDispatcher(EventDispatcher):  # type: ignore[misc]  # Celery has no types
    """Publishes task events in large messages and gives up at once when the broker does not take them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.buffer_limit = EVENT_BUFFER

    def send_all(self, type: str, events: Iterable[dict[str, Any]]) -> None:
        """Send many events of one type at one moment; what they have in common is prepared once."""
        common = {
            "type": type,
            "hostname": self.hostname,
            "utcoffset": utcoffset(),
            "pid": self.pid,
            "clock": self.clock.forward(),
            "timestamp": time.time(),
        }
        self._group_buffer[group_from(type)].extend({**common, **event} for event in events)
        self.flush()

    def send(self, type: str, *arguments: Any, **fields: Any) -> Any:
        """Send an event; a frozen broker must not freeze the event loop, so nothing is retried."""
        fields["retry"] = False
        return super().send(type, *arguments, **fields)


class BatchingEvents(Events):  # type: ignore[misc]
    """Makes the app use BatchingDispatcher."""

    dispatcher_cls = BatchingDispatcher
