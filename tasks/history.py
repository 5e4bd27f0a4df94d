"""getCloseOrders through the broker."""

from typing import Any

from celery import shared_task

from tasks.running import StorageTask


@shared_task(name="getCloseOrders", base=StorageTask, bind=True)  # type: ignore[untyped-decorator]
def get_close_orders(
    self: StorageTask,
    message: Any = None,
    *,
    userId: str | None = None,  # the wire's own names
    requestId: str | int | None = None,
    correlationId: str | int | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    detail: bool | None = None,
) -> str:
    """Answer with a user's closed orders (SPEC 2.3) on the response stream; needs a requestId."""
    body = {
        "function": "getCloseOrders",
        "message": message,
        "userId": userId,
        "requestId": requestId,
        "correlationId": correlationId,
        "limit": limit,
        "cursor": cursor,
        "detail": detail,
    }
    return self.run_storage(body)
