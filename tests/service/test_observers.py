"""Tools that plug into Celery see entries of the stream as tasks: receivers of signals, Sentry, OpenTelemetry."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

PLUGGED = "tests.service.plugged."
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
POOLS = ("prefork", "threads", "solo")
#: Of five entries two fail.
COMMANDS = (
    user("ann"),
    order("o-1", "ann"),
    order("o-1", "ann", profitLoss=1),
    order("o-2", "ann", symbol="doge"),
    question("ann", "asked"),
)

Observed = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def observed(tmp_path: Path, environment: dict[str, str]) -> Observed:
    """What was observed, of one kind; a test's worker is started after it."""
    path = tmp_path / "observed.jsonl"
    environment |= {"OBSERVED": str(path), "QUERY_TTL": "3600"}

    def read(kind: str) -> list[dict[str, Any]]:
        lines = path.read_text().splitlines() if path.exists() else []
        return [found for found in map(json.loads, lines) if found["kind"] == kind]

    return read


def plugged(start_worker: StartWorker, module: str, *options: str, **settings: str) -> Worker:
    return start_worker("observed", "-I", PLUGGED + module, *options, **settings)


@pytest.mark.parametrize("pool", POOLS)
def test_a_receiver_of_signals_hears_each_entry_once(
    pool: str, observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    plugged(start_worker, "receivers", "-P", pool)
    ids = platform.send(*COMMANDS)
    tasks = {
        f"createUser:{ids[0]}": "SUCCESS",
        "createCloseOrder:o-1": "SUCCESS",
        f"createCloseOrder:o-1:{ids[2]}": "FAILURE",
        "createCloseOrder:o-2": "FAILURE",
        "getCloseOrders:asked": "SUCCESS",
    }
    wait_until(lambda: len(observed("postrun")) >= len(tasks), "all tasks to be told")
    assert {told["id"]: told["state"] for told in observed("postrun")} == tasks
    assert Counter(told["id"] for told in observed("prerun")) == Counter(list(tasks))
    assert [told["request_id"] for told in observed("prerun")] == [told["id"] for told in observed("prerun")]
    assert [told["result"] for told in observed("success")] == ["created", "stored", "answered"]
    assert all(told["runtime"] > 0 for told in observed("success"))
    failures = {told["id"]: told for told in observed("failure")}
    assert failures["createCloseOrder:o-2"]["exception"].startswith("invalid_symbol: ")
    assert failures["createCloseOrder:o-2"]["type"] == "InvalidSymbol"
    assert "InvalidSymbol" in failures["createCloseOrder:o-2"]["einfo"]
    assert "@example.com" not in json.dumps([observed("prerun"), observed("failure")])


def test_an_order_that_waits_is_told_as_a_retry_and_then_with_its_end(
    observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    plugged(start_worker, "receivers")
    platform.send(order("early", "late"))
    wait_until(lambda: observed("retry"), "the retry to be told")
    platform.send(user("late"))
    wait_until(lambda: "late" in platform.orders().values(), "the order to be stored")
    wait_until(lambda: [told for told in observed("success") if told["id"] == "createCloseOrder:early"], "its end")
    states = [told["state"] for told in observed("postrun") if told["id"] == "createCloseOrder:early"]
    assert states == ["RETRY"] * (len(states) - 1) + ["SUCCESS"]
    assert observed("prerun")[-1]["retries"] > 0 or observed("prerun")[-2]["retries"] > 0


def test_what_is_no_command_is_told_as_a_task_that_nobody_can_call(
    observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    plugged(start_worker, "receivers")
    [entry_id] = platform.send_raw({"message": "no JSON"})
    wait_until(lambda: observed("postrun"), "the failure to be told")
    assert observed("prerun")[0]["name"] == "invalidEntry"
    assert observed("failure")[0]["id"] == f"invalidEntry:{entry_id}"


def test_a_broken_receiver_costs_the_entries_nothing(
    observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    worker = plugged(start_worker, "failing")
    platform.send(*COMMANDS)
    platform.wait_until_finished()
    assert platform.orders() == {"o-1": "ann"}
    assert platform.answer_to("asked")["orders"]
    wait_until(lambda: "a receiver with a bug" in worker.log, "the log to say so")


# Sentry


@pytest.mark.parametrize("pool", POOLS)
def test_sentry_has_one_event_for_each_failed_entry_grouped_by_code(
    pool: str, observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    worker = plugged(start_worker, "sentry", "-P", pool)
    ids = platform.send(*COMMANDS, order("o-3", "ann", symbol="cat"))
    wait_until(lambda: len(observed("event")) >= 3, "the events")
    platform.wait_until_finished()
    worker.stop()
    events = observed("event")
    assert sorted(event["types"][-1] for event in events) == ["InvalidSymbol", "InvalidSymbol", "OrderConflict"]
    assert {event["tags"]["celery_task_id"] for event in events} == {
        f"createCloseOrder:o-1:{ids[2]}", "createCloseOrder:o-2", "createCloseOrder:o-3",
    }  # fmt: skip
    assert {event["task"] for event in events} == {"createCloseOrder"}
    assert "@example.com" not in json.dumps(events)
    assert "Traceback" not in worker.log


def test_a_flood_of_failures_is_bounded(observed: Observed, platform: Platform, start_worker: StartWorker) -> None:
    worker = plugged(start_worker, "sentry")
    platform.send(*(order(f"bad-{number}", "ann", symbol="doge") for number in range(500)))
    platform.wait_until_finished()
    wait_until(lambda: "are not reported one by one" in worker.log, "the rest to be counted")
    worker.stop()
    # Twenty at once and twenty a second; the entries arrive together.
    assert 20 <= len(observed("event")) <= 100


def test_a_called_task_that_fails_is_an_event_too(
    observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    worker = plugged(start_worker, "sentry")
    app = create_app(load_settings(platform.environment))
    sent = app.send_task("createUser", kwargs={"userId": "", "userEmail": "x@example.com"})
    wait_until(lambda: observed("event"), "the event")
    worker.stop()
    [event] = observed("event")
    assert event["tags"]["celery_task_id"] == sent.id
    assert "Traceback" not in worker.log


# OpenTelemetry


def test_the_batch_is_a_span_with_its_sql_and_entries_below_it(
    observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    worker = plugged(start_worker, "opentelemetry")
    platform.send(*COMMANDS[:4], {**question("ann", "asked"), "traceparent": PARENT, "tracestate": "vendor=1"})
    wait_until(lambda: len([span for span in observed("span") if span["name"].startswith("run/")]) >= 5, "the spans")
    answer = platform.answer_to("asked")
    assert (answer["traceparent"], answer["tracestate"]) == (PARENT, "vendor=1")
    worker.stop()
    spans = observed("span")
    batches = {span["id"]: span for span in spans if span["name"] == "streamBatch"}
    assert sum(span["attributes"]["messaging.batch.message_count"] for span in batches.values()) == 5
    entries = [span for span in spans if span["name"].startswith("run/")]
    outcomes = [(span["attributes"]["dbstorage.outcome"], span["status"]) for span in entries]
    assert sorted(outcomes) == [
        ("answered", "UNSET"), ("created", "UNSET"), ("failed", "ERROR"), ("failed", "ERROR"), ("stored", "UNSET"),
    ]  # fmt: skip
    assert all("celery.task_name" in span["attributes"] for span in entries)
    # The sender's trace goes on in its entry; the others belong to their batch. All are linked to it.
    [asked] = [span for span in entries if span["name"] == "run/getCloseOrders"]
    assert (asked["trace"], asked["parent"]) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert all(span["parent"] in batches for span in entries if span is not asked)
    assert all(set(span["links"]) & set(batches) for span in entries)
    statements = [span for span in spans if span["attributes"].get("db.system") == "postgresql"]
    assert statements
    below = {span["parent"] for span in statements}
    assert below & set(batches)
    roots = [span for span in spans if span["parent"] is None]
    assert {span["name"] for span in roots} == {"streamBatch"}


def test_a_task_that_is_retried_stays_in_the_senders_trace(
    observed: Observed, platform: Platform, start_worker: StartWorker
) -> None:
    worker = plugged(start_worker, "opentelemetry")
    [waiting] = platform.send({**order("o-1", "late"), "traceparent": PARENT})
    wait_until(lambda: platform.query("SELECT 1 FROM dbstorage.failed_tasks WHERE attempts > 1"), "another attempt")
    platform.send(user("late"))
    platform.wait_for_state(waiting, "resolved")
    worker.stop()
    spans = [span for span in observed("span") if span["name"] == "run/createCloseOrder"]
    assert {(span["trace"], span["parent"]) for span in spans} == {tuple(PARENT.split("-")[1:3])}
    assert {"retrying", "stored"} <= {span["attributes"]["dbstorage.outcome"] for span in spans}
    assert len(spans) > 2


def test_an_idle_worker_makes_no_spans(observed: Observed, platform: Platform, start_worker: StartWorker) -> None:
    worker = plugged(start_worker, "opentelemetry", METRICS_PORT="off")
    platform.send(user("ann"))
    wait_until(lambda: "ann" in platform.users(), "the worker to work")
    seen = len(observed("span"))
    # The table of failed tasks is looked at every second; a due one shows that it was.
    [waiting] = platform.send(order("early", "late"))
    platform.wait_for_state(waiting, "retrying")
    wait_until(lambda: platform.query("SELECT 1 FROM dbstorage.failed_tasks WHERE attempts > 2"), "two more attempts")
    worker.stop()
    assert seen
    assert {span["name"] for span in observed("span") if span["parent"] is None} <= {
        "streamBatch",
        "run/createCloseOrder",
    }
