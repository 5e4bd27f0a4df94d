"""What the request handlers of all our pages share."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flower.views import BaseHandler
from tornado.web import HTTPError

from dbstorage.dashboard.database import Database
from dbstorage.errors import DBStorageError
from dbstorage.printable import printable

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

    def render_page(self, template: str, **values: Any) -> None:
        """Render with what every template of ours uses."""
        self.render(template, hidden=HIDDEN, when=when, printable=printable, **values)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show the error within Flower's frame, so that its navigation is still there."""
        if status_code == 401:
            super().write_error(status_code, **kwargs)
            return
        # The login may be what failed: it is not asked for again.
        if not hasattr(self, "_current_user"):
            self.current_user = None
        sentence = sentence_of(kwargs) or _SENTENCES.get(status_code, "Flower cannot do that.")
        self.render("problem.html", status=status_code, sentence=sentence, printable=printable)


class ScriptAnswer(FlowerPage):
    """A request of one of our scripts; the answer is JSON, or a sentence where something is wrong."""

    def fail(self, error: DBStorageError) -> None:
        """Answer with 503 and the sentence."""
        self.set_status(503)
        self.finish({"error": str(error)})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the sentence alone."""
        sentence = sentence_of(kwargs)
        if status_code == 401 and not sentence:
            super().write_error(status_code, **kwargs)
            return
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(sentence or _SENTENCES.get(status_code, ""))


_SENTENCES = {
    403: "You may not do that.",
    404: "There is no such page.",
    405: "This address is not for that.",
    500: "Something went wrong in Flower: its log says what.",
}


@contextmanager
def wrong_values_refused() -> Iterator[None]:
    """Turn a ValueError, whose text is a sentence for a person, into an HTTPError 400 with that sentence."""
    try:
        yield
    except ValueError as error:
        raise HTTPError(400, "%s", error) from None


def sentence_of(error: dict[str, Any]) -> str:
    """What an HTTPError says; nothing where it is something else."""
    raised = (error.get("exc_info") or (None, None))[1]
    return str(raised.get_message() or "") if isinstance(raised, HTTPError) else ""


def when(value: datetime | None) -> str:
    """A moment as markup: in UTC, which a script turns into the reader's own time; empty where there is none."""
    if value is None:
        return "<time></time>"
    return f'<time datetime="{iso(value)}">{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z</time>'


def iso(value: datetime | None) -> str:
    """A moment for a script; empty where there is none."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def json_safe(value: Any) -> Any:
    """The value as JSON can have it (no NaN), its texts with control characters made visible."""
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
