"""createUser through the broker."""

from typing import Any

from celery import shared_task

from tasks.running import StorageTask


@shared_task(name="createUser", base=StorageTask, bind=True)  # type: ignore[untyped-decorator]
def create_user(
    self: StorageTask,
    message: dict[str, Any] | None = None,
    *,
    userId: str | None = None,  # the wire's own names
    userEmail: str | None = None,
) -> str:
    """Create or change a user (SPEC 2.2)."""
    body = {"function": "createUser", "message": message, "userId": userId, "userEmail": userEmail}
    return self.run_storage(body)
