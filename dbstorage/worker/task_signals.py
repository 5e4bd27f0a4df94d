"""Entries of the stream as Celery tasks, for tools that listen in a pool process: signals, Sentry, New Relic.

Entries run in batches, so no task is called that tools could hook into. What they expect is done for each entry when
its outcome is known, and only where somebody listens:

- Celery's signals (task_prerun, task_success, task_failure, task_retry, task_postrun) are sent where they have
  receivers: OpenTelemetry, Datadog, Elastic APM, functions of one's own.
- Sentry and New Relic replace the function that makes Celery's tracer. Failed entries then go through such a tracer,
  which calls the task; the task raises what was decided. That costs milliseconds, so their number is limited.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from celery import current_app, signals

from dbstorage.batch.job import BatchJob
from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import identify, identify_undecodable
from dbstorage.errors import RejectedEntry
from dbstorage.storage.failures import told_id
from dbstorage.storage.outcome import Outcome, Report, Status
from dbstorage.tracing import current_span, describe_entry, within_batch
from dbstorage.wire.entry import StreamEntry
from dbstorage.wire.trace_context import carried
from dbstorage.worker.celery_internals.tasks import (
    BriefExceptionInfo,
    is_traced_by_others,
    request_context,
    trace_with_others,
)
from tasks.running import StorageTask, StreamTask, decided, told

logger = logging.getLogger(__name__)

SIGNALS = (
    signals.task_prerun,
    signals.task_postrun,
    signals.task_success,
    signals.task_failure,
    signals.task_retry,
)
#: Failed entries that go through the tracer: of one batch, and of one second.
MOST_TRACED = 20


class Finished(NamedTuple):
    """A task that has an outcome, as Celery's signals describe it."""

    name: str
    task_id: str
    summary: str
    entry_id: str | None
    retries: int
    outcome: Outcome
    #: The sender's trace context.
    trace: dict[str, str]


class Budget:
    """A rate limit: at most `most` at once, and as many a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = float(most)
        self._at = time.monotonic()

    def take(self, wanted: int) -> int:
        """How many of the `wanted` may be done now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._most)
        self._at = now
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken


_budget = Budget(MOST_TRACED)


def somebody_listens() -> bool:
    """Whether anything in this process listens to tasks; asked once for a batch."""
    return any(signal.receivers for signal in SIGNALS) or is_traced_by_others()


def tell_of_batch(job: BatchJob, report: Report, stream: str, seconds: float) -> None:
    """Tell of the entries of a batch whose outcome it brought, in stream order, and of failed tasks that it ran again.

    `seconds`: how long the batch took, of which each has its share.
    """
    if not somebody_listens():
        return
    with within_batch():
        _tell([*_entries(job, report), *_retries(report)], stream, seconds / max(1, len(job.entry_ids)))


def tell_of_retries(report: Report, stream: str) -> None:
    """Tell of failed tasks that were run again."""
    if report.retried and somebody_listens():
        _tell([*_retries(report)], stream, 0.0)


def _entries(job: BatchJob, report: Report) -> Iterator[Finished]:
    for entry_id, fields, outcome in zip(job.entry_ids, job.fields, report.outcomes, strict=True):
        if outcome is None:
            continue
        try:
            request = decode(StreamEntry(entry_id, fields))
        except RejectedEntry:
            identity, trace = identify_undecodable(entry_id), {}
        else:
            identity, trace = identify(request), carried(request.body)
        task_id = told_id(identity.task_id, entry_id, outcome)
        yield Finished(identity.name, task_id, identity.summary, entry_id, 0, outcome, trace)


def _retries(report: Report) -> Iterator[Finished]:
    for each in report.retried:
        yield Finished(
            each.name, each.task_id, each.summary, each.entry_id, each.attempts - 1, each.outcome, each.trace
        )  # fmt: skip


