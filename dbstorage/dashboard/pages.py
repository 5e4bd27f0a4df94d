"""What the requests of all our pages share."""

import math
from datetime import UTC, datetime
from typing import Any

from flower.views import BaseHandler

from dbstorage.dashboard.database import Database
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.readable import printable

HIDDEN = "Without a login, payloads are shown on this machine only: start Flower with FLOWER_BASIC_AUTH=user:password."


class FlowerPage(BaseHandler):  # type: ignore[misc]  # Flower has no types
    """A request of ours. Whoever may use Flower may use it; what Flower's API refuses, it refuses."""

    database: Database

    def initialize(self, database: Database) -> None:
        """Take what the route gives."""
        self.database = database

    def set_default_headers(self) -> None:
        """Payloads stay in no cache."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    @property
    def refusal(self) -> str | None:
        """Why nothing can be changed here; None where it can."""
        options = self.application.options
        if options.read_only:
            return "Flower is in read-only mode."
        if not (options.basic_auth or options.auth or self.unauthenticated_api):
            return (
                "Without authentication tasks cannot be retried or discarded here: start Flower with "
                "FLOWER_BASIC_AUTH=user:password, or use the command dbstorage failed."
            )
        return None

    def render_page(self, template: str, **values: Any) -> None:
        """Render with what every template of ours uses."""
        self.render(template, refusal=self.refusal, hidden=HIDDEN, moment=moment, printable=printable, **values)

    def fail(self, error: DBStorageError) -> None:
        """Answer a script: 503 and the sentence."""
        self.set_status(503)
        self.finish({"error": str(error)})


def moment(value: datetime | None) -> str:
    """A moment as a page shows it, in UTC; empty where there is none."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if value is not None else ""


def json_safe(value: Any) -> Any:
    """The value without what JSON does not have, and its texts without what would act on a reader."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case str():
            return printable(value)
        case dict():
            return {str(name): json_safe(item) for name, item in value.items()}
        case list() | tuple():
            return [json_safe(item) for item in value]
    return value
