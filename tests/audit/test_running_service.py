"""What the audit finds in the work of a real worker."""

from collections.abc import Callable

import pytest

from dbstorage.audit import AuditReport, audit
from dbstorage.settings import Settings
from tests.service.platform import Platform, order, question, user
from tests.waiting import wait_until

#: Audits from the first to the last of these entries.
Audited = Callable[[list[str]], AuditReport]


@pytest.fixture
def audited(service: Platform, service_settings: Settings) -> Audited:
    """Audit the entries with these ids once they are worked off."""

    def run(entry_ids: list[str]) -> AuditReport:
        service.wait_until_finished()
        return audit(service_settings, entry_ids[0], entry_ids[-1])

    return run


def test_every_outcome_of_an_order_is_told(service: Platform, audited: Audited) -> None:
    ids = service.send(
        user("told"),
        order("told-1", "told"),
        order("told-1", "told"),
        order("told-1", "moved-meanwhile"),
        order("told-2", "told"),
        order("told-1", "told", quantity=2),
        order("told-3", "told", symbol="doge"),
        order("told-4", "unknown-to-all"),
    )
    service.wait_for_state(ids[-1], "failed")
    report = audited(ids)
    assert report.counts == {
        "createUser": {"stored": 1},
        "createCloseOrder": {"stored": 2, "duplicate": 2, "failed": 3},
    }
    assert report.codes == {"order_conflict": 1, "invalid_symbol": 1, "user_not_found": 1}
    assert (report.first, report.last, report.entries, report.missing) == (ids[0], ids[-1], len(ids), [])

    service.query("UPDATE dbstorage.failed_tasks SET state = 'discarded' WHERE entry_id = %s", ids[-1])
    assert audited(ids).counts["createCloseOrder"] == {"stored": 2, "duplicate": 2, "failed": 3}


def test_everything_else_is_acknowledged_or_failed(service: Platform, audited: Audited) -> None:
    ids = service.send(question("anybody", "q-else"), {"function": "createUser", "message": {"userId": "no-email"}})
    ids += service.send_raw({"message": b"not JSON"}, {"message": b'{"function":"sell"}'}, {"function": b"\xff"})
    report = audited(ids)
    assert report.counts == {
        "getCloseOrders": {"acknowledged": 1},
        "createUser": {"failed": 1},
        "invalidEntry": {"failed": 3},
    }
    assert report.missing_count == 0


def test_an_order_that_was_deleted_behind_the_services_back_is_missing(service: Platform, audited: Audited) -> None:
    ids = service.send(user("robbed"), order("kept", "robbed"), order("gone", "robbed"), order("gone", "robbed"))
    assert audited(ids).missing == []
    service.query('DELETE FROM "Orders" WHERE "orderId" = %s', "gone")
    report = audited(ids)
    assert report.counts["createCloseOrder"] == {"stored": 1, "missing": 2}
    assert report.missing_count == 2
    assert [(one.entry_id, one.task_id) for one in report.missing] == [
        (ids[2], "createCloseOrder:gone"),
        (ids[3], "createCloseOrder:gone"),
    ]
    assert report.missing[0].reason == "No order with its orderId is stored, and no failure is recorded."


def test_an_order_that_was_changed_behind_the_services_back_is_missing(service: Platform, audited: Audited) -> None:
    ids = service.send(user("forged"), order("changed", "forged"))
    service.wait_until_finished()
    service.query('UPDATE "Orders" SET "profitLoss" = 1000 WHERE "orderId" = %s', "changed")
    [missing] = audited(ids).missing
    assert missing.reason == "The order stored with its orderId has other content, and no failure is recorded."


def test_a_failure_whose_record_was_deleted_is_missing(service: Platform, audited: Audited) -> None:
    ids = service.send(user("erased"), order("erased-1", "erased"), order("erased-1", "erased", leverage=3))
    ids += service.send(order("erased-2", "erased", type="hold"))
    assert audited(ids).missing == []
    service.query("DELETE FROM dbstorage.failed_tasks WHERE entry_id = ANY(%s)", ids)
    assert [one.reason for one in audited(ids).missing] == [
        "The order stored with its orderId has other content, and no failure is recorded.",
        "It breaks a rule (invalid_type), and no failure is recorded.",
    ]


def test_users_that_newer_entries_changed_are_superseded(service: Platform, audited: Audited) -> None:
    ids = service.send(
        user("ann", "ann@example.com"),
        user("ann", "ann@example.org"),
        order("ann-1", "ann"),
        user("anna", "ann@example.org"),
        user("ben", "ann@example.com"),
        user("anna", "ann@example.com"),
    )
    report = audited(ids)
    assert report.counts == {
        "createUser": {"superseded": 2, "stored": 2, "failed": 1},
        "createCloseOrder": {"stored": 1},
    }
    assert service.orders()["ann-1"] == "anna"
    assert report.codes == {"user_conflict": 1}


def test_a_user_whom_somebody_deleted_or_renamed_is_missing(service: Platform, audited: Audited) -> None:
    ids = service.send(user("deleted"), user("renamed"), user("left-alone"))
    service.wait_until_finished()
    service.query('DELETE FROM "User" WHERE "userID" = %s', "deleted")
    service.query('UPDATE "User" SET email = %s WHERE "userID" = %s', "other@example.com", "renamed")
    report = audited(ids)
    assert report.counts == {"createUser": {"missing": 2, "stored": 1}}
    assert {one.reason for one in report.missing} == {
        "No such user is there, no newer entry explains it, and no failure is recorded."
    }


def test_entries_in_hand_are_pending(service: Platform, service_settings: Settings) -> None:
    service.send(user("held"))
    service.wait_until_finished()
    blocker = service.hold_orders()
    try:
        ids = service.send(order("held-1", "held"), question("held", "q-held"))
        wait_until(lambda: service.pending() > 0, "the entries to be in hand")
        assert audit(service_settings, ids[0]).counts == {
            "createCloseOrder": {"pending": 1},
            "getCloseOrders": {"pending": 1},
        }
    finally:
        blocker.close()
    service.wait_until_finished()
    assert audit(service_settings, ids[0]).counts["createCloseOrder"] == {"stored": 1}


def test_duplicates_are_known_across_chunks(service: Platform, audited: Audited) -> None:
    orders = [order(f"far-{number}", "far") for number in range(1500)]
    ids = service.send(user("far"), *orders, orders[0], orders[-1], orders[0])
    assert audited(ids).counts["createCloseOrder"] == {"stored": 1500, "duplicate": 3}