def _tell(finished: Sequence[Finished], stream: str, seconds: float) -> None:
    traced: set[int] = set()
    if is_traced_by_others():
        failed = [number for number, each in enumerate(finished) if each.outcome.status is Status.FAILED]
        traced = set(failed[: _budget.take(len(failed))])
        if len(traced) < len(failed):
            logger.warning(
                "%d failed entries are not reported one by one: there are too many at once.", len(failed) - len(traced)
            )
    listeners = any(signal.receivers for signal in SIGNALS)
    batch = current_span()
    for number, each in enumerate(finished):
        try:
            if number in traced:
                _trace(each, stream, batch)
            elif listeners:
                _send_signals(each, stream, seconds, batch)
        except Exception:
            # A listener's error must not undo the batch, which is stored.
            logger.exception(
                "A listener to task signals failed for %s, whose outcome is stored all the same.", each.task_id
            )


@cache
def _task(name: str) -> StorageTask:
    task = current_app.tasks.get(name)
    return task if isinstance(task, StorageTask) else StreamTask.named(name)


def _request(finished: Finished, stream: str) -> dict[str, Any]:
    return {
        "id": finished.task_id,
        "root_id": finished.task_id,
        "task": finished.name,
        "retries": finished.retries,
        "hostname": None,
        "argsrepr": f"({finished.summary})",
        "kwargsrepr": repr(_arguments(finished)),
        "delivery_info": {"exchange": "", "routing_key": stream, "priority": 0, "redelivered": False},
        "ignore_result": True,
        "headers": dict(finished.trace),
        # OpenTelemetry looks for them here.
        **finished.trace,
    }


def _arguments(finished: Finished) -> dict[str, Any]:
    """The entry's id alone. No payload and no e-mail address: receivers may send what they get to another company."""
    return {"entry_id": finished.entry_id} if finished.entry_id else {}


def _trace(finished: Finished, stream: str, batch: Any) -> None:
    """Run the task through Celery's tracer, which Sentry or New Relic has wrapped; the tracer sends the signals."""
    token = decided.set((finished.outcome, lambda: describe_entry(batch, finished.entry_id, finished.outcome.status)))
    try:
        trace_with_others(
            current_app, _task(finished.name), finished.task_id, _arguments(finished), _request(finished, stream)
        )
    finally:
        decided.reset(token)


def _send_signals(finished: Finished, stream: str, seconds: float, batch: Any) -> None:
    task, task_id, arguments = _task(finished.name), finished.task_id, _arguments(finished)
    request = request_context(_request(finished, stream), arguments)
    task.request_stack.push(request)
    try:
        common = {"task_id": task_id, "task": task, "args": (), "kwargs": arguments}
        _send(signals.task_prerun, task, common.items())
        describe_entry(batch, finished.entry_id, finished.outcome.status)
        result: Any
        try:
            result, state = told(finished.outcome), "SUCCESS"
        except Exception as error:  # noqa: BLE001  # TaskFailed, or Retry
            result = error
            state = _send_error(finished, task, request, arguments, error)
        else:
            _send(signals.task_success, task, {"result": result, "runtime": seconds}.items())
        _send(signals.task_postrun, task, {**common, "retval": result, "state": state}.items())
    finally:
        task.request_stack.pop()


def _send_error(finished: Finished, task: Any, request: Any, arguments: dict[str, Any], error: Exception) -> str:
    information = BriefExceptionInfo(error)
    if finished.outcome.status is Status.RETRYING:
        _send(signals.task_retry, task, {"request": request, "reason": error, "einfo": information}.items())
        return "RETRY"
    fields = {
        "task_id": finished.task_id,
        "exception": error,
        "args": (),
        "kwargs": arguments,
        "traceback": error.__traceback__,
        "einfo": information,
    }
    _send(signals.task_failure, task, fields.items())
    return "FAILURE"


def _send(signal: Any, sender: Any, fields: Iterable[tuple[str, Any]]) -> None:
    if signal.receivers:
        signal.send(sender=sender, **dict(fields))
