"""Orders are written while the batch before them commits, and committed in their turn; whatever happens to that one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from dbstorage.batch.job import BatchJob, run_job
from dbstorage.batch.resources import SESSION_SETTINGS, Resources
from dbstorage.batch.turn import Turn, Turns, Word
from dbstorage.database.engine import create_engine
from dbstorage.storage.outcome import Report
from tests.service.platform import order, question, user
from tests.storage.service import Service
from tests.waiting import wait_until

#: An order whose id begins with "held" is committed when this lock is free, one with "bad" in its id never.
LOCK = 42
HELD = f"""
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW."orderId" LIKE 'held%' THEN
        SET LOCAL lock_timeout = 0;
        PERFORM pg_advisory_xact_lock_shared({LOCK});
    END IF;
    IF NEW."orderId" LIKE '%bad%' THEN RAISE 'never'; END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON "Orders" DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION hold();
"""
WRITTEN_AHEAD = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'dbstorage' AND state = 'idle in transaction' AND query LIKE '%INSERT INTO \"Orders\"%'"
)
COMMITTING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'dbstorage' AND query = 'COMMIT' AND wait_event_type = 'Lock'"
)


class Pair:
    """Two pool processes of one service, here as threads, and the turns of their jobs."""

    def __init__(self, service: Service, threads: ThreadPoolExecutor) -> None:
        self.service = service
        self.turns = Turns()
        self._threads = threads
        settings = service.settings
        engine = create_engine(settings.database, session_settings=SESSION_SETTINGS)
        self.second = Resources(settings, engine, service.redis)
        # It is known to be the service's database.
        service.outcomes(user("u"))
        self.run(self.second, self.turn(ahead=False), order("earlier", "u")).result()

    def turn(self, *, ahead: bool) -> Turn:
        return self.turns.next(ahead=ahead)

    def run(self, resources: Resources, turn: Turn, *commands: dict[str, Any]) -> Future[Report]:
        """Send commands and begin to run them as one batch."""
        ids = self.service.send(*commands)
        [[_, entries]] = self.service.redis.xreadgroup(
            "dbstorage", "test", {self.service.settings.command_stream: ">"}, count=len(ids)
        )
        fields = [[part for pair in values.items() for part in pair] for _, values in entries]
        # Each process notes its position in a row of its own.
        consumer = "second" if resources is self.second else "first"
        job = BatchJob(ids, fields, consumer, turn=turn, group_creation=self.service.creation)
        return self._threads.submit(run_job, resources, job)

    def orders(self) -> list[str]:
        """In the order in which they were written."""
        return [order_id for order_id in self.service.owners() if order_id != "earlier"]


@pytest.fixture
def pair(environment: dict[str, str], database_url: str) -> Iterator[Pair]:
    service = Service(environment)
    with psycopg2.connect(database_url, options="-c search_path=public") as connection:
        connection.cursor().execute(HELD)
    connection.close()
    with ThreadPoolExecutor(2) as threads:
        found = Pair(service, threads)
        yield found
    for resources in (service.resources, found.second):
        resources.engine.dispose()
    service.redis.close()


@pytest.fixture
def hold(database_url: str) -> Callable[[], Any]:
    @contextmanager
    def held() -> Iterator[Callable[[str], Any]]:
        connection = psycopg2.connect(database_url, options="-c search_path=public")
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))

        def look(statement: str) -> Any:
            cursor.execute(statement)
            return cursor.fetchall()

        try:
            yield look
        finally:
            connection.close()

    return held


def codes(report: Report) -> list[str | None]:
    assert report.crash == ""
    return [None if outcome is None else outcome.code or outcome.status.value for outcome in report.outcomes]


def one_commits_and_one_has_written(pair: Pair, look: Any, first: list[Any], second: list[Any]) -> Any:
    """Bring the first batch to its COMMIT, which waits for the lock, and the second one behind its INSERT."""
    before, behind = pair.turn(ahead=False), pair.turn(ahead=True)
    committing = pair.run(pair.service.resources, before, *first)
    wait_until(lambda: look(COMMITTING), "the first to commit")
    waiting = pair.run(pair.second, behind, *second)
    wait_until(lambda: look(WRITTEN_AHEAD), "the second to have written")
    return committing, waiting, behind


def test_orders_are_written_while_the_batch_before_commits_and_committed_behind_it(pair: Pair, hold: Any) -> None:
    with hold() as look:
        committing, waiting, behind = one_commits_and_one_has_written(
            pair, look, [order("held", "u")], [order("a", "u"), order("b", "u")]
        )
        assert look('SELECT "orderId" FROM "Orders"') == [("earlier",)]
    assert codes(committing.result()) == ["stored"]
    assert pair.orders() == ["held"]
    pair.turns.tell(behind, go=True)
    report = waiting.result()
    assert codes(report) == ["stored", "stored"]
    assert report.acknowledged == [True, True]
    assert pair.orders() == ["held", "a", "b"]


def test_nothing_is_stored_of_what_was_written_ahead_and_has_to_give_up(pair: Pair, hold: Any) -> None:
    with hold() as look:
        committing, waiting, behind = one_commits_and_one_has_written(
            pair, look, [order("held", "u")], [order("a", "u")]
        )
        pair.turns.tell(behind, go=False)
        report = waiting.result()
    assert (codes(report), report.acknowledged, report.outage) == ([None], [False], None)
    committing.result()
    assert pair.orders() == ["held"]


def test_what_was_written_ahead_is_rolled_back_when_the_commit_before_it_is_refused(pair: Pair, hold: Any) -> None:
    """The first batch is split, and writes while the second waits; their order, and the rows' numbers, are the same."""
    with hold() as look:
        committing, waiting, behind = one_commits_and_one_has_written(
            pair, look, [order("held", "u"), order("bad", "u"), order("x", "u")], [order("y", "u"), order("z", "u")]
        )
    assert codes(committing.result()) == ["stored", "database_error", "stored"]
    assert not pair.service.query(WRITTEN_AHEAD)
    pair.turns.tell(behind, go=True)
    assert codes(waiting.result()) == ["stored", "stored"]
    assert pair.orders() == ["held", "x", "y", "z"]


