"""What the database says of a chunk of entries, all of it as of one moment."""

from collections.abc import Iterator, Sequence, Set

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from dbstorage.audit.outcomes import Evidence, FailedRecord, StoredOrder, entry_id_of, needs_order
from dbstorage.audit.owners import Owner, OwnerRows, Owners, PlacedOrder
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.users import CreateUser
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import TableShape, inspect_shape
from dbstorage.database.sqlstate import is_data_exception
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.filters import State
from dbstorage.settings import Settings
from dbstorage.storage.orders import compare_orders
from dbstorage.storage.service import Service, find_service
from dbstorage.storage.users import identities
from dbstorage.storage.work import Work
from dbstorage.wire.entry_id import position_of

#: Seconds for one statement; a chunk takes milliseconds, but on a database that nobody used for long.
STATEMENT_TIMEOUT = 60.0


class AuditedRows:
    """The database, only read. Its methods raise DatabaseUnavailableError and DatabaseNotReadyError."""

    def __init__(self, settings: Settings) -> None:
        self.engine: Engine = create_engine(
            settings.database, application_name="dbstorage audit", statement_timeout=STATEMENT_TIMEOUT
        )
        # One snapshot: an order whose retry succeeds meanwhile is retrying or stored, never neither.
        self.snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connected(self.snapshots) as connection:
            self.shape = inspect_shape(connection)
            self.service = find_service(connection, settings.scope)

    def close(self) -> None:
        """Close the connection."""
        self.engine.dispose()

    def records(self, entry_ids: list[str]) -> dict[str, FailedRecord]:
        """The records of these entries."""
        with connected(self.snapshots) as connection:
            return _records(connection, self.service, entry_ids)

    def owners(self, works: Sequence[Work], owners: Owners) -> list[Owner]:
        """Whether these stored orders stand under the right people, one after the other."""
        with connected(self.snapshots) as connection:
            records = _records(connection, self.service, [entry_id_of(work) for work in works])
            placed = {
                command.order_id: _placed(work, command, records.get(entry_id_of(work)))
                for work in works
                if isinstance(command := work.command, CloseOrder)
            }
            stands = _stands(connection, list(placed))
            keys = sorted({key for order in placed.values() for key in owners.needed(order)})
            user_ids = [key.removeprefix("id:") for key in keys if key.startswith("id:")]
            rows = OwnerRows(_emails(connection, user_ids), _positions(connection, self.service, keys))
        found = {
            order_id: owners.find(order, stands[order_id], rows) if order_id in stands else Owner.UNKNOWN
            for order_id, order in placed.items()
        }
        return [found[work.command.order_id] for work in works if isinstance(work.command, CloseOrder)]

    def evidence(self, works: Sequence[Work], unacknowledged: Set[str]) -> Evidence:
        """Look up everything that the outcomes of these entries depend on."""
        commands = [work.command for work in works if isinstance(work.command, CreateUser)]
        with connected(self.snapshots) as connection:
            records = _records(connection, self.service, [entry_id_of(work) for work in works])
            ordering = [work for work in works if needs_order(work, unacknowledged, records)]
            return Evidence(
                unacknowledged=unacknowledged,
                records=records,
                orders=dict(_stored_orders(connection, self.shape, ordering)) if ordering else {},
                people=_people(connection, commands) if commands else {},
                applied=_applied(connection, self.service, commands) if commands else {},
            )


def _records(connection: Connection, service: Service, entry_ids: list[str]) -> dict[str, FailedRecord]:
    rows = connection.exec_driver_sql(
        "SELECT entry_id, state, code, original_payload IS NOT NULL FROM dbstorage.failed_tasks "
        "WHERE stream = %s AND consumer_group = %s AND life = %s AND entry_id = ANY(%s)",
        (*service, entry_ids),
    )
    return {entry_id: FailedRecord(State(state), code, edited) for entry_id, state, code, edited in rows}


def _stored_orders(
    connection: Connection, shape: TableShape, works: Sequence[Work]
) -> Iterator[tuple[str, StoredOrder]]:
    """Entry id and what is stored, for each; an order that the database refuses to compare fails alone."""
    orders = [work.command for work in works if isinstance(work.command, CloseOrder)]
    try:
        with connection.begin_nested():
            compared = compare_orders(connection, shape, orders)
    except DBAPIError as error:
        if not is_data_exception(error):
            raise
        if len(works) == 1:
            yield entry_id_of(works[0]), StoredOrder.IMPOSSIBLE
            return
        middle = len(works) // 2
        yield from _stored_orders(connection, shape, works[:middle])
        yield from _stored_orders(connection, shape, works[middle:])
        return
    for work, (exists, same, _user_exists) in zip(works, compared, strict=True):
        yield entry_id_of(work), StoredOrder.NONE if not exists else StoredOrder.SAME if same else StoredOrder.OTHER


def _placed(work: Work, command: CloseOrder, record: FailedRecord | None) -> PlacedOrder:
    position = position_of(entry_id_of(work))
    return PlacedOrder(command.user_id, position, record.code if record else None, record is not None)


def _stands(connection: Connection, order_ids: list[str]) -> dict[str, CreateUser]:
    """orderId -> the person under whom it stands."""
    rows = connection.exec_driver_sql(
        'SELECT placed."orderId", person."userID", person."email" FROM "Orders" AS placed '
        'JOIN "User" AS person ON person."userID" = placed."userId" WHERE placed."orderId" = ANY(%s)',
        (order_ids,),
    )
    return {order_id: CreateUser(user_id, email) for order_id, user_id, email in rows}


def _people(connection: Connection, commands: Sequence[CreateUser]) -> dict[str, str]:
    return _emails(connection, [command.user_id for command in commands])


def _emails(connection: Connection, user_ids: list[str]) -> dict[str, str]:
    rows = connection.exec_driver_sql('SELECT "userID", "email" FROM "User" WHERE "userID" = ANY(%s)', (user_ids,))
    return {user_id: email for user_id, email in rows}


def _applied(connection: Connection, service: Service, commands: Sequence[CreateUser]) -> dict[str, int]:
    return _positions(connection, service, [identity for command in commands for identity in identities(command)])


def _positions(connection: Connection, service: Service, keys: list[str]) -> dict[str, int]:
    rows = connection.exec_driver_sql(
        "SELECT identity, entry_position FROM dbstorage.applied_users "
        "WHERE stream = %s AND consumer_group = %s AND life = %s AND identity = ANY(%s)",
        (*service, keys),
    )
    return {identity: int(position) for identity, position in rows}
