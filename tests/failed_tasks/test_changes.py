import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text

from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks import changes
from dbstorage.failed_tasks.changes import Change, apply, count_for
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.lookup import find
from dbstorage.failed_tasks.trail import Operation, read_operations
from tests.failed_tasks.records import SCOPE, add, add_many, record
from tests.waiting import wait_until


def states(connection: Connection) -> dict[int, str]:
    statement = select(failed_tasks.c.id, failed_tasks.c.state).order_by(failed_tasks.c.id)
    return {row.id: row.state for row in connection.execute(statement)}


def test_retry_makes_failed_tasks_due_and_leaves_the_others(connection: Connection, three: list[int]):
    discarded = add(connection, record(state="discarded"))
    assert count_for(connection, SCOPE, Filter(), Change.RETRY) == (1, three[0])
    assert apply(connection, SCOPE, Filter(), Change.RETRY, who="joe") == 1
    assert apply(connection, SCOPE, Filter(), Change.RETRY, who="joe") == 0
    assert list(states(connection).values()) == ["retrying", "retrying", "resolved", "discarded"]
    [due] = connection.scalars(select(failed_tasks.c.id).where(text("retry_at <= now()")))
    assert due == three[0]
    assert apply(connection, SCOPE, Filter(ids=tuple(discarded)), Change.RETRY, who="joe") == 0


def test_discard_takes_failed_and_retrying_ones(connection: Connection, three: list[int]):
    apply(connection, SCOPE, Filter(ids=(three[0],)), Change.RETRY, who="joe")
    assert count_for(connection, SCOPE, Filter(), Change.DISCARD) == (2, three[1])
    assert apply(connection, SCOPE, Filter(), Change.DISCARD, who="joe") == 2
    assert list(states(connection).values()) == ["discarded", "discarded", "resolved"]
    assert connection.scalars(select(failed_tasks.c.retry_at)).all() == [None, None, None]


def test_what_failed_after_the_question_is_left_alone(connection: Connection, three: list[int]):
    matched = count_for(connection, SCOPE, Filter(code="invalid_symbol"), Change.DISCARD)
    [later] = add(connection, record(code="invalid_symbol"))
    assert (
        apply(connection, SCOPE, Filter(code="invalid_symbol", up_to=matched.up_to), Change.DISCARD, who="joe")
        == matched.number
    )
    assert states(connection)[later] == "failed"


def test_nothing_matched_counts_nothing(connection: Connection):
    assert count_for(connection, SCOPE, Filter(), Change.RETRY) == (0, 0)
    assert apply(connection, SCOPE, Filter(), Change.RETRY, who="joe") == 0


def test_many_are_changed_chunk_by_chunk(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "CHUNK", 7)
    add_many(connection, (record() for _ in range(21)))
    assert apply(connection, SCOPE, Filter(), Change.RETRY, who="joe") == 21


