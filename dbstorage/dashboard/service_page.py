"""The page **Service**: how the service stands, an hour of it, and pausing; and the banner on every page of Flower."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from flower.api import BaseApiHandler
from sqlalchemy import Connection
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, authenticated, url

from dbstorage.dashboard.access import person, shows_payloads
from dbstorage.dashboard.database import Database
from dbstorage.dashboard.pages import FlowerPage, ScriptAnswer, json_safe
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.trail import PAUSE, RESUME, Operation, read_operations, record_alone
from dbstorage.find import find
from dbstorage.operating.last_hour import KEPT_SECONDS
from dbstorage.operating.pause import pause_service, resume_service
from dbstorage.operating.verdict import Verdict
from dbstorage.printable import printable
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.settings import Settings
from dbstorage.status import ServiceStatus, read_status, read_verdict

Value = TypeVar("Value")

ASSETS = Path(__file__).parent / "assets"
TYPES = {".js": "text/javascript; charset=UTF-8", ".css": "text/css; charset=UTF-8"}
#: Seconds for which a look-up is kept for everybody who asks.
FRESH_SECONDS = 2.0
#: How many operations the page shows.
MOST_OPERATIONS = 20
THREADS = 3
#: The most characters that a search may have.
LONGEST_SEARCH = 500


class Looks(Generic[Value]):
    """Looks something up in a thread, once for all requests at about the same time."""

    def __init__(self, threads: ThreadPoolExecutor, look: Callable[[], Value]) -> None:
        self._threads = threads
        self._look = look
        self._running: asyncio.Future[Value] | None = None
        self._found_at = -math.inf

    async def get(self) -> Value:
        """The last result if it is fresh, else a new one."""
        running = self._running
        if running is None or (running.done() and time.monotonic() - self._found_at > FRESH_SECONDS):
            running = self._running = asyncio.ensure_future(self._in_thread())
        return await asyncio.shield(running)

    def forget(self) -> None:
        """Drop the result: the next request looks anew."""
        self._running = None

    async def _in_thread(self) -> Value:
        try:
            return await IOLoop.current().run_in_executor(self._threads, self._look)
        finally:
            self._found_at = time.monotonic()


class ServiceState:
    """How the service stands, for all pages of one Flower."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="service")
        # One at a time: each reads the whole stream.
        self.searches = ThreadPoolExecutor(1, thread_name_prefix="find")
        self.verdict: Looks[Verdict] = Looks(self.threads, lambda: read_verdict(settings))
        self.status: Looks[ServiceStatus] = Looks(self.threads, lambda: read_status(settings, KEPT_SECONDS))


def service_routes(settings: Settings, database: Database) -> list[Any]:
    """The page's addresses."""
    shared = {"database": database, "service": ServiceState(settings)}
    return [
        url(r"/service", ServicePage, {"database": database}, name="service"),
        url(r"/service/find", FindPage, shared, name="service_find"),
        url(r"/service/state", StateAnswer, shared, name="service_state"),
        url(r"/service/verdict", VerdictAnswer, shared, name="service_verdict"),
        url(r"/service/(pause|resume)", PauseOrResume, shared, name="service_pause"),
        url(r"/service/assets/([a-z0-9.-]+)", Asset, {"database": database}, name="service_asset"),
    ]


class ServicePage(FlowerPage):
    """The page itself. Its script loads everything on it, so the page comes even while servers are away."""

    @authenticated
    def get(self) -> None:
        """Show it."""
        self.render_page("service.html")


class _ServiceHandler(FlowerPage):
    service: ServiceState

    def initialize(self, database: Database, service: ServiceState) -> None:  # type: ignore[override]
        """Take what the route gives."""
        super().initialize(database)
        self.service = service


class VerdictAnswer(_ServiceHandler, ScriptAnswer):
    """The verdict alone, for the banner."""

    @authenticated
    async def get(self) -> None:
        """Answer with it; a server that is away is part of the answer, not an error."""
        verdict = await self.service.verdict.get()
        self.finish({"standing": verdict.standing.value, "sentence": printable(verdict.sentence)})


class StateAnswer(_ServiceHandler, ScriptAnswer):
    """Everything that the page shows."""

    @authenticated
    async def get(self) -> None:
        """Answer with it; what cannot be asked is null."""
        status = await self.service.status.get()
        operations = None
        if status.database.problem is None:
            try:
                operations = await self.database.run(self._operations)
            except DBStorageError:
                operations = None
        self.finish(json_safe(state_of(status, operations)))

    def _operations(self, connection: Connection) -> list[Operation]:
        return read_operations(connection, self.database.scope, MOST_OPERATIONS)


class FindPage(_ServiceHandler):
    """The search: where an order, a user or an entry is."""

    @authenticated
    async def get(self) -> None:
        """Look for it, and show it."""
        what = self.get_query_argument("what", "").strip()
        if not what:
            self.redirect(self.reverse_url("service"))
            return
        look = partial(find, self.service.settings, what[:LONGEST_SEARCH])
        found = await IOLoop.current().run_in_executor(self.service.searches, look)
        if found.problems:
            self.set_status(503)
        self.render_page("find.html", found=found, shows_payloads=shows_payloads())


class PauseOrResume(_ServiceHandler, ScriptAnswer, BaseApiHandler):  # type: ignore[misc]
    """Pausing and resuming; open to whom Flower's API is open."""

    @authenticated
    async def post(self, what: str) -> None:
        """Pause or resume; answer with a sentence."""
        if self.application.options.read_only:
            raise HTTPError(403, "Read only mode is enabled")
        who, reason = person(self), self.get_body_argument("reason", "")
        settings = self.service.settings

        def change() -> str:
            with connect_redis(settings.redis_url) as redis, redis_errors_explained():
                if what == PAUSE:
                    pause = pause_service(redis, settings, reason, who)
                    done, noted = "The service is paused.", pause.reason
                elif resume_service(redis, settings) is None:
                    return "The service was not paused."
                else:
                    done, noted = "The service goes on.", reason
            unrecorded = record_alone(settings, PAUSE if what == PAUSE else RESUME, who, reason=noted or None)
            return done if unrecorded is None else f"{done} It is not in the list of operations: {unrecorded}"

        try:
            sentence = await IOLoop.current().run_in_executor(self.service.threads, change)
        except DBStorageError as error:
            self.fail(error)
            return
        self.service.verdict.forget()
        self.service.status.forget()
        self.finish({"sentence": sentence})


class Asset(ScriptAnswer):
    """Scripts and styles."""

    @authenticated
    def get(self, name: str) -> None:
        """Send one."""
        path = ASSETS / name
        if path.suffix not in TYPES or not path.is_file():
            raise HTTPError(404)
        self.set_header("Content-Type", TYPES[path.suffix])
        self.finish(path.read_bytes())


def state_of(status: ServiceStatus, operations: list[Operation] | None) -> dict[str, Any]:
    """What the page shows, as JSON takes it."""
    redis, database = asdict(status.redis), asdict(status.database)
    return {
        "verdict": {**status.verdict._asdict(), "exit_code": status.verdict.exit_code},
        "redis": {**redis, "paused": None if status.redis.paused is None else status.redis.paused._asdict()},
        "database": database,
        "operations": None
        if operations is None
        else [
            {**vars(each), "at": each.at.astimezone(UTC).isoformat(), "number": each.number, "which": each.which}
            for each in operations
        ],
    }
