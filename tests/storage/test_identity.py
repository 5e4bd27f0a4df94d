"""Which life of the stream is stored, and whether this is the database that it was stored in."""

import hashlib
import itertools
from collections.abc import Callable
from contextlib import closing
from typing import Any, cast

import psycopg2
import pytest
import redis
from sqlalchemy import event

from dbstorage.batch.job import BatchJob, run_job
from dbstorage.batch.resources import Resources
from dbstorage.redis_access.keys import creation_key, stored_key
from dbstorage.settings import Settings
from dbstorage.storage.outcome import DUPLICATE, STORED, Outage, Report, Status
from dbstorage.storage.service import Stored, difference, open_service
from tests.service.platform import order, question, user
from tests.storage.service import Service

HERE = Stored("here", 2, 500)


@pytest.mark.parametrize(
    ("remembered", "begins"),
    [
        (None, None),
        (HERE, None),
        # Redis forgot its last second, or is an older copy: nothing is missing here.
        (HERE._replace(position=499), None),
        (HERE._replace(life=1, position=900), None),
        (HERE._replace(position=501), "The database has gone back: it holds 0-500 as the last entry"),
        (HERE._replace(life=3, position=1), "The database has gone back"),
        (HERE._replace(database="there"), "This is not the database that the service stored in before."),
    ],
)
def test_what_redis_remembers_says_whether_the_database_is_the_one(remembered: Stored | None, begins: str | None):
    sentence = difference(HERE, remembered)
    assert (sentence is None) == (begins is None)
    assert sentence is None or sentence.startswith(begins or "")


@pytest.mark.parametrize("text", [b"", b"here", b"here 1", b"here one 2", b"\xff 1 2", None])
def test_what_is_not_ours_to_read_counts_as_nothing(text: bytes | None):
    assert Stored.parse(text) is None


def test_redis_remembers_how_far_the_database_is(storing: Service):
    storing.outcomes(user("ann"))
    [entry_id] = storing.send(order("o-1", "ann"))
    storing.store()
    remembered = Stored.parse(storing.redis.get(stored_key(storing.settings)))
    assert remembered is not None
    assert f"{remembered.position >> 64}-{remembered.position & (2**64 - 1)}" == entry_id
    [(database,)] = storing.query("SELECT id::text FROM dbstorage.this_database")
    assert remembered.database == database


@pytest.mark.parametrize("kind", ["other text", "broken bytes", "a list"])
def test_what_somebody_else_put_under_the_key_holds_nothing_up_and_is_replaced(storing: Service, kind: str):
    key = stored_key(storing.settings)
    storing.outcomes(user("ann"))
    storing.redis.delete(key)
    if kind == "a list":
        storing.redis.rpush(key, "something")
    else:
        storing.redis.set(key, b"another program's" if kind == "other text" else b"\xff\x00")
    storing.send(user("ben"), order("o-1", "ben"))
    report = storing.store()
    assert (report.outage, report.acknowledged) == (None, [True, True])
    assert Stored.parse(storing.redis.get(key)) is not None


@pytest.mark.parametrize("key", [stored_key, creation_key])
def test_a_key_that_is_no_string_any_more_keeps_nobody_from_joining(storing: Service, key: Callable[[Settings], str]):
    storing.redis.delete(key(storing.settings))
    storing.redis.rpush(key(storing.settings), "something")
    storing.join()
    storing.send(user("ann"))
    report = storing.store()
    assert (report.outage, report.acknowledged) == (None, [True])


# The stream is made anew


def test_a_stream_made_anew_begins_a_new_life(storing: Service, caplog: pytest.LogCaptureFixture):
    storing.send(user("u1", "one@example.com"), order("bad1", "u1", symbol="doge"), ids=["5000-0", "5001-0"])
    storing.store()
    storing.redis.delete(storing.settings.command_stream)
    storing.join()
    storing.send(user("u1b", "one@example.com"), order("bad2", "u1b", symbol="shib"), ids=["4000-0", "5001-0"])
    report = storing.store()
    assert [outcome and outcome.status for outcome in report.outcomes] == [Status.UPDATED, Status.FAILED]
    assert storing.failed("order_id", "life", "entry_id") == [("bad1", 1, "5001-0"), ("bad2", 2, "5001-0")]
    assert storing.query('SELECT "userID" FROM "User"') == [("u1b",)]
    [record] = [record for record in caplog.records if "made anew" in record.message]
    assert record.levelname == "WARNING"
    # It is told once.
    storing.send(user("u2"))
    storing.store()
    assert storing.query("SELECT life FROM dbstorage.services") == [(2,)]


