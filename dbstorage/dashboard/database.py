from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection
from tornado.ioloop import IOLoop

from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.connected import connected
from dbstorage.settings import Settings

Result = TypeVar("Result")

#: Pages that are looked up at the same time; threads of our own, so that a slow database holds up nothing else.
THREADS = 3


class Database:
    """Runs functions on a connection in a thread, so that Flower goes on meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self.scope = settings.scope
        self._engine = create_engine(settings.database, application_name="dbstorage flower", pool_size=THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="failed-tasks")

    async def run(self, function: Callable[[Connection], Result]) -> Result:
        """The function's result; raises DatabaseUnavailableError or DatabaseNotReadyError with a sentence."""
        return await IOLoop.current().run_in_executor(self._threads, self._run, function)

    def _run(self, function: Callable[[Connection], Result]) -> Result:
        with connected(self._engine) as connection:
            return function(connection)
