"""Orders that come before their user: stored with the createUser they wait for, in stream order, to that person."""

import pytest

from dbstorage.failed_tasks.changes import Change, apply
from dbstorage.failed_tasks.filters import Filter
from dbstorage.storage import waiting
from dbstorage.storage.outcome import STORED, Status
from tests.service.platform import order, user
from tests.storage.service import Service


def test_an_order_is_stored_in_the_transaction_of_the_createuser_it_waits_for(storing: Service):
    storing.outcomes(order("o-1", "ann"), order("o-2", "ann"))
    storing.send(user("ann"))
    report = storing.store()
    assert storing.owners() == {"o-1": "ann", "o-2": "ann"}
    assert storing.failed("state", "attempts") == [("resolved", 2), ("resolved", 2)]
    assert [(each.task_id, each.attempts, each.outcome) for each in report.retried] == [
        ("createCloseOrder:o-1", 2, STORED),
        ("createCloseOrder:o-2", 2, STORED),
    ]


def test_one_that_gave_up_waiting_is_stored_as_well_and_a_discarded_one_is_not(storing: Service):
    storing.outcomes(order("late", "ann"), order("given up", "ann"))
    storing.query("UPDATE dbstorage.failed_tasks SET state = 'failed', retry_at = NULL WHERE order_id = 'late'")
    storing.query("UPDATE dbstorage.failed_tasks SET state = 'discarded', retry_at = NULL WHERE order_id = 'given up'")
    storing.outcomes(user("ann"))
    assert storing.owners() == {"late": "ann"}


def test_it_goes_to_the_person_who_came_whoever_has_the_id_later(storing: Service):
    storing.outcomes(order("early", "u"))
    storing.outcomes(user("u", "ann@example.com"))
    storing.outcomes(user("ann-2", "ann@example.com"), user("u", "bob@example.com"))
    storing.make_due()
    storing.sweep()
    assert storing.owners() == {"early": "ann-2"}


#: Refuses whatever is written, even no row at all: a statement's own trigger fires for each statement.
FAULT = """
CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN WHAT; RETURN NULL; END $$;
CREATE TRIGGER fault BEFORE INSERT ON "Orders" FOR EACH STATEMENT EXECUTE FUNCTION fault()
"""
FAULTS = ["RAISE EXCEPTION 'a fault'", "PERFORM pg_sleep(9)"]


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_of_the_database_at_a_retry_leaves_it_an_order_that_waits_for_its_user(storing: Service, what: str):
    storing.outcomes(order("early", "ann"))
    storing.query(FAULT.replace("WHAT", what))
    storing.make_due()
    [told] = storing.sweep().retried
    assert (told.outcome.code, told.outcome.status) == ("user_not_found", Status.RETRYING)
    assert "The database refused it" in (told.outcome.message or "")
    storing.query('DROP TRIGGER fault ON "Orders"')
    # It is not due, and yet it is stored at once.
    storing.outcomes(user("ann"))
    assert storing.owners() == {"early": "ann"}


def test_a_fault_at_the_end_of_its_time_is_not_what_ends_the_wait(storing: Service):
    storing.outcomes(order("early", "ann"))
    storing.query(FAULT.replace("WHAT", FAULTS[0]))
    storing.query("UPDATE dbstorage.failed_tasks SET first_failed_at = now() - interval '1 year', retry_at = now()")
    storing.sweep()
    assert storing.failed("code", "state") == [("user_not_found", "retrying")]
    storing.query('DROP TRIGGER fault ON "Orders"')
    storing.make_due()
    storing.sweep()
    assert storing.failed("code", "state") == [("user_not_found", "failed")]


def test_an_operators_retry_that_meets_a_fault_leaves_it_waiting_too(storing: Service):
    storing.outcomes(order("early", "ann"))
    storing.query("UPDATE dbstorage.failed_tasks SET state = 'failed', retry_at = NULL")
    storing.query(FAULT.replace("WHAT", FAULTS[0]))
    with storing.resources.engine.connect() as connection:
        assert apply(connection, storing.settings.scope, Filter(), Change.RETRY, who="a test") == 1
    storing.sweep()
    storing.query('DROP TRIGGER fault ON "Orders"')
    storing.outcomes(user("ann"))
    assert storing.owners() == {"early": "ann"}


