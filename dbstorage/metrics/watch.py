"""A thread beside the event loop; it keeps running while Celery reconnects to its broker.

It gathers figures for metrics and readiness, reports to the other processes of the service how this worker is doing,
and writes a log line every minute.
"""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace

from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError

from dbstorage.database.catalog import failed_tasks_bytes
from dbstorage.database.engine import create_engine
from dbstorage.database.sqlstate import ErrorClass, classify, describe
from dbstorage.errors import LockedError
from dbstorage.failed_tasks.connected import lock_named
from dbstorage.metrics.figures import TOUCH_FAILED, Figures, count_failed_tasks, read_stream, refusal_of, used_numbers
from dbstorage.metrics.full_log import FullLog
from dbstorage.metrics.journal import Journal
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.operating.broker_problem import broker_problem
from dbstorage.operating.facts import with_workers
from dbstorage.operating.pause import read_pause
from dbstorage.operating.verdict import Facts, Verdict, judge, without_sentinels
from dbstorage.operating.workers import read_workers
from dbstorage.redis_access.client import connect_redis, silence_of_sentinels
from dbstorage.redis_access.kind import other_kind
from dbstorage.redis_access.memory import full_redis
from dbstorage.settings import Settings
from dbstorage.tracing import quiet

logger = logging.getLogger("dbstorage.metrics")

GATHER_SECONDS = 2.0
#: How often this worker reports to the others, where no metrics are served.
TELL_SECONDS = 5.0
#: Less often, because there may be millions of them.
COUNT_SECONDS = 10.0
#: Less often than Redis and the database, because a connection is made each time; nothing is wrong as far as is known.
BROKER_SECONDS = 5.0
MINUTE = 60.0
REDIS_TIMEOUT = 1.0
STATEMENT_TIMEOUT = 2.0


