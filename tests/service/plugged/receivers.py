"""Plain receivers of Celery's task signals, as somebody writes them: celery … worker -I this.module"""

from typing import Any

from celery import signals

from tests.service.plugged.writing import write


@signals.task_prerun.connect(weak=False)  # type: ignore[untyped-decorator]
def prerun(sender: Any, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
    request = task.request
    write("prerun", id=task_id, name=sender.name, kwargs=kwargs, request_id=request.id, retries=request.retries)


@signals.task_success.connect(weak=False)  # type: ignore[untyped-decorator]
def success(sender: Any, result: Any, runtime: float, **_: Any) -> None:
    write("success", id=sender.request.id, result=result, runtime=runtime)


@signals.task_failure.connect(weak=False)  # type: ignore[untyped-decorator]
def failure(sender: Any, task_id: str, exception: Any, einfo: Any, traceback: Any, **_: Any) -> None:
    write("failure", id=task_id, exception=str(exception), type=type(exception).__name__, einfo=einfo.traceback)


@signals.task_retry.connect(weak=False)  # type: ignore[untyped-decorator]
def retry(sender: Any, request: Any, reason: Any, einfo: Any, **_: Any) -> None:
    write("retry", id=request.id, reason=str(reason))


@signals.task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]
def postrun(sender: Any, task_id: str, state: str, retval: Any, **_: Any) -> None:
    write("postrun", id=task_id, state=state, retval=retval)
