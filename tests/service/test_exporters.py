"""Exporters of Celery's events count entries of the stream correctly. Flower's stands for the others."""

from typing import Any

from prometheus_client import REGISTRY

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker


def test_each_outcome_is_counted_once_and_nothing_below_zero(platform: Platform, start_worker: StartWorker) -> None:
    from flower.events import EventsState

    start_worker("counted", TASK_EVENTS="all", QUERY_TTL="3600")
    app = create_app(load_settings(platform.environment))
    exporter: Any = EventsState()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": exporter.event})
        consuming = receiver.itercapture(limit=None, timeout=30, wakeup=True)
        next(consuming)
        platform.send(
            user("ann"), order("one", "ann"), order("two", "ann"), order("bad", "ann", symbol="doge"),
            question("ann", "asked"),
        )  # fmt: skip
        platform.wait_until_finished()
        app.send_task("createUser", kwargs={"userId": "bob", "userEmail": "bob@x"})

        def counted(task: str, kind: str) -> float:
            labels = {"worker": "counted@test", "type": kind, "task": task}
            return REGISTRY.get_sample_value("flower_events_total", labels) or 0

        # The call is the last; then a heartbeat, which tells how many are active.
        for _ in consuming:
            if counted("createUser", "task-succeeded") == 2:
                break
        for _ in consuming:
            if exporter.counter["counted@test"]["worker-heartbeat"]:
                break
    assert counted("createCloseOrder", "task-succeeded") == 2
    assert counted("createCloseOrder", "task-failed") == 1
    assert counted("getCloseOrders", "task-succeeded") == 1
    gauges = [
        sample
        for metric in REGISTRY.collect()
        if metric.type == "gauge" and metric.name.startswith("flower_")
        for sample in metric.samples
    ]
    assert gauges
    assert [sample for sample in gauges if sample.value < 0] == []
