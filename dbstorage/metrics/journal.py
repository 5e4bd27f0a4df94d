"""What a worker reports to the other processes of the service, through Redis: its state, and ten seconds of work."""

import os
import platform
import time
from dataclasses import replace
from statistics import median

from redis import Redis

from dbstorage import __version__
from dbstorage.metrics.figures import Figures
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.operating.last_hour import POINT_SECONDS, Point, add_point
from dbstorage.operating.workers import KEPT_SECONDS, WorkerReport, write_report
from dbstorage.settings import Settings

#: Seconds between two looks for workers that have been silent for long.
FORGET_SECONDS = 600.0


class Journal:
    """Writes the reports of one worker; `node` is its name."""

    def __init__(self, settings: Settings, metrics: ServiceMetrics, redis: Redis, node: str) -> None:
        self._settings = settings
        self._metrics = metrics
        self._redis = redis
        self._node = node
        self._holding: str | None = None
        self._holding_since: float | None = None
        self._told = replace(metrics.totals)
        self._point_at = time.time()
        self._forget_at = 0.0

    def tell(self, figures: Figures) -> None:
        """Report how this worker is doing, and every ten seconds add a point to the history.

        Raises RedisError and OSError.
        """
        now = time.time()
        # One reason may follow another: what counts is since when nothing is stored.
        holding = self._metrics.holding
        if (holding is None) is not (self._holding is None):
            self._holding_since = None if holding is None else now
        self._holding = holding
        forget = now >= self._forget_at
        report = WorkerReport(
            node=self._node,
            host=platform.node(),
            process_id=os.getpid(),
            version=__version__,
            state=self._metrics.health.state.value,
            holding=holding,
            holding_since=self._holding_since,
            refusal=self._metrics.refusal,
            rests=self._metrics.rests,
            at=now,
        )
        write_report(self._redis, self._settings, report, forget_before=now - KEPT_SECONDS if forget else None)
        if forget:
            self._forget_at = now + FORGET_SECONDS
        if now - self._point_at >= POINT_SECONDS:
            add_point(self._redis, self._settings, self._point(now, figures))

    def _point(self, now: float, figures: Figures) -> Point:
        totals, before = replace(self._metrics.totals), self._told
        seconds, self._told, self._point_at = now - self._point_at, totals, now
        answers = [self._metrics.answers.popleft() * 1000 for _ in range(len(self._metrics.answers))]
        stream = figures.stream
        ages = (stream.oldest_pending_age, stream.oldest_unread_age) if stream else ()
        return Point(
            at=now,
            seconds=round(seconds, 1),
            entries=totals.entries - before.entries,
            stored=totals.orders_stored - before.orders_stored,
            answered=totals.queries_processed - before.queries_processed,
            failed=totals.failed - before.failed,
            answer_median=round(median(answers), 2) if answers else None,
            answer_slowest=round(max(answers), 2) if answers else None,
            unread=stream.lag if stream else None,
            pending=stream.pending if stream else None,
            oldest=max((age for age in ages if age is not None), default=None),
        )
