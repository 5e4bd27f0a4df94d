"""Checks that orders and users are in the database as their entries say: the `look` functions of these two commands."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbstorage.audit.outcomes import STORED, SUPERSEDED, AuditFinding, entry_id_of, missing
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.users import CreateUser
from dbstorage.database.shape import TableShape
from dbstorage.database.sqlstate import is_data_exception
from dbstorage.storage.orders import compare_orders
from dbstorage.storage.service import Service
from dbstorage.storage.users import identities
from dbstorage.storage.work import Work
from dbstorage.wire.entry_id import position_of

NO_ORDER = missing("no order with its orderId is stored")
OTHER_ORDER = missing("the order stored with its orderId has other content")
IMPOSSIBLE_ORDER = missing("it holds a value that the database refuses")
NO_USER = missing("no such user is there, no newer entry explains it")


def look_at_orders(
    connection: Connection, shape: TableShape, _service: Service, works: Sequence[Work]
) -> list[AuditFinding]:
    """An order that is there is STORED, whichever entry stored it."""
    orders = [work.command for work in works if isinstance(work.command, CloseOrder)]
    return list(_look_at_orders(connection, shape, orders))


def _look_at_orders(connection: Connection, shape: TableShape, orders: Sequence[CloseOrder]) -> Iterator[AuditFinding]:
    """A finding for each order. If the database refuses to compare one, that one alone is IMPOSSIBLE_ORDER."""
    try:
        with connection.begin_nested():
            compared = compare_orders(connection, shape, orders)
    except DBAPIError as error:
        if not is_data_exception(error):
            raise
        if len(orders) == 1:
            yield IMPOSSIBLE_ORDER
            return
        middle = len(orders) // 2
        yield from _look_at_orders(connection, shape, orders[:middle])
        yield from _look_at_orders(connection, shape, orders[middle:])
        return
    for exists, same, _user_exists in compared:
        yield STORED if same else OTHER_ORDER if exists else NO_ORDER


def look_at_users(
    connection: Connection, _shape: TableShape, service: Service, works: Sequence[Work]
) -> list[AuditFinding]:
    """A person who was changed by a newer createUser is SUPERSEDED."""
    commands = [work.command for work in works if isinstance(work.command, CreateUser)]
    people = emails_of(connection, [command.user_id for command in commands])
    keys = [identity for command in commands for identity in identities(command)]
    applied = applied_positions(connection, service, keys)
    found = []
    for work, command in zip(works, commands, strict=True):
        position = position_of(entry_id_of(work))
        if people.get(command.user_id) == command.email:
            found.append(STORED)
        elif any(applied.get(key, -1) > position for key in identities(command)):
            found.append(SUPERSEDED)
        else:
            found.append(NO_USER)
    return found


def emails_of(connection: Connection, user_ids: list[str]) -> dict[str, str]:
    """userID -> e-mail address of the users that are there."""
    rows = connection.exec_driver_sql('SELECT "userID", "email" FROM "User" WHERE "userID" = ANY(%s)', (user_ids,))
    return {user_id: email for user_id, email in rows}


def applied_positions(connection: Connection, service: Service, keys: list[str]) -> dict[str, int]:
    """Identity -> the position of the last createUser that was applied to it."""
    rows = connection.exec_driver_sql(
        "SELECT identity, entry_position FROM dbstorage.applied_users "
        "WHERE stream = %s AND consumer_group = %s AND life = %s AND identity = ANY(%s)",
        (*service, keys),
    )
    return {identity: int(position) for identity, position in rows}
