"""How a task that an operator called through the broker runs."""

import logging
import random
from typing import Any

from celery import Task
from celery.exceptions import Retry

from dbstorage.errors import DatabaseUnavailableError, RedisUnavailableError
from dbstorage.settings import Settings
from dbstorage.storage.call import run_call
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.resources import resources_of
from dbstorage.wire.entry import Layout, Request

logger = logging.getLogger(__name__)

#: Longest pause between two attempts while a server is away, in seconds.
LONGEST_PAUSE = 5.0


class TaskFailed(Exception):
    """Raised to tell Celery that a task failed; the text is its code and a sentence."""


class StorageTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task whose failures are outcomes of ours, not bugs."""

    abstract = True
    Request = "dbstorage.worker.requests:BrokerRequest"
    throws = (TaskFailed,)
    max_retries = None

    def run_storage(self, body: dict[str, Any]) -> str:
        """Run the call and return its outcome's name.

        Raises TaskFailed, or Retry where another attempt follows.
        """
        settings: Settings = self.app.settings
        resources = resources_of(settings)
        try:
            body = {name: value for name, value in body.items() if value is not None}
            function = body.get("function")
            outcome = run_call(resources, Request(None, Layout.ENVELOPE, function, body), self.request.id)
        except (DatabaseUnavailableError, RedisUnavailableError) as error:
            # An outage counts no attempt.
            raise self.retry(exc=error, countdown=random.uniform(0.5, LONGEST_PAUSE), throw=False) from error
        if outcome.status is Status.FAILED:
            task_id = self.request.id
            extra = {"task_id": task_id, "code": outcome.code}
            logger.warning("%s failed: %s", task_id, outcome.message, extra=extra)
        return told(outcome)


def told(outcome: Outcome) -> str:
    """The outcome as Celery wants it: a result, or an exception."""
    if outcome.status is Status.FAILED:
        raise TaskFailed(f"{outcome.code}: {outcome.message}")
    if outcome.status is Status.RETRYING:
        # The record says when; the sweep runs the task again.
        raise Retry(f"{outcome.code}: {outcome.message}")
    return outcome.status.value
