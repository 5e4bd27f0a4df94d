"""Failed tasks that are due run many at a time, through the same code as entries of the stream."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbstorage.batch.resources import Resources
from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks import sweep
from dbstorage.storage.outcome import DUPLICATE, STORED
from dbstorage.storage.retries import KEPT_ATTEMPTS
from tests.service.platform import order, user
from tests.storage.conftest import storing
from tests.storage.service import Service

__all__ = ["storing"]

STEPS = ["create u a", "create u b", "create v a", "create w a", "order u", "order v"]


def fail(service: Service, *order_ids: str) -> None:
    """Orders that failed as if their user had not been there, and are due."""
    service.outcomes(*(order(order_id, "ann") for order_id in order_ids))
    service.query(
        "UPDATE dbstorage.failed_tasks SET code = 'database_error', state = 'retrying', retry_at = now() "
        "WHERE state <> 'resolved'"
    )


def test_many_are_stored_in_one_transaction(storing: Service):
    fail(storing, *(f"o-{number}" for number in range(200)))
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    report = storing.sweep()
    assert [each.outcome for each in report.retried] == [STORED] * 200
    assert storing.query('SELECT count(DISTINCT xmin::text), count(*) FROM "Orders"') == [(1, 200)]
    assert not report.more
    assert storing.sweep().retried == []


def test_more_are_told_of_where_a_job_is_full(storing: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweep, "MOST_AT_ONCE", 3)
    fail(storing, *(f"o-{number}" for number in range(7)))
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    assert [len(storing.sweep().retried) for _ in range(3)] == [3, 3, 1]
    assert len(storing.owners()) == 7


def test_one_that_is_refused_fails_alone(storing: Service):
    storing.query("""ALTER TABLE "Orders" ADD CONSTRAINT no_second CHECK ("orderId" <> 'o-2')""")
    fail(storing, *(f"o-{number}" for number in range(5)))
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    storing.sweep()
    assert set(storing.owners()) == {"o-0", "o-1", "o-3", "o-4"}
    [state] = {state for order_id, state in storing.failed("order_id", "state") if order_id == "o-2"}
    assert state in ("failed", "retrying")


def test_those_that_the_database_refuses_again_do_not_stand_in_front_of_others(
    storing: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweep, "MOST_AT_ONCE", 3)
    fail(storing, *(f"bad-{number}" for number in range(3)))
    fail(storing, "good")
    storing.query("UPDATE dbstorage.failed_tasks SET retry_at = now() - interval '1 s' WHERE order_id LIKE 'bad%'")
    storing.query(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW."orderId" LIKE 'bad%' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    storing.sweep()
    storing.sweep()
    assert list(storing.owners()) == ["good"]
    assert storing.query(
        "SELECT DISTINCT code, state, attempts, retry_at > now() FROM dbstorage.failed_tasks WHERE order_id LIKE 'bad%'"
    ) == [("database_error", "retrying", 2, True)]


def test_those_that_together_take_too_long_are_stored_one_after_the_other(storing: Service):
    fail(storing, *(f"o-{number}" for number in range(6)))
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    storing.query(
        """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION slow()
        """
    )
    for _ in range(6):
        storing.sweep()
    assert len(storing.owners()) == 6


def test_a_function_that_this_version_does_not_know_stays_and_stops_nobody(storing: Service):
    fail(storing, "before", "unknown", "behind")
    storing.query("UPDATE dbstorage.failed_tasks SET function = 'renameUser' WHERE order_id = 'unknown'")
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    storing.sweep()
    assert list(storing.owners()) == ["before", "behind"]
    assert storing.failed("order_id", "state") == [
        ("before", "resolved"),
        ("unknown", "retrying"),
        ("behind", "resolved"),
    ]


def test_one_that_somebody_is_changing_is_left_to_the_next_sweep(storing: Service):
    fail(storing, "held", "free")
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    # Of its own: the process's resources have one connection.
    engine = create_engine(storing.settings.database)
    with storing.resources.engine.begin() as operator:
        operator.exec_driver_sql("SELECT FROM dbstorage.failed_tasks WHERE order_id = 'held' FOR UPDATE")
        meanwhile = sweep.Sweep(Resources(storing.settings, engine, storing.redis))
        meanwhile.run()
        assert [work.outcome for work in meanwhile.works] == [None, STORED]
    engine.dispose()
    storing.sweep()
    assert set(storing.owners()) == {"held", "free"}


def test_a_duplicate_draws_no_number_of_the_sequence(storing: Service):
    storing.outcomes(user("ann"), order("o-1", "ann"))
    again = [order("o-1", "ann") for _ in range(30)]
    assert set(storing.outcomes(*again, order("o-2", "ann"), order("o-2", "ann"))) == {DUPLICATE, STORED}
    fail(storing, "o-1")
    storing.sweep()
    storing.outcomes(order("o-3", "ann"))
    assert storing.query('SELECT "orderId", id FROM "Orders" ORDER BY id') == [("o-1", 1), ("o-2", 2), ("o-3", 3)]


def test_the_last_twenty_attempts_of_a_task_are_kept(storing: Service):
    storing.outcomes(order("early", "nobody"))
    for _ in range(24):
        storing.query("UPDATE dbstorage.failed_tasks SET state = 'retrying', retry_at = now()")
        storing.sweep()
    attempts = storing.query("SELECT number, outcome, code FROM dbstorage.attempts ORDER BY number")
    assert [number for number, _, _ in attempts] == list(range(26 - KEPT_ATTEMPTS, 26))
    assert {code for _, _, code in attempts} == {"user_not_found"}
    storing.outcomes(user("nobody"))
    last = storing.query("SELECT number, outcome, code FROM dbstorage.attempts ORDER BY number DESC LIMIT 1")
    assert last == [(26, "resolved", None)]


def test_a_conflict_found_at_a_retry_is_called_as_one_found_at_once(storing: Service):
    [entry_id] = storing.send(order("o-1", "ann", quantity=2))
    storing.store()
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('ann', 'ann@example.com')""")
    storing.outcomes(order("o-1", "ann", quantity=1))
    storing.make_due()
    [told] = storing.sweep().retried
    assert (told.task_id, told.outcome.code) == (f"createCloseOrder:o-1:{entry_id}", "order_conflict")
    assert storing.failed("task_id", "code") == [(f"createCloseOrder:o-1:{entry_id}", "order_conflict")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["create u a", "create u b", "create v a", "create w a", "order u", "order v"]), max_size=14
    ),
    st.data(),
)
def test_whatever_the_batches_and_sweeps_every_order_belongs_to_the_person_that_the_stream_says(
    storing: Service, script: list[str], data: st.DataObject
):
    storing.query('TRUNCATE "Orders", "User", dbstorage.failed_tasks, dbstorage.applied_users RESTART IDENTITY CASCADE')
    emails: dict[str, str] = {}  # userID -> e-mail, as one after the other would leave it
    owner: dict[str, str] = {}  # orderId -> e-mail
    waiting: dict[str, list[str]] = {}
    sent = []
    for number, step in enumerate(script):
        what, user_id, *rest = step.split()
        if what == "order":
            order_id = f"o-{number}"
            sent.append(order(order_id, user_id))
            if user_id in emails:
                owner[order_id] = emails[user_id]
            else:
                waiting.setdefault(user_id, []).append(order_id)
            continue
        email = f"{rest[0]}@example.com"
        sent.append(user(user_id, email))
        holder = next((held for held, its in emails.items() if its == email), None)
        if holder is not None and holder != user_id:
            if user_id in emails:
                continue  # a conflict of two users: nothing is changed
            del emails[holder]
            emails[user_id] = email
        elif holder is None:
            if user_id in emails:
                old = emails[user_id]
                owner.update({order_id: email for order_id, its in owner.items() if its == old})
            emails[user_id] = email
        for order_id in waiting.pop(user_id, []):
            owner[order_id] = emails[user_id]
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        storing.send(*sent[:size])
        storing.store()
        del sent[:size]
        if data.draw(st.booleans()):
            storing.make_due()
            storing.sweep()
    stored = storing.query('SELECT "orderId", email FROM "Orders" JOIN "User" ON "userID" = "userId"')
    assert dict(stored) == owner
