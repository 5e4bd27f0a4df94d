"""Entries that name none of the three functions (SPEC 2.4)."""

from celery import shared_task

from tasks.running import StorageTask


@shared_task(name="invalidEntry", base=StorageTask, bind=True)  # type: ignore[untyped-decorator]
def invalid_entry(self: StorageTask, *, failed_task_id: int) -> str:
    """Read the raw entry of a failed task again; it may mean something to a newer version."""
    return self.run_storage(failed_task_id, {})
