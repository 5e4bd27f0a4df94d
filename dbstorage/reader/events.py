"""Task events for Flower: each outcome as one complete event, successes thinned when there are too many."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from dbstorage.reader.messages import Entry
from dbstorage.reader.sampling import Sampler
from dbstorage.reader.stream_request import StreamRequest
from dbstorage.settings import TaskEvents
from dbstorage.storage.failures import told_id
from dbstorage.storage.outcome import Outcome, Retried, Status

_FAILURES = (Status.FAILED, Status.RETRYING)


class TaskEventSender:
    """Sends the outcomes of batches through the worker's event dispatcher."""

    def __init__(self, mode: TaskEvents) -> None:
        self.mode = mode
        self._sampler = Sampler(time.monotonic())

    def send(
        self,
        dispatcher: Any,
        finished: Sequence[tuple[Entry, Outcome]],
        request_of: Callable[[Entry], StreamRequest],
        runtime: float,
    ) -> None:
        """Send the events of finished tasks; `runtime` is each task's share of its batch's time, in seconds."""
        if dispatcher is None or not dispatcher.enabled:
            return
        if dispatcher.groups and "task" not in dispatcher.groups:
            return
        failures = [each for each in finished if each[1].code is not None and each[1].status in _FAILURES]
        for entry, outcome in failures:
            kind = "task-failed" if outcome.status is Status.FAILED else "task-retried"
            about = fields(request_of(entry), outcome)
            dispatcher.send(kind, exception=described(outcome), traceback=None, **about)
        told = self._chosen([each for each in finished if each[1].status not in _FAILURES] if failures else finished)
        if told:
            dispatcher.send_all(
                "task-succeeded",
                (
                    {
                        "result": f"'{outcome.code or outcome.status}'",
                        "runtime": runtime,
                        **fields(request_of(entry), outcome),
                    }
                    for entry, outcome in told
                ),
            )

    def send_retried(self, dispatcher: Any, retried: Sequence[Retried]) -> None:
        """Send the events of failed tasks that were run again; of many that succeed, a sample."""
        if dispatcher is None or not dispatcher.enabled or (dispatcher.groups and "task" not in dispatcher.groups):
            return
        successes = []
        for each in retried:
            if each.outcome.code is not None:
                kind = "task-failed" if each.outcome.status is Status.FAILED else "task-retried"
                dispatcher.send(kind, exception=described(each.outcome), traceback=None, **retried_fields(each))
            else:
                successes.append(each)
        if self.mode is not TaskEvents.ALL:
            # Sent with TASK_EVENTS=failures, too: Flower has shown the failure and should show how it ended.
            successes = list(self._sampler.choose(successes, time.monotonic()))
        dispatcher.send_all(
            "task-succeeded",
            ({"result": f"'{each.outcome.status}'", "runtime": 0.0, **retried_fields(each)} for each in successes),
        )

    def _chosen(self, successes: Sequence[tuple[Entry, Outcome]]) -> Sequence[tuple[Entry, Outcome]]:
        if self.mode is TaskEvents.FAILURES:
            return ()
        if self.mode is TaskEvents.ALL:
            return successes
        return self._sampler.choose(successes, time.monotonic())


def described(outcome: Outcome) -> str:
    """An outcome as Flower shows an exception."""
    return f"{outcome.code}: {outcome.message}"


def fields(request: StreamRequest, outcome: Outcome) -> dict[str, Any]:
    """What makes one event a complete task in Flower; times in seconds since 1970."""
    task_id = told_id(request.id, request.entry_id, outcome)
    return {
        "uuid": task_id,
        "name": request.name,
        "args": f"({request.summary})",
        "kwargs": f"{{'entry_id': '{request.entry_id}'}}",
        "retries": 0,
        "root_id": task_id,
        "received": request.received,
        "started": request.started,
    }


def retried_fields(retried: Retried) -> dict[str, Any]:
    """The fields of the event of a failed task that was run again."""
    now = time.time()
    return {
        "uuid": retried.task_id,
        "name": retried.name,
        "args": f"({retried.summary})",
        "kwargs": f"{{'entry_id': '{retried.entry_id}'}}" if retried.entry_id else "{}",
        "retries": retried.attempts - 1,
        "root_id": retried.task_id,
        "received": now,
        "started": now,
    }