def test_entries_of_the_same_ids_and_none_that_is_older_are_a_new_life_too(storing: Service):
    storing.send(user("u1"), order("bad1", "u1", symbol="doge"), ids=["5000-0", "5001-0"])
    storing.store()
    storing.redis.delete(storing.settings.command_stream)
    storing.join()
    storing.send(user("u2"), order("bad2", "u2", symbol="doge"), ids=["5000-0", "5001-0"])
    storing.store()
    assert [life for _, life in storing.failed("order_id", "life")] == [1, 2]


def test_a_group_made_anew_on_the_same_stream_is_no_new_life(storing: Service):
    storing.send(user("u1"), order("o-1", "u1"), order("bad", "u1", symbol="doge"))
    storing.store()
    storing.redis.xgroup_destroy(storing.settings.command_stream, storing.settings.consumer_group)
    storing.join()
    report = storing.store()
    assert [outcome and outcome.status for outcome in report.outcomes] == [
        Status.UNCHANGED,
        Status.DUPLICATE,
        Status.FAILED,
    ]
    assert len(storing.failed("id")) == 1


def test_an_emptied_redis_goes_on_with_the_next_life(storing: Service):
    storing.send(user("u1"), ids=["5000-0"])
    storing.store()
    storing.redis.flushall()
    storing.join()
    storing.send(user("u2"), ids=["4000-0"])
    assert storing.store().outage is None
    assert storing.query("SELECT life FROM dbstorage.services") == [(2,)]


# The database has gone back, or is another one


def hold(storing: Service) -> str:
    """Send an order, and see that everything waits; why it does."""
    storing.send(order("held", "ann"))
    report = storing.store()
    assert report.outage is Outage.FAULT
    assert report.outcomes == [None]
    assert not any(report.acknowledged)
    return report.reason


def test_a_database_gone_back_holds_everything_with_a_sentence(storing: Service):
    storing.outcomes(user("ann"))
    [(position, digest)] = storing.query("SELECT entry_position, digest FROM dbstorage.positions")
    storing.outcomes(order("o-1", "ann"))
    # As a backup restored, with the connections that this takes.
    storing.query("UPDATE dbstorage.positions SET entry_position = :p, digest = :d", p=position, d=bytes(digest))
    storing.resources.forget_database()
    assert hold(storing).startswith("The database has gone back: it holds")
    assert "dbstorage replay" in hold(storing)


def test_one_that_goes_back_under_a_connection_is_noticed_with_the_next_batch(storing: Service):
    storing.outcomes(user("ann"))
    storing.query("DELETE FROM dbstorage.positions")
    assert hold(storing).startswith("The database has gone back: it holds nothing")


def test_another_database_holds_everything_until_it_is_accepted(storing: Service):
    storing.outcomes(user("ann"))
    storing.query("UPDATE dbstorage.this_database SET id = gen_random_uuid()")
    storing.resources.forget_database()
    assert hold(storing).startswith("This is not the database that the service stored in before.")


class _RedisBesideAnotherWorker(redis.Redis):
    """A client of Redis that lets another worker store something before and after each value is read."""

    another_stores: Callable[[], None]

    def get(self, name: Any) -> Any:
        self.another_stores()
        value = super().get(name)
        self.another_stores()
        return value