def test_one_whose_user_has_come_and_which_is_refused_waits_for_the_database(storing: Service):
    storing.outcomes(order("early", "ann"))
    storing.query(FAULT.replace("WHAT", FAULTS[0]))
    storing.outcomes(user("ann"))
    storing.sweep()
    assert storing.failed("code", "state") == [("database_error", "retrying")]
    storing.query('DROP TRIGGER fault ON "Orders"')
    storing.make_due()
    storing.sweep()
    assert storing.owners() == {"early": "ann"}


def test_they_come_into_the_table_in_stream_order_and_before_the_orders_of_the_batch(storing: Service):
    # The ids sort otherwise as text, and the records were written in another order.
    storing.send(order("second", "ann"), order("third", "ann"), ids=["10-0", "10-2"])
    storing.store()
    storing.query("UPDATE dbstorage.failed_tasks SET entry_id = '9-5' WHERE order_id = 'third'")
    storing.send(order("last", "ann"), user("ann"), ids=["11-0", "11-1"])
    storing.store()
    assert list(storing.owners()) == ["third", "second", "last"]


def test_one_that_is_refused_never_fails_the_createuser(storing: Service):
    storing.outcomes(order("refused", "ann"), order("welcome", "ann"))
    storing.query(
        """
        ALTER TABLE "Orders" ADD CONSTRAINT no_refused CHECK ("orderId" <> 'refused')
        """
    )
    assert [outcome and outcome.status for outcome in storing.outcomes(user("ann"))] == [Status.CREATED]
    assert storing.owners() == {}
    # The rest is the sweep's, at once.
    report = storing.sweep()
    assert {each.task_id: each.outcome.status for each in report.retried}["createCloseOrder:welcome"] is Status.STORED
    assert storing.owners() == {"welcome": "ann"}


def test_those_beyond_a_thousand_are_the_sweeps_at_once_and_still_their_persons(
    storing: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waiting, "MOST_AT_ONCE", 2)
    storing.outcomes(*(order(f"o-{number}", "u") for number in range(5)))
    storing.outcomes(user("u", "ann@example.com"))
    assert list(storing.owners()) == ["o-0", "o-1"]
    # Before the sweep comes to them the person has another id, and somebody else has hers.
    storing.outcomes(user("ann-2", "ann@example.com"), user("u", "bob@example.com"))
    storing.outcomes(user("ann-3", "ann@example.com"))
    storing.sweep()
    assert storing.owners() == {f"o-{number}": "ann-3" for number in range(5)}


def test_of_large_ones_no_more_are_loaded_at_one_time_than_fit_into_a_process(storing: Service):
    large = [{**order(f"o-{number}", "u"), "note": "x" * 1_000_000} for number in range(20)]
    for first in range(0, 20, 5):
        storing.outcomes(*large[first : first + 5])
    storing.send(user("u"))
    report = storing.store()
    assert [each.task_id for each in report.retried] == [f"createCloseOrder:o-{number}" for number in range(17)]
    storing.sweep()
    assert storing.owners() == {f"o-{number}": "u" for number in range(20)}


def test_an_order_that_failed_otherwise_follows_its_persons_moves(storing: Service):
    storing.outcomes(user("u", "ann@example.com"))
    storing.query("""ALTER TABLE "Orders" ADD CONSTRAINT none CHECK ("orderId" <> 'held up')""")
    storing.outcomes(order("held up", "u"))
    storing.query('ALTER TABLE "Orders" DROP CONSTRAINT none')
    storing.outcomes(user("ann-2", "ann@example.com"), user("u", "bob@example.com"))
    storing.query("UPDATE dbstorage.failed_tasks SET state = 'retrying', retry_at = now()")
    storing.sweep()
    assert storing.owners() == {"held up": "ann-2"}


END_SESSION = """
CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW."orderId" LIKE 'bad%' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER end_session BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION end_session()
"""


def test_one_that_ends_the_session_never_fails_the_createuser_and_the_sweep_finds_it(storing: Service):
    storing.outcomes(order("welcome", "ann"), order("bad", "ann"))
    storing.query(END_SESSION)
    assert [outcome and outcome.status for outcome in storing.outcomes(user("ann"), user("bob"))] == [
        Status.CREATED,
        Status.CREATED,
    ]
    report = storing.sweep()
    assert report.outage is None
    assert {each.task_id: each.outcome.code for each in report.retried} == {
        "createCloseOrder:welcome": None,
        "createCloseOrder:bad": "database_error",
    }
    assert storing.owners() == {"welcome": "ann"}
    # It is not due again at once.
    assert storing.sweep().retried == []
