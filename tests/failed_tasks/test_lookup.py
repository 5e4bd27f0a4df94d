from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks import lookup
from dbstorage.failed_tasks.filters import Filter, State, parse_ids, parse_moment
from dbstorage.failed_tasks.groups import By, find_groups
from dbstorage.failed_tasks.lookup import Payload, SortColumn, Sorting, count, count_by_code, find, load
from dbstorage.wire.entry import Layout
from tests.failed_tasks.records import SCOPE, add, record

BASE = datetime(2026, 5, 5, tzinfo=UTC)


def ids(connection: Connection, **which: object) -> list[int]:
    return sorted(task.id for task in find(connection, SCOPE, Filter(**which)))  # type: ignore[arg-type]


def test_tasks_are_found_by_each_field_of_a_filter(connection: Connection, three: list[int]):
    first, second, third = three
    assert ids(connection) == three
    assert ids(connection, ids=(first, third, 999)) == [first, third]
    assert ids(connection, states=(State.FAILED, State.RETRYING)) == [first, second]
    assert ids(connection, code="user_not_found") == [second]
    assert ids(connection, function="createUser") == [third]
    assert ids(connection, user_id="user-2") == [second, third]
    assert ids(connection, user_id="user-2", function="createCloseOrder") == [second]
    assert ids(connection, order_id="a") == [first]
    assert ids(connection, task_id="createUser:9-9") == [third]
    assert ids(connection, up_to=second) == [first, second]


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        ("IS NOT THERE", [1]),
        ("createcloseorder:A", [0]),
        ("Joe@example.com", [2]),
        ("joe@example.com", []),
        ("100%", [2]),
        ("somebody_else", [2]),
        ("somebody%else", []),
        ("_", [2]),
        ("'; DROP TABLE dbstorage.failed_tasks; --", []),
        ("\\", []),
        (" ", [0, 1, 2]),
    ],
)
def test_text_is_looked_for_as_it_is(connection: Connection, three: list[int], searched: str, found: list[int]):
    assert ids(connection, text=searched) == [three[index] for index in found]


@pytest.mark.parametrize("value", ["", "nul\0", "\ud800"])
def test_text_that_no_task_can_hold_is_refused(value: str):
    with pytest.raises(ValueError, match="expected some text, in UTF-8"):
        Filter(text=value)


@pytest.mark.parametrize("word", ["", "-1", "x", "1.5", "²", "99999999999999999999", "9999999999999999999"])
def test_a_word_that_is_no_id_is_refused(word: str):
    with pytest.raises(ValueError, match="is not the id of a failed task"):
        Filter(ids=parse_ids([word]))


def test_ids_are_whole_numbers_that_the_column_takes():
    assert parse_ids(["17", "0", "9223372036854775807"]) == (17, 0, 2**63 - 1)
    assert Filter(ids=(0, 2**63 - 1), up_to=2**63 - 1).selects
    with pytest.raises(ValueError, match=r"^9223372036854775808 is not the id of a failed task"):
        Filter(up_to=2**63)
    with pytest.raises(ValueError, match=r"^'99999999999999999999' is not the id of a failed task"):
        parse_ids(["9" * 20])


