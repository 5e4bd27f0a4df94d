from dbstorage.audit import audit
from dbstorage.settings import Settings
from tests.chaos.traffic import Traffic
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker


def test_no_false_alarm_while_traffic_flows(platform: Platform, settings: Settings, start_worker: StartWorker) -> None:
    start_worker(QUERY_TTL="3600", USER_WAIT="3600")
    traffic = Traffic(platform, 4000, per_second=2000).start()
    # The first audit begins while the traffic does, however long it takes.
    over = False
    while not over:
        over = traffic.sent.is_set() and platform.finished()
        report = audit(settings)
        assert report.missing == []
    traffic.check_everything_is_stored_once()
    assert report.entries == 4000
    assert report.counts["createCloseOrder"]["stored"] == len(traffic.orders)
    assert report.counts["getCloseOrders"] == {"acknowledged": len(traffic.questions)}
    assert set(report.counts["createUser"]) == {"stored", "superseded"}


def test_a_retry_that_succeeded_must_have_stored_the_order(
    platform: Platform, settings: Settings, start_worker: StartWorker
) -> None:
    start_worker(USER_WAIT="3600")
    [entry_id] = platform.send(order("retried", "comes-later"))
    platform.wait_until_finished()
    report = audit(settings)
    assert (report.counts, report.codes) == ({"createCloseOrder": {"retrying": 1}}, {"user_not_found": 1})
    platform.send(user("comes-later"))
    platform.wait_for_state(entry_id, "resolved")
    assert audit(settings, last=entry_id).counts == {"createCloseOrder": {"stored": 1}}
    platform.query('DELETE FROM "Orders"')
    [missing] = audit(settings).missing
    assert missing.reason == "No order with its orderId is stored, and its failed task counts as resolved."