def test_of_two_orders_with_one_id_the_first_wins(pair: Pair, hold: Any) -> None:
    """The second one waits for the first one's commit, as PostgreSQL does it."""
    with hold() as look:
        before, behind = pair.turn(ahead=False), pair.turn(ahead=True)
        committing = pair.run(pair.service.resources, before, order("held", "u"), order("same", "u", quantity=1.0))
        wait_until(lambda: look(COMMITTING), "the first to commit")
        again = [order("same", "u", quantity=1.0), order("same", "u", quantity=2.0), order("other", "u")]
        waiting = pair.run(pair.second, behind, *again)
    committing.result()
    pair.turns.tell(behind, go=True)
    assert codes(waiting.result()) == ["duplicate", "order_conflict", "stored"]
    assert pair.service.query('SELECT quantity FROM "Orders" WHERE "orderId" = \'same\'') == [(1.0,)]


def test_what_is_refused_ahead_runs_in_its_turn(pair: Pair, hold: Any) -> None:
    """It is split then, and only then is a failure recorded."""
    pair.service.query('ALTER TABLE "Orders" ADD CHECK (leverage <> 13)')
    with hold() as look:
        before, behind = pair.turn(ahead=False), pair.turn(ahead=True)
        committing = pair.run(pair.service.resources, before, order("held", "u"))
        wait_until(lambda: look(COMMITTING), "the first to commit")
        waiting = pair.run(pair.second, behind, order("a", "u"), order("b", "u", leverage=13), order("c", "u"))
        wait_until(lambda: not pair.second.is_open, "the second to be refused")
        assert look("SELECT 1 FROM dbstorage.failed_tasks") == []
    committing.result()
    pair.turns.tell(behind, go=True)
    assert codes(waiting.result()) == ["stored", "invalid_value", "stored"]
    assert pair.orders() == ["held", "a", "c"]


def test_an_order_without_a_user_is_found_out_in_its_turn(pair: Pair, hold: Any) -> None:
    with hold() as look:
        committing, waiting, behind = one_commits_and_one_has_written(
            pair, look, [order("held", "u")], [order("a", "u"), order("b", "nobody")]
        )
        assert look("SELECT 1 FROM dbstorage.failed_tasks") == []
    committing.result()
    pair.turns.tell(behind, go=True)
    assert codes(waiting.result()) == ["stored", "user_not_found"]


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ([order("a", "u"), order("b", "u")], True),
        ([order("a", "u"), order("earlier", "u")], True),
        ([user("v"), order("a", "v")], False),
        ([order("a", "u"), question("u", "q")], False),
        ([order("a", "nobody")], False),
        ([order("a", "u"), {"function": "nonsense"}], False),
    ],
    ids=["orders", "a duplicate", "a createUser", "a question", "a missing user", "a broken entry"],
)
def test_the_next_batch_may_write_only_if_nothing_in_this_one_can_change_what_it_writes(
    batch: list[dict[str, Any]], told: bool, pair: Pair
) -> None:
    before, behind = pair.turn(ahead=False), pair.turn(ahead=True)
    pair.run(pair.service.resources, before, *batch).result()
    assert behind.hear(seconds=0.0) is (Word.COMMITS if told else Word.GIVE_UP)


@pytest.mark.parametrize("commands", [[user("v"), order("a", "v")], [order("a", "u"), question("u", "q")]])
def test_a_batch_that_holds_more_than_orders_waits_for_its_turn(commands: list[dict[str, Any]], pair: Pair) -> None:
    before, behind = pair.turn(ahead=False), pair.turn(ahead=True)
    pair.run(pair.service.resources, before, order("before", "u")).result()
    waiting = pair.run(pair.second, behind, *commands)
    pair.turns.tell(behind, go=False)
    assert codes(waiting.result()) == [None, None]
    assert pair.orders() == ["before"]
