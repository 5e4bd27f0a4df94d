"""Which failures are tried again by themselves and when, and what a failed task is called."""

import pytest

from dbstorage.codes import DATABASE_ERROR, ORDER_CONFLICT, USER_NOT_FOUND
from dbstorage.storage.backoff import next_attempt
from dbstorage.storage.failures import Failed, failure_of, task_id_of
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.work import Work, understand, understand_request
from dbstorage.wire.entry import Layout, Request
from tests.commands.closed_orders import ORDER
from tests.wire.entries import ENTRY_ID, envelope

WORK = understand(envelope("createCloseOrder", message=ORDER), 100)
ORDER_ID = ORDER["orderId"]
CONFLICT = Outcome(Status.FAILED, ORDER_CONFLICT, "Another order has this id.")


@pytest.mark.parametrize(
    ("attempts", "waited", "pause"),
    [
        (1, 0.0, 1.0),
        (2, 1.0, 2.0),
        (3, 3.0, 4.0),
        (4, 7.0, 8.0),
        (5, 15.0, 8.0),
        (6, 23.0, 7.0),
        (7, 29.5, 0.5),
        (8, 30.0, None),
        (2, 300.0, None),
    ],
)
def test_an_order_waits_for_its_user_with_growing_pauses_until_the_wait_is_over(
    attempts: int, waited: float, pause: float | None
):
    assert next_attempt(USER_NOT_FOUND, attempts, waited, 30.0) == pause


def test_an_order_does_not_wait_where_waiting_is_switched_off():
    assert next_attempt(USER_NOT_FOUND, 1, 0.0, 0.0) is None


@pytest.mark.parametrize(("attempts", "pause"), [(1, 1.0), (2, 4.0), (3, 15.0), (4, 60.0), (5, 300.0), (99, 300.0)])
def test_an_error_of_the_database_is_tried_again_until_it_is_mended(attempts: int, pause: float | None):
    assert next_attempt(DATABASE_ERROR, attempts, 1_000.0, 30.0) == pause


@pytest.mark.parametrize("code", [ORDER_CONFLICT, "invalid_symbol", "user_conflict", "poison", None])
def test_anything_else_is_left_to_the_operators(code: str | None):
    assert next_attempt(code, 1, 0.0, 30.0) is None


def test_a_failure_of_is_retrying_where_another_attempt_follows():
    waiting = Outcome(Status.FAILED, USER_NOT_FOUND, "There is no such user.")

    assert failure_of(WORK, waiting, 30.0) == Failed(WORK, waiting._replace(status=Status.RETRYING), 1.0)
    assert failure_of(WORK, waiting, 0.5) == Failed(WORK, waiting._replace(status=Status.RETRYING), 0.5)
    assert failure_of(WORK, waiting, 0.0) == Failed(WORK, waiting, None)
    assert failure_of(WORK, CONFLICT, 30.0) == Failed(WORK, CONFLICT, None)


def test_a_conflict_has_the_entry_id_in_its_task_id_so_that_it_shows_beside_the_stored_order():
    assert task_id_of(WORK, CONFLICT) == f"createCloseOrder:{ORDER_ID}:{ENTRY_ID}"
    assert task_id_of(WORK, CONFLICT._replace(code=USER_NOT_FOUND)) == f"createCloseOrder:{ORDER_ID}"


def test_a_call_through_the_broker_keeps_the_task_id_it_came_with():
    call = understand_request(Request(None, Layout.ENVELOPE, "createCloseOrder", {"message": ORDER}), 100)

    assert task_id_of(call, CONFLICT) == f"createCloseOrder:{ORDER_ID}"
    assert task_id_of(Work(None, call.request, call.command, task_id="their-own"), CONFLICT) == "their-own"
