"""createCloseOrder through the broker."""

from typing import Any

from celery import shared_task

from tasks.running import StorageTask


@shared_task(name="createCloseOrder", base=StorageTask, bind=True)  # type: ignore[untyped-decorator]
def create_close_order(self: StorageTask, message: dict[str, Any] | None = None, **order: Any) -> str:
    """Store a closed order (SPEC 2.1): the message, or its fields by name."""
    return self.run_storage(
        {"function": "createCloseOrder", "message": (order or None) if message is None else message}
    )