def test_others_that_go_on_storing_do_not_make_the_database_seem_to_have_gone_back(storing: Service):
    storing.outcomes(user("ann"))
    one = storing.resources
    other = Resources(storing.settings, one.engine, one.redis)
    client = cast(_RedisBesideAnotherWorker, _RedisBesideAnotherWorker.from_url(storing.environment["REDIS_URL"]))
    numbers = itertools.count()

    def store() -> None:
        [entry_id] = storing.send(order(f"o-{next(numbers)}", "ann"))
        [(_, fields)] = storing.redis.xrange(storing.settings.command_stream, entry_id, entry_id)
        pairs = [part for pair in fields.items() for part in pair]
        report = run_job(other, BatchJob([entry_id], [pairs], "other", group_creation=storing.creation))
        assert report.outcomes == [STORED]

    client.another_stores = store
    with closing(client), one.engine.connect() as connection:
        open_service(connection, client, storing.settings, storing.creation, "")


def test_what_was_committed_and_not_acknowledged_counts_where_the_database_goes_back_in_the_job(storing: Service):
    """As a standby that is promoted without the last transaction, between it and the question behind it."""
    storing.outcomes(user("ann"))
    before = storing.query("SELECT entry_position, digest FROM dbstorage.positions")
    lost = 0

    def lose(session: Any, *_: Any) -> None:
        nonlocal lost
        with session.cursor() as cursor:
            cursor.execute('SELECT count(*), pg_backend_pid() FROM "Orders"')
            orders, backend = cursor.fetchone()
        session.rollback()
        if orders and not lost:
            lost += 1
            with (
                closing(psycopg2.connect(storing.environment["DATABASE_URL"])) as other,
                other,
                other.cursor() as cursor,
            ):
                cursor.execute('DELETE FROM "Orders"')
                cursor.execute("UPDATE dbstorage.positions SET entry_position = %s, digest = %s", before[0])
                cursor.execute("SELECT pg_terminate_backend(%s)", (backend,))

    event.listen(storing.resources.engine, "checkout", lose)
    storing.send(order("o-1", "ann"), question("ann", "q"))
    try:
        report = storing.store()
    finally:
        event.remove(storing.resources.engine, "checkout", lose)
    assert lost == 1
    assert (report.outage, report.reason[:26]) == (Outage.FAULT, "The database has gone back")
    assert hold(storing).startswith("The database has gone back: it holds")


def test_two_databases_behind_one_group_are_noticed(storing: Service):
    storing.outcomes(user("ann"))
    storing.redis.set(stored_key(storing.settings), Stored("11111111-1111-1111-1111-111111111111", 1, 1).text)
    storing.send(order("o-1", "ann"))
    assert storing.store().outage is Outage.FAULT
    assert hold(storing).startswith("This is not the database")


def test_a_redis_that_forgot_its_last_second_does_not_stop_anything(storing: Service):
    storing.outcomes(user("ann"))
    before = storing.redis.get(stored_key(storing.settings))
    storing.outcomes(order("o-1", "ann"))
    storing.redis.set(stored_key(storing.settings), before)
    storing.resources.forget_database()
    assert storing.outcomes(order("o-1", "ann"), order("o-2", "ann")) == [DUPLICATE, STORED]


def test_the_position_is_that_of_the_last_entry_with_its_bytes(storing: Service):
    [entry_id] = storing.send(user("ann"))
    storing.store()
    [[_, fields]] = storing.redis.xrange(storing.settings.command_stream)
    digest = hashlib.sha256(fields[b"message"]).digest()
    [(position, found)] = storing.query("SELECT entry_position, digest FROM dbstorage.positions")
    assert (int(position) >> 64, bytes(found)) == (int(entry_id.partition("-")[0]), digest)


def test_rows_of_processes_that_are_gone_are_forgotten_after_a_month(storing: Service):
    storing.outcomes(user("u"))
    storing.query(
        """
        INSERT INTO dbstorage.positions (stream, consumer_group, writer, life, entry_position, digest, applied_at)
        SELECT other.stream, consumer_group, name, life, entry_position - 1, digest, now() - days * interval '1 day'
        FROM dbstorage.positions AS known, LATERAL (VALUES
            (known.stream, 'gone', 31), (known.stream, 'recent', 29), ('of another service', 'gone', 31)
        ) AS other(stream, name, days)
        """
    )
    storing.resources.forget_database()
    assert storing.outcomes(order("o", "u")) == [STORED]
    left = {writer.partition("/")[0] for (writer,) in storing.query("SELECT writer FROM dbstorage.positions")}
    assert left == {"test", "recent", "gone"}
    assert storing.query("SELECT stream FROM dbstorage.positions WHERE writer = 'gone'") == [("of another service",)]


