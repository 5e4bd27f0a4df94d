"""The reader as a step of Celery's consumer blueprint (Celery's "Extensions and Bootsteps")."""

import logging
from contextlib import ExitStack
from typing import Any

from celery import bootsteps

from dbstorage.batch.turn import Turns
from dbstorage.reader.reader import ReaderShell
from dbstorage.settings import Settings
from dbstorage.tracing import quiet
from dbstorage.worker.celery_internals.worker_process import is_stopping, stop_worker

logger = logging.getLogger(__name__)


class ReaderStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Starts and stops the ReaderShell with the worker; see docs/architecture.md for the order of calls."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._reader: ReaderShell | None = None
        self._silence = ExitStack()
        # Made now, before the pool starts: its processes inherit the pipes.
        self._turns = Turns()

    def start(self, consumer: Any) -> None:
        """Called when the worker is connected to its broker, and again after each loss."""
        if consumer.hub is None:
            logger.critical(
                "The stream cannot be read: the broker or the pool has no event loop. "
                "Use a redis:// or amqp:// broker (CELERY_BROKER_URL) and the prefork, threads or solo pool (-P)."
            )
            stop_worker()
            return
        if self._reader is None:
            # From now on the main thread is busy even when nobody sends anything: make no spans of that.
            self._silence.enter_context(quiet())
            settings: Settings = consumer.app.settings
            self._reader = consumer.reader = ReaderShell(settings, consumer, self._turns)
            if consumer.app.conf.task_default_queue not in consumer.app.amqp.queues.consume_from:
                logger.warning(
                    "This worker takes no tasks from the queue %s (-Q): commands that come through the broker wait "
                    "for a worker that does.", consumer.app.conf.task_default_queue,
                )  # fmt: skip
        self._reader.start()

    def stop(self, consumer: Any) -> None:
        """Called when the worker stops, and when its broker is lost."""
        if self._reader is None:
            return
        if is_stopping(consumer):
            self._reader.stop()
        else:
            self._reader.pause()

    def shutdown(self, consumer: Any) -> None:
        """Called at the end, when the pool has drained; also where stop was not called."""
        if self._reader is not None:
            self._reader.finish()
            if consumer.event_dispatcher is not None:
                # Without the task events that a lost broker has not taken: sending them would delay the end.
                consumer.event_dispatcher.flush(errors=False)
