"""A Celery task for each command: what the reader feeds in batches, one at a time through the broker."""

from typing import Any

from celery import Task, shared_task

from dbstorage.commands.kinds import CommandKind
from dbstorage.commands.registry import KINDS
from tasks.running import StorageTask


def task_of(kind: CommandKind) -> Task:
    """The task of a command; its arguments are the message, or the wire's own names."""

    def run(self: StorageTask, /, *arguments: Any, **fields: Any) -> str:
        return self.run_command(kind, arguments, fields)

    run.__doc__ = kind.summary
    task: Task = shared_task(name=kind.name, base=StorageTask, bind=True)(run)
    return task


TASKS = [task_of(kind) for kind in KINDS.values()]