class Watch:
    """Gathers figures for metrics and readiness where they are served, and logs a line every `minute` seconds."""

    def __init__(
        self,
        settings: Settings,
        metrics: ServiceMetrics,
        *,
        gather_seconds: float = GATHER_SECONDS,
        minute: float = MINUTE,
        node: str = "",
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._pause = gather_seconds if settings.metrics_port is not None else min(TELL_SECONDS, minute)
        self._minute = minute
        self._redis = connect_redis(settings.redis_url, REDIS_TIMEOUT)
        self._engine = create_engine(
            settings.database, application_name="dbstorage metrics", statement_timeout=STATEMENT_TIMEOUT
        )
        self._journal = Journal(settings, metrics, self._redis, node) if node else None
        self._figures = Figures()
        self._count_at = 0.0
        self._ask_broker_at = 0.0
        self._broker_problem: str | None = None
        #: What Redis does not take, although it serves the command stream.
        self._refusal: str | None = None
        self._full_log = FullLog()
        self._logged = replace(metrics.totals)
        self._started_at = time.monotonic()
        self._stopped = False
        self._thread = threading.Thread(target=self._run_quietly, name="dbstorage-metrics", daemon=True)

    def start(self) -> None:
        """Start the thread; it ends with the process."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._metrics.news.set()
        self._thread.join()
        self._redis.close()
        self._engine.dispose()

    def _run_quietly(self) -> None:
        with quiet():
            self._run()

    def _run(self) -> None:
        serves = self._settings.metrics_port is not None
        log_at = self._started_at + self._minute
        while True:
            try:
                if serves:
                    self.gather()
                else:
                    self._gather_stream()
                self._tell()
                if time.monotonic() >= log_at:
                    log_at += self._minute
                    self.log_line()
            except Exception:
                # A fault in the metrics must not keep orders from being stored, nor end this thread.
                logger.exception("The metrics could not be gathered.")
            pause = log_at - time.monotonic()
            # News wakes the thread, so that the others hear of them at once.
            self._metrics.news.wait(max(0.0, min(pause, self._pause)))
            if self._stopped:
                return
            self._metrics.news.clear()

    def _tell(self) -> None:
        """Report to the others, if Redis takes it: a full one does not."""
        if self._journal is not None and self._figures.redis_up:
            with suppress(RedisError, OSError):
                self._journal.tell(self._figures)

    def gather(self) -> None:
        """Ask Redis and the database, and show what they said."""
        redis_problem, database_problem = self._gather_stream(), self._gather_database()
        broker_away = self._ask_broker()
        problems = (redis_problem, self._refusal, database_problem, broker_away)
        away = [sentence for sentence in problems if sentence is not None]
        self._figures = replace(self._figures, verdict=self._verdict(redis_problem, database_problem, broker_away))
        self._metrics.figures_gathered(self._figures)
        silence = silence_of_sentinels(self._redis)
        self._metrics.health.servers_asked(*away, remark=None if silence is None else without_sentinels(silence))

    def _ask_broker(self) -> str | None:
        now = time.monotonic()
        wrong = self._broker_problem is not None or not self._metrics.health.connected
        if wrong or now >= self._ask_broker_at:
            self._ask_broker_at = now + BROKER_SECONDS
            self._broker_problem = broker_problem(self._settings)
        return self._broker_problem

    def _verdict(
        self, redis_problem: str | None, database_problem: str | None, broker_away: str | None
    ) -> Verdict | None:
        stream = self._figures.stream
        if redis_problem is not None or stream is None:
            return judge(Facts(now=time.time(), redis_problem=redis_problem, database_problem=database_problem))
        try:
            workers = read_workers(self._redis, self._settings)
            pause = read_pause(self._redis, self._settings)
        except (RedisError, OSError):
            return None
        facts = Facts(
            now=time.time(),
            stream=self._settings.command_stream,
            pause=pause,
            redis_refusal=self._refusal,
            silent_sentinels=silence_of_sentinels(self._redis),
            lost=stream.lost,
            database_problem=database_problem,
            broker_problem=broker_away,
            unread=stream.lag,
            pending=stream.pending,
            oldest_unread_seconds=stream.oldest_unread_age,
            oldest_pending_seconds=stream.oldest_pending_age,
        )
        return judge(with_workers(facts, workers))

    def log_line(self) -> None:
        """Write the line of this minute."""
        now, before = replace(self._metrics.totals), self._logged
        self._logged = now
        lag = self._figures.stream.lag if self._figures.stream else None
        logger.info(
            "ordersStored=%d queriesProcessed=%d errors=%d uptime=%ds lag=%s",
            now.orders_stored - before.orders_stored,
            now.queries_processed - before.queries_processed,
            now.errors - before.errors,
            time.monotonic() - self._started_at,
            "unknown" if lag is None else lag,
        )

    def _gather_stream(self) -> str | None:
        self._refusal = None
        try:
            stream = read_stream(self._redis, self._settings)
            full = full_redis(self._redis)
            self._full_log.seen(full, time.monotonic())
            if stream is not None:
                self._refusal = refusal_of(self._redis, self._settings)
            problem = None if stream is not None else other_kind(self._redis, self._settings.command_stream)
        except (RedisError, OSError) as error:
            refused = isinstance(error, ResponseError)
            self._figures = replace(self._figures, redis_up=refused, redis_full=None, stream=None)
            return f"Redis {'refuses our commands' if refused else 'does not answer'}: {str(error).rstrip('.')}."
        self._figures = replace(self._figures, redis_up=True, redis_full=full is not None, stream=stream)
        return problem

    def _gather_database(self) -> str | None:
        try:
            with lock_named(self._engine) as connection:
                connection.execute(TOUCH_FAILED)
        except LockedError as error:
            self._figures = replace(self._figures, database_up=True, failed_tasks=None)
            self._count_at = 0.0
            return str(error)
        except SQLAlchemyError as error:
            answered = classify(error) is not ErrorClass.OUTAGE
            self._figures = replace(self._figures, database_up=answered, failed_tasks=None)
            self._count_at = 0.0
            if not answered:
                self._engine.dispose()
            return f"The database {'is not ready' if answered else 'does not answer'}: {describe(error)}."
        self._figures = replace(self._figures, database_up=True)
        if time.monotonic() >= self._count_at:
            self._count_failed_tasks()
        return None

    def _count_failed_tasks(self) -> None:
        self._count_at = time.monotonic() + COUNT_SECONDS
        try:
            with self._engine.connect() as connection:
                failed_tasks = count_failed_tasks(connection, self._settings.scope)
                sequences = used_numbers(connection)
                taken = failed_tasks_bytes(connection)
        except SQLAlchemyError as error:
            # There may be too many to count within the time limit: the database is not away for that.
            logger.debug("The failed tasks could not be counted: %s", describe(error))
            self._figures = replace(self._figures, failed_tasks=None, failed_tasks_bytes=None, sequences=None)
        else:
            self._figures = replace(
                self._figures, failed_tasks=failed_tasks, failed_tasks_bytes=taken, sequences=sequences
            )
