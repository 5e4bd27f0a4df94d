"""createCloseOrder through the broker."""

from typing import Any

from celery import shared_task

from tasks.running import StorageTask


@shared_task(name="createCloseOrder", base=StorageTask, bind=True)  # type: ignore[untyped-decorator]
def create_close_order(self: StorageTask, message: dict[str, Any] | None = None) -> str:
    """Store a closed order (SPEC 2.1)."""
    return self.run_storage({"function": "createCloseOrder", "message": message})