def test_pages_follow_each_other_without_gap_or_repeat(connection: Connection):
    moments = [BASE + timedelta(seconds=number // 3) for number in range(10)]
    written = add(connection, *(record(last_failed_at=moment) for moment in moments))
    pages = [find(connection, SCOPE, Filter(), limit=4, offset=offset) for offset in (0, 4, 8, 12)]
    assert [task.id for page in pages for task in page] == written[::-1]
    assert [len(page) for page in pages] == [4, 4, 2, 0]


@pytest.mark.parametrize("column", SortColumn)
def test_every_column_sorts_both_ways_with_the_unknown_last(connection: Connection, column: SortColumn):
    fields = {"function": "x", "user_id": "1", "order_id": "1", "code": "a", "attempts": 1, "state": "discarded"}
    add(connection, record(**fields, first_failed_at=BASE, last_failed_at=BASE))
    add(connection, record(function="y", user_id="2", order_id="2", code="b", attempts=2, state="failed"))
    if failed_tasks.c[column.value].nullable:
        add(connection, record(**{column.value: None}))
    values = [
        [getattr(task, column.value) for task in find(connection, SCOPE, Filter(), Sorting(column, descending))]
        for descending in (False, True)
    ]
    known = [[value for value in found if value is not None] for found in values]
    assert known[0] == sorted(known[0])
    assert known[1] == known[0][::-1]
    assert all(value is not None for found in values for value in found[: len(known[0])])


def test_all_are_found_over_many_reads(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookup, "CHUNK", 4)
    written = add(connection, *(record(last_failed_at=BASE + timedelta(seconds=number // 3)) for number in range(12)))
    assert [task.id for task in lookup.find_all(connection, SCOPE, Filter())] == written[::-1]


def test_one_is_loaded_with_its_bytes(connection: Connection, three: list[int]):
    loaded = load(connection, SCOPE, three[2])
    assert loaded is not None
    task, payload = loaded
    assert (task.id, task.state, task.order_id, task.retry_at) == (three[2], State.RESOLVED, None, None)
    assert payload == Payload(Layout.ENVELOPE, b'\xff{"userEmail":"Joe@example.com"}')
    assert load(connection, SCOPE, 999) is None


def test_tasks_are_counted_by_code_and_state(connection: Connection, three: list[int]):
    add(connection, record(code="user_not_found", state="failed"))
    assert count_by_code(connection, SCOPE) == {
        "invalid_symbol": {State.FAILED: 1},
        "user_conflict": {State.RESOLVED: 1},
        "user_not_found": {State.FAILED: 1, State.RETRYING: 1},
    }
    assert count(connection, SCOPE, Filter(user_id="user-2")) == 2


@pytest.fixture
def hundred_thousand(connection: Connection) -> Connection:
    # In parts, because the service's own time limits are for its statements.
    for first in range(1, 100_001, 10_000):
        connection.execute(
            text(
                """
                INSERT INTO dbstorage.failed_tasks (stream, consumer_group, life, task_id, function, entry_id, layout,
                    payload, user_id, order_id, code, message, state, last_failed_at)
                SELECT :stream, :group, 1, 'createCloseOrder:' || n, 'createCloseOrder', n || '-0', 'envelope',
                    convert_to('{"message":{"orderId":"' || n || repeat('x', 300) || '"}}', 'UTF8'),
                    'user-' || n % 500, n::text, 'code_' || n % 9, 'symbol is ''doge'': expected btc, eth or sol.',
                    'failed', CAST(:now AS timestamptz) - make_interval(secs => n)
                FROM generate_series(:first, :first + 9999) AS n
                """
            ),
            {**SCOPE._asdict(), "first": first, "now": datetime.now(UTC)},
        )
    connection.commit()
    connection.execute(text("ANALYZE dbstorage.failed_tasks"))
    connection.commit()
    return connection


def statements_of(connection: Connection, run: Callable[[], object]) -> list[tuple[str, Any]]:
    """The statements that the code itself sends, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        run()
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return sent


def test_a_hundred_thousand_tasks_are_listed_through_an_index(hundred_thousand: Connection):
    # A plan, not a time: the first page reads its own rows and no others.
    [(statement, parameters)] = statements_of(hundred_thousand, lambda: find(hundred_thousand, SCOPE, Filter()))
    plan = "\n".join(hundred_thousand.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
    assert "Index Only Scan using failed_tasks_last_failed_at_idx" in plan
    assert [task.order_id for task in find(hundred_thousand, SCOPE, Filter(), limit=2, offset=99_998)] == [
        "99999",
        "100000",
    ]
    assert count(hundred_thousand, SCOPE, Filter(text="doge")) == 100_000


def test_groups_take_values_in_a_sentence_as_equal(connection: Connection):
    add(
        connection,
        record(message="symbol is 'doge': expected btc."),
        record(message="symbol is 'it': expected btc.", user_id="user-2"),
        record(code="user_not_found", message="There is no user with the userId 'u-7'."),
    )
    found = find_groups(connection, SCOPE, Filter(), By.SENTENCE)
    assert [group[:3] for group in found] == [
        ("invalid_symbol", "symbol is …: expected btc.", 2),
        ("user_not_found", "There is no user with the userId ….", 1),
    ]
    assert [group[:3] for group in find_groups(connection, SCOPE, Filter(), By.USER)] == [
        ("invalid_symbol", "user-1", 1),
        ("invalid_symbol", "user-2", 1),
        ("user_not_found", "user-1", 1),
    ]
    for sentence in ("symbol is …: expected btc.", "symbol is 'it': expected btc.", "symbol is 'x': expected btc."):
        assert count(connection, SCOPE, Filter(sentence=sentence)) == 2
    assert count(connection, SCOPE, Filter(sentence="symbol is")) == 0


def test_a_filter_by_time_takes_the_last_failure(connection: Connection):
    old, new = add(
        connection,
        record(last_failed_at=datetime(2026, 5, 5, tzinfo=UTC)),
        record(last_failed_at=datetime(2026, 5, 6, tzinfo=UTC)),
    )
    noon = datetime(2026, 5, 5, 12, tzinfo=UTC)
    assert [task.id for task in find(connection, SCOPE, Filter(since=noon))] == [new]
    assert [task.id for task in find(connection, SCOPE, Filter(until=noon))] == [old]
    assert count(connection, SCOPE, Filter(since=noon, until=noon)) == 0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", datetime(2026, 5, 5, 10, tzinfo=UTC)),
        ("90 s", datetime(2026, 5, 5, 11, 58, 30, tzinfo=UTC)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T02:00+02:00", datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_moments_as_a_person_writes_them(text: str, moment: datetime):
    assert parse_moment(text, datetime(2026, 5, 5, 12, tzinfo=UTC)) == moment


@pytest.mark.parametrize("text", ["yesterday", "", "-2h", "999999d", "2026-13-01"])
def test_a_moment_that_is_none_is_refused_with_a_sentence(text: str):
    with pytest.raises(ValueError, match="is no moment: expected one such as"):
        parse_moment(text, datetime(2026, 5, 5, 12, tzinfo=UTC))
