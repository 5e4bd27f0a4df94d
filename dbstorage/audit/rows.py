"""What the database says of a chunk of entries, all of it as of one moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set

from sqlalchemy import Connection, Engine

from dbstorage.audit.looks import applied_positions, emails_of
from dbstorage.audit.outcomes import AuditFinding, Evidence, FailedRecord, Look, entry_id_of
from dbstorage.audit.owners import Owner, OwnerRows, Owners, PlacedOrder
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.registry import kind_of
from dbstorage.commands.users import CreateUser
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import inspect_shape
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.filters import State
from dbstorage.settings import Settings
from dbstorage.storage.registered import function_named
from dbstorage.storage.service import Service, find_service
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import Layout
from dbstorage.wire.entry_id import position_of
from dbstorage.wire.payload import unpack

#: Seconds for one statement; a chunk takes milliseconds, but on a database that nobody used for long.
STATEMENT_TIMEOUT = 60.0
#: Nobody asks how many orders a mended entry is answered with: questions are not kept.
ANY_LIMIT = 1


class AuditedRows:
    """The database, only read. Its methods raise DatabaseUnavailableError and DatabaseNotReadyError."""

    def __init__(self, settings: Settings) -> None:
        self.engine: Engine = create_engine(
            settings.database,
            application_name="dbstorage audit",
            statement_timeout=STATEMENT_TIMEOUT,
        )
        # One snapshot: an order whose retry succeeds meanwhile is seen as retrying or as stored, never as neither.
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
            rows = OwnerRows(emails_of(connection, user_ids), applied_positions(connection, self.service, keys))
        found = {
            order_id: owners.find(order, stands[order_id], rows) if order_id in stands else Owner.UNKNOWN
            for order_id, order in placed.items()
        }
        return [found[work.command.order_id] for work in works if isinstance(work.command, CloseOrder)]

    def evidence(self, works: Sequence[Work], unacknowledged: Set[str]) -> Evidence:
        """Look up everything that the outcomes of these entries depend on."""
        looks: dict[str, AuditFinding] = {}
        with connected(self.snapshots) as connection:
            records = _records(connection, self.service, [entry_id_of(work) for work in works])
            for name, alike in self._by_look(works, unacknowledged, records).items():
                look: Look = function_named(name)
                found = look(connection, self.shape, self.service, alike)
                looks.update(zip(map(entry_id_of, alike), found, strict=True))
        return Evidence(unacknowledged=unacknowledged, records=records, looks=looks)

    def _by_look(
        self, works: Sequence[Work], unacknowledged: Set[str], records: Mapping[str, FailedRecord]
    ) -> dict[str, list[Work]]:
        """The finished entries, as operators have mended them, grouped by the `look` of their command."""
        alike: dict[str, list[Work]] = defaultdict(list)
        for work in works:
            entry_id = entry_id_of(work)
            record = records.get(entry_id)
            if entry_id not in unacknowledged and (record is None or not record.is_open):
                done = as_mended(work, record)
                kind = kind_of(type(done.command))
                if kind is not None and kind.look is not None:
                    alike[kind.look].append(done)
        return alike


def as_mended(work: Work, record: FailedRecord | None) -> Work:
    """The entry as an operator has mended it; itself where nobody has."""
    return work if record is None or record.mended is None else understand(record.mended, ANY_LIMIT)


def _records(connection: Connection, service: Service, entry_ids: list[str]) -> dict[str, FailedRecord]:
    rows = connection.exec_driver_sql(
        "SELECT entry_id, state, code, layout, CASE WHEN original_payload IS NOT NULL THEN payload END "
        "FROM dbstorage.failed_tasks WHERE stream = %s AND consumer_group = %s AND life = %s AND entry_id = ANY(%s)",
        (*service, entry_ids),
    )
    return {
        entry_id: FailedRecord(
            State(state), code, None if mended is None else unpack(Layout(layout), bytes(mended), entry_id)
        )
        for entry_id, state, code, layout, mended in rows
    }


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
