"""A receiver that is broken."""

from typing import Any

from celery import signals


@signals.task_prerun.connect(weak=False)  # type: ignore[untyped-decorator]
def broken(**_: Any) -> None:
    raise RuntimeError("a receiver with a bug")