def test_two_operators_who_retry_at_once_cause_one_run(engine: Engine, connection: Connection):
    [task] = add(connection, record())
    changed: list[int] = []

    def retry() -> None:
        with engine.connect() as own:
            changed.append(apply(own, SCOPE, Filter(ids=(task,)), Change.RETRY, who="joe"))

    # Both have begun, and wait for the row, before either can change it.
    connection.execute(select(failed_tasks.c.id).with_for_update())
    threads = [threading.Thread(target=retry) for _ in range(2)]
    for thread in threads:
        thread.start()
    with engine.connect() as watching:
        watching.execution_options(isolation_level="AUTOCOMMIT")
        waiting = text(
            "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_until(lambda: watching.scalar(waiting), "both to wait for the row")
    connection.rollback()
    for thread in threads:
        thread.join()
    assert sorted(changed) == [0, 1]


def test_a_deadlock_with_a_worker_is_gone_through(engine: Engine, connection: Connection):
    first, second = add(connection, record(), record())
    lock = text("SELECT FROM dbstorage.failed_tasks WHERE id = :id FOR UPDATE")
    changed: list[int] = []

    def discard() -> None:
        with engine.connect() as own:
            changed.append(apply(own, SCOPE, Filter(), Change.DISCARD, who="joe"))

    # It is the operator's transaction that PostgreSQL ends.
    connection.execute(text("SET deadlock_timeout = '60s'"))
    connection.execute(lock, {"id": second})
    operator = threading.Thread(target=discard)
    operator.start()
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")
    wait_until(lambda: connection.scalar(waits), "the operator to wait for the second task")
    connection.execute(lock, {"id": first})
    connection.rollback()
    operator.join()
    assert changed == [2]


def test_a_discard_can_be_undone_and_each_change_leaves_a_trail(connection: Connection):
    three = add(connection, record(), record(code="order_conflict"), record())
    assert apply(connection, SCOPE, Filter(code="invalid_symbol"), Change.DISCARD, who="joe", reason="a test") == 2
    assert apply(connection, SCOPE, Filter(code="no such"), Change.DISCARD, who="joe") == 0
    assert apply(connection, SCOPE, Filter(), Change.RESTORE, who="jane") == 2
    assert [task.state for task in find(connection, SCOPE, Filter(ids=tuple(three)))] == [State.FAILED] * 3
    trail = [
        (each.who, each.what, each.filter, each.affected, each.reason) for each in read_operations(connection, SCOPE)
    ]
    assert trail == [
        ("jane", "restore", {}, 2, None),
        ("joe", "discard", {"code": "invalid_symbol"}, 2, "a test"),
    ]


def test_a_change_in_several_parts_is_one_operation(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "CHUNK", 2)
    add(connection, *(record() for _ in range(4)))
    told: list[int] = []
    assert apply(connection, SCOPE, Filter(), Change.DISCARD, who="joe", progress=told.extend) == 4
    assert sorted(told) == sorted(states(connection))
    [operation] = read_operations(connection, SCOPE)
    assert operation.affected == 4

    def die(changed: object) -> None:
        raise KeyboardInterrupt

    # Cancelled behind the first part: what was done is on record.
    with pytest.raises(KeyboardInterrupt):
        apply(connection, SCOPE, Filter(), Change.RESTORE, who="joe", progress=die)
    newest, *_ = read_operations(connection, SCOPE)
    assert (newest.what, newest.affected, newest.state) == ("restore", 2, "ended")


def test_an_operation_whose_process_died_is_on_record_with_what_was_done(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes, "CHUNK", 2)
    add(connection, *(record() for _ in range(5)))
    parts = []

    def look(changed: object) -> None:
        [operation] = read_operations(connection, SCOPE)
        parts.append((operation.number, operation.state))

    assert apply(connection, SCOPE, Filter(code="invalid_symbol"), Change.RETRY, who="joe", progress=look) == 5
    assert parts == [("2 so far", "ongoing"), ("4 so far", "ongoing"), ("5", "ended")]
    # The row of its end was never written, and a minute has passed.
    connection.exec_driver_sql("DELETE FROM dbstorage.operations WHERE filter ? 'last'")
    connection.exec_driver_sql("UPDATE dbstorage.operations SET at = at - interval '61 seconds'")
    [operation] = read_operations(connection, SCOPE)
    assert (operation.number, operation.state) == ("4, broken off", "broken off")
    assert (operation.who, operation.what, operation.filter) == ("joe", "retry", {"code": "invalid_symbol"})


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        (None, ""),
        ({}, ""),
        ({"code": "invalid_symbol", "text": "doge", "up_to": 17}, "code invalid_symbol, text doge"),
        ({"ids": [1, 2, 3, 4, 5, 6, 7]}, "ids 1 2 3 4 5 and 2 more"),
        ({"code": "x", "set": {"symbol": "btc", "type": "buy"}}, "code x, set symbol=btc type=buy"),
    ],
)
def test_which_tasks_an_operation_met_in_words(filter: dict[str, Any] | None, words: str):
    operation = Operation(id=1, at=datetime.now(UTC), who="joe", what="retry", filter=filter, affected=1, reason=None)
    assert operation.which == words


def test_a_retry_that_has_not_run_yet_is_cancelled(connection: Connection):
    failed, retrying, resolved = add(connection, record(), record(state="retrying"), record(state="resolved"))
    assert apply(connection, SCOPE, Filter(), Change.RETRY, who="joe") == 1
    assert apply(connection, SCOPE, Filter(), Change.CANCEL, who="joe", described={"cancels": "all"}) == 2
    assert states(connection) == {failed: "failed", retrying: "failed", resolved: "resolved"}
    newest, *_ = read_operations(connection, SCOPE)
    assert (newest.what, newest.filter, newest.affected) == ("cancel", {"cancels": "all"}, 2)
