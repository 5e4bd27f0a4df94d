"""Names the session that holds a lock, and says whom a long statement waits for while it waits."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dbstorage.database.engine import create_engine
from dbstorage.database.sqlstate import describe
from dbstorage.database.url import DatabaseAddress

logger = logging.getLogger(__name__)

#: A moment and not an age: the sentence stays true where it is kept, and the same while the lock lasts.
SINCE = "to_char(activity.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
#: Whom a session waits for; of several the one whose transaction has been open for longest.
_BLOCKER = f"""
SELECT activity.pid, activity.application_name, activity.state, {SINCE} AS since
FROM pg_stat_activity AS activity WHERE activity.pid = ANY(pg_blocking_pids(%s))
ORDER BY activity.xact_start LIMIT 1
"""
#: How often it is looked, in seconds.
LOOK_SECONDS = 1.0


class LockHolder(NamedTuple):
    """The session that holds a lock, as far as PostgreSQL shows it to us."""

    process_id: int | None = None
    application: str | None = None
    state: str | None = None
    #: Since when its transaction is open, in UTC.
    since: str | None = None

    def __str__(self) -> str:
        """Name it as it stands in a sentence."""
        if self.process_id is None:
            return "another session"
        told = [f'application "{self.application}"'] if self.application else []
        if self.state:
            told.append(
                self.state if self.since is None else f"{self.state}, its transaction open since {self.since} UTC"
            )
        return f"session {self.process_id}" + (f" ({', '.join(told)})" if told else "")


@contextmanager
def waits_told(
    address: DatabaseAddress, connection: Connection, tell: Callable[[LockHolder], None]
) -> Iterator[Callable[[], LockHolder | None]]:
    """While this lasts, `tell` of each session that the connection waits for, within two seconds, once.

    Called from a thread. Gives a function that returns whom it was seen waiting for last.
    """
    waiting: int = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    ended = threading.Event()
    seen: list[LockHolder] = []

    def look() -> None:
        engine = create_engine(address, application_name="dbstorage lock watch")
        try:
            while not ended.wait(LOOK_SECONDS):
                with engine.connect() as looking:
                    row = looking.exec_driver_sql(_BLOCKER, (waiting,)).first()
                holder = LockHolder(*row) if row else None
                if holder is not None and (not seen or seen[-1].process_id != holder.process_id):
                    seen.append(holder)
                    tell(holder)
        except SQLAlchemyError as error:
            # The statement goes on all the same, and says itself what is wrong.
            logger.debug("It could not be looked whom the statement waits for: %s", describe(error))
        finally:
            engine.dispose()

    thread = threading.Thread(target=look, name="dbstorage-lock-watch", daemon=True)
    thread.start()
    try:
        yield lambda: seen[-1] if seen else None
    finally:
        ended.set()
        thread.join()