def test_the_row_that_is_furthest_is_never_forgotten(storing: Service):
    storing.outcomes(user("u"))
    storing.query("UPDATE dbstorage.positions SET writer = 'gone', applied_at = now() - interval '1 year'")
    furthest = storing.query("SELECT entry_position FROM dbstorage.positions")
    storing.query("UPDATE dbstorage.positions SET entry_position = entry_position * 2")
    storing.redis.delete(stored_key(storing.settings))
    storing.resources.forget_database()
    storing.outcomes(order("o", "u"))
    assert storing.query("SELECT entry_position / 2 FROM dbstorage.positions WHERE writer = 'gone'") == furthest


def test_one_that_goes_back_while_no_batch_runs_is_noticed_with_the_next(storing: Service):
    """As a standby that is promoted while nothing comes in: the connection is cut, and a new one is taken unasked."""
    storing.outcomes(user("ann"), order("o-1", "ann"))
    storing.query("DELETE FROM dbstorage.positions")
    with storing.resources.engine.connect() as connection:
        own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    cut = psycopg2.connect(storing.environment["DATABASE_URL"])
    cut.autocommit = True
    cut.cursor().execute("SELECT pg_terminate_backend(%s)", (own,))
    cut.close()
    storing.send(order("o-2", "ann"))
    report = storing.store()
    assert report.outage is Outage.FAULT
    assert storing.owners() == {"o-1": "ann"}


class _Backup:
    """What our tables hold of the position, and a restore of it as pg_restore does, under open connections."""

    def __init__(self, storing: Service) -> None:
        self._storing = storing
        self._positions = storing.query("SELECT * FROM dbstorage.positions")

    def restore(self) -> None:
        with closing(psycopg2.connect(self._storing.environment["DATABASE_URL"])) as other, other:
            cursor = other.cursor()
            cursor.execute("DELETE FROM dbstorage.positions")
            for row in self._positions:
                cursor.execute(f"INSERT INTO dbstorage.positions VALUES ({', '.join(['%s'] * len(row))})", row)
            cursor.execute("DELETE FROM dbstorage.this_database RETURNING id")
            cursor.execute("INSERT INTO dbstorage.this_database (id) VALUES (%s)", cursor.fetchone())


def test_a_process_that_stored_nothing_since_the_backup_notices_that_it_was_restored(storing: Service):
    storing.outcomes(user("ann"))
    one = storing.resources
    other = Resources(storing.settings, one.engine, one.redis)

    def store(resources: Resources, order_id: str) -> Report:
        [entry_id] = storing.send(order(order_id, "ann"))
        [(_, fields)] = storing.redis.xrange(storing.settings.command_stream, entry_id, entry_id)
        pairs = [part for pair in fields.items() for part in pair]
        name = "other" if resources is other else "test"
        return run_job(resources, BatchJob([entry_id], [pairs], name, group_creation=storing.creation))

    assert store(other, "o-1").outcomes == [STORED]
    backup = _Backup(storing)
    assert store(one, "o-2").outcomes == [STORED]
    backup.restore()
    report = store(other, "o-3")
    assert report.outcomes == [None]
    assert report.reason.startswith("The database has gone back: it holds")


def test_no_failed_task_is_run_in_a_database_that_was_restored(storing: Service):
    storing.outcomes(user("ann"), order("waits", "ben"))
    storing.sweep()
    backup = _Backup(storing)
    storing.outcomes(order("o-1", "ann"))
    before = storing.failed("state", "attempts")
    backup.restore()
    storing.make_due()
    report = storing.sweep()
    assert report.outage is Outage.FAULT
    assert report.reason.startswith("The database has gone back: it holds")
    assert storing.failed("state", "attempts") == before


def test_a_restore_of_all_that_was_stored_holds_nobody_up(storing: Service):
    storing.outcomes(user("ann"))
    _Backup(storing).restore()
    assert storing.outcomes(order("o-1", "ann")) == [STORED]
