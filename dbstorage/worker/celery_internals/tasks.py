"""How tasks run, as seen by receivers of signals and by tools that wrap Celery's tracer.

Leans on `celery.app.task.Context`, the request that receivers of signals find at `task.request`; on
`celery.app.trace.build_tracer`, which Sentry and New Relic replace to see tasks run; and on billiard's
`ExceptionInfo`, which receivers of task_failure get: the whole of it costs a tenth of a millisecond.
"""

import traceback
from types import FunctionType, TracebackType
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.app import trace
from celery.app.task import Context

#: Task -> its tracer.
_tracers: dict[Any, Any] = {}


class BriefExceptionInfo(ExceptionInfo):  # type: ignore[misc]  # billiard has no types
    """An ExceptionInfo that formats its traceback only when it is read. It never leaves its process."""

    def __init__(self, error: BaseException) -> None:
        self.exception = error
        self.type = type(error)
        self.internal = False

    @property
    def traceback(self) -> str:
        """The traceback as text."""
        return "".join(traceback.format_exception(self.exception))

    @property
    def tb(self) -> TracebackType | None:
        """The traceback."""
        found: TracebackType | None = self.exception.__traceback__
        return found


def request_context(request: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """A request as tasks see it."""
    return Context(request, args=(), kwargs=arguments, called_directly=False)


def is_traced_by_others() -> bool:
    """Whether somebody has replaced the function that makes tracers."""
    made_by = trace.build_tracer
    # A wrapper may have the name of what it wraps, and may be an object instead of a function.
    return type(made_by) is not FunctionType or made_by.__module__ != "celery.app.trace"


def trace_with_others(app: Any, task: Any, task_id: str, arguments: dict[str, Any], request: dict[str, Any]) -> None:
    """Run a task through Celery's tracer, with whatever has wrapped it. The task's own failure is not raised."""
    if task not in _tracers:
        _tracers[task] = trace.build_tracer(task.name, task, app.loader, request["hostname"], app=app)
    _tracers[task](task_id, (), arguments, request)
