"""How a task that an operator called through the broker runs."""

import logging
import random
import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any

from celery import Task, current_app
from celery.exceptions import Retry

from dbstorage.batch.call import run_call
from dbstorage.batch.resources import resources_of
from dbstorage.commands.kinds import CommandKind
from dbstorage.errors import DatabaseUnavailableError, RedisUnavailableError
from dbstorage.settings import Settings
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.wire.entry import Layout, Request

logger = logging.getLogger(__name__)

#: Longest pause between two attempts while a server is away, in seconds.
LONGEST_PAUSE = 5.0


class TaskFailed(Exception):
    """Raised to tell Celery that a task failed; the text is its code and a sentence.

    Each code has a class of its own, named after it (`order_conflict`: OrderConflict), because tools that gather errors
    take those of one class and one place for the same.
    """

    #: It is an outcome and no bug: the log tells of it in a line of its own.
    is_outcome = True


def failure_class(code: str) -> type[TaskFailed]:
    """The class for a code."""
    name = "".join(part.capitalize() for part in re.split(r"\W|_", code)) or TaskFailed.__name__
    return _failure_class(name)


@cache
def _failure_class(name: str) -> type[TaskFailed]:
    return TaskFailed if name == TaskFailed.__name__ else type(name, (TaskFailed,), {"__module__": __name__})


def __getattr__(name: str) -> type[TaskFailed]:
    """A class for a code, as unpickling looks for it: an error goes from a pool process to the main process."""
    if name.startswith("_") or not name[:1].isupper():
        raise AttributeError(name)
    return _failure_class(name)


def invalid_call(sentence: str) -> TaskFailed:
    """The failure of a call whose arguments no command of this kind has."""
    return failure_class("invalid_call")(f"invalid_call: {sentence}")


#: An outcome that is only to be told, and what is to be done first; None where a task really runs. Nothing that comes
#: with a message can set it.
decided: ContextVar[tuple[Outcome, Callable[[], None]] | None] = ContextVar("decided", default=None)


class StorageTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task whose failures are outcomes of ours, not bugs."""

    abstract = True
    Request = "dbstorage.worker.task_requests:BrokerRequest"
    max_retries = None

    def __call__(self, /, *arguments: Any, **fields: Any) -> Any:
        """Run, or tell what was decided of an entry that ran with its batch."""
        if (told_only := decided.get()) is not None:
            outcome, before = told_only
            before()
            return told(outcome)
        return self.run(*arguments, **fields)

    def run_command(self, kind: CommandKind, arguments: tuple[Any, ...], fields: dict[str, Any]) -> str:
        """Run the call and return its outcome's name; its arguments are the message, or fields by their names.

        Raises TaskFailed, or Retry where another attempt follows.
        """
        if len(arguments) > 1 or (arguments and "message" in fields):
            given = f"{len(arguments)} of them" if len(arguments) > 1 else "it twice"
            raise invalid_call(f"{kind.name} takes one argument without a name, the message, and got {given}.")
        message = arguments[0] if arguments else fields.pop("message", None)
        if kind.call_fields is None:
            message, fields = (fields or None) if message is None else message, {}
        elif unknown := sorted(fields.keys() - set(kind.call_fields)):
            known = ", ".join(("message", *kind.call_fields))
            raise invalid_call(f"{kind.name} knows no argument {unknown[0]!r}; expected some of {known}.")
        body = {"function": kind.name, "message": message, **fields}
        settings: Settings = self.app.settings
        resources = resources_of(settings)
        try:
            body = {name: value for name, value in body.items() if value is not None}
            outcome = run_call(resources, Request(None, Layout.ENVELOPE, kind.name, body), self.request.id)
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
        raise failure_class(outcome.code or "")(f"{outcome.code}: {outcome.message}")
    if outcome.status is Status.RETRYING:
        # The record says when; the sweep runs the task again.
        raise Retry(f"{outcome.code}: {outcome.message}")
    return outcome.status.value


class StreamTask(StorageTask):
    """A task that no message can call: it stands for entries that are no command."""

    abstract = True

    @classmethod
    def named(cls, name: str) -> StorageTask:
        """The task with this name."""
        return _stream_task(name)


@cache
def _stream_task(name: str) -> StorageTask:
    task: StorageTask = type(name, (StreamTask,), {"name": name, "abstract": False})()
    task.bind(current_app)
    return task
