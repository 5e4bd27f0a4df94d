"""The two orders of a conflict: the stored one, and the one that came later with the same id."""

from sqlalchemy import Connection

from dbstorage.codes import ORDER_CONFLICT
from dbstorage.commands.orders import CloseOrder
from dbstorage.database.shape import inspect_shape
from dbstorage.failed_tasks.lookup import FailedTask, Payload
from dbstorage.storage.orders import Field, compare_fields
from dbstorage.storage.work import understand
from dbstorage.wire.payload import unpack


def compare_with_stored(
    connection: Connection, task: FailedTask, payload: Payload, history_limit: int
) -> list[Field] | None:
    """Both orders of an `order_conflict`, field by field; None for other tasks, and where one of the two is gone."""
    if task.code != ORDER_CONFLICT or payload.whole_length is not None:
        return None
    try:
        entry = unpack(payload.layout, payload.content, task.entry_id or "0-0")
    except ValueError:
        return None
    command = understand(entry, history_limit).command
    if not isinstance(command, CloseOrder):
        return None
    return compare_fields(connection, inspect_shape(connection), command)
