"""sentry-sdk with its Celery integration, as its documentation says, and a transport that writes to a file."""

from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

from tests.service.plugged.writing import write


class FileTransport(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        event: Any = envelope.get_event()
        if event is None:
            return
        values = (event.get("exception") or {}).get("values") or []
        write(
            "event",
            level=event.get("level"),
            task=event.get("transaction"),
            tags=event.get("tags"),
            types=[value["type"] for value in values],
            values=[value["value"] for value in values],
            message=(event.get("logentry") or {}).get("message"),
            whole=event,
        )


sentry_sdk.init(dsn="https://key@localhost/1", transport=FileTransport, integrations=[CeleryIntegration()])
