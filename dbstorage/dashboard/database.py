from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection
from tornado.ioloop import IOLoop

from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.connected import connected
from dbstorage.settings import Settings

Result = TypeVar("Result")

#: Threads for looking up pages. They are our own, so that a slow database holds up nothing else in Flower.
THREADS = 3
#: Threads for changes to many tasks.
LONG_THREADS = 2


class Database:
    """Runs functions on a connection in a thread, so that Flower goes on meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.scope = settings.scope
        size = THREADS + LONG_THREADS
        self._engine = create_engine(settings.database, application_name="dbstorage flower", pool_size=size)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="failed-tasks")
        self._long_threads = ThreadPoolExecutor(LONG_THREADS, thread_name_prefix="failed-tasks-long")

    async def run(self, function: Callable[[Connection], Result]) -> Result:
        """The function's result; raises DatabaseUnavailableError or DatabaseNotReadyError with a sentence."""
        return await IOLoop.current().run_in_executor(self._threads, self._run, function)

    async def run_long(self, function: Callable[[Connection], Result]) -> Result:
        """The same for what may take minutes, in other threads, so that pages do not wait for it."""
        return await IOLoop.current().run_in_executor(self._long_threads, self._run, function)

    def _run(self, function: Callable[[Connection], Result]) -> Result:
        with connected(self._engine) as connection:
            return function(connection)
