import pytest

from dbstorage.metrics.figures import Figures, StreamFigures
from dbstorage.metrics.health import ReaderState
from dbstorage.metrics.service_metrics import ServiceMetrics, Totals
from dbstorage.settings import Scope
from dbstorage.storage.outcome import ANSWERED, DUPLICATE, EXPIRED, STORED, Outcome, Report, Retried, Status
from tests.metrics.scraping import samples_of

CONFLICT = Outcome(Status.FAILED, "order_conflict", "Another order has this id.")
MISSING_USER = Outcome(Status.RETRYING, "user_not_found", "No such user yet.")


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


def test_outcomes_are_counted_by_function(metrics: ServiceMetrics) -> None:
    outcomes = [
        *[("createCloseOrder", outcome) for outcome in (STORED, STORED, DUPLICATE, CONFLICT, MISSING_USER)],
        *[("getCloseOrders", outcome) for outcome in (ANSWERED, EXPIRED, ANSWERED._replace(code="unavailable"))],
        ("invalidEntry", Outcome(Status.FAILED, "invalid_entry", "not JSON")),
    ]
    metrics.batch_finished(outcomes, Report([None] * 9, [True] * 9))
    samples = samples_of(metrics.registry)
    assert samples['dbstorage_entries_total{function="createCloseOrder",outcome="stored"}'] == 2
    assert samples['dbstorage_entries_total{function="createCloseOrder",outcome="duplicate"}'] == 1
    assert samples['dbstorage_entries_total{function="createCloseOrder",outcome="failed"}'] == 1
    assert samples['dbstorage_entries_total{function="createCloseOrder",outcome="retrying"}'] == 1
    assert samples['dbstorage_entries_total{function="getCloseOrders",outcome="answered"}'] == 2
    assert samples['dbstorage_entries_total{function="getCloseOrders",outcome="expired"}'] == 1
    assert samples['dbstorage_entries_total{function="invalidEntry",outcome="failed"}'] == 1
    assert samples['dbstorage_answer_errors_total{code="unavailable"}'] == 1
    assert metrics.totals == Totals(orders_stored=2, queries_processed=2, errors=3, entries=9, failed=2)


def test_every_outcome_is_there_from_the_start_so_that_the_first_one_shows_as_an_increase(
    metrics: ServiceMetrics,
) -> None:
    samples = samples_of(metrics.registry)
    assert samples['dbstorage_entries_total{function="createCloseOrder",outcome="failed"}'] == 0
    assert samples['dbstorage_batch_stage_seconds_count{stage="database"}'] == 0


def test_a_batch_is_measured_by_size_and_stage(metrics: ServiceMetrics) -> None:
    metrics.batch_read(0.004)
    seconds = {"decode": 0.003, "database": 0.04, "acknowledge": 0.002}
    metrics.batch_finished(
        [("createUser", Outcome(Status.CREATED))], Report([None] * 300, [True] * 300, seconds=seconds)
    )
    samples = samples_of(metrics.registry)
    assert samples["dbstorage_batch_entries_sum"] == 300
    assert samples['dbstorage_batch_entries_bucket{le="200.0"}'] == 0
    assert samples['dbstorage_batch_entries_bucket{le="500.0"}'] == 1
    for stage, spent in {"read": 0.004, **seconds}.items():
        assert samples[f'dbstorage_batch_stage_seconds_sum{{stage="{stage}"}}'] == spent


def test_answers_are_timed_and_never_below_zero_when_clocks_differ(metrics: ServiceMetrics) -> None:
    metrics.batch_finished([("getCloseOrders", ANSWERED)], Report([], [], answer_seconds=[0.02, -0.5]))
    samples = samples_of(metrics.registry)
    assert samples["dbstorage_answer_seconds_count"] == 2
    assert samples["dbstorage_answer_seconds_sum"] == 0.02


def test_how_long_batches_waited_is_measured_up_to_half_an_hour(metrics: ServiceMetrics) -> None:
    for seconds in (-0.5, 0.2, 1_700):
        metrics.batch_waited(seconds)
    samples = samples_of(metrics.registry)
    assert samples["dbstorage_batch_wait_seconds_sum"] == 1_700.2
    assert samples['dbstorage_batch_wait_seconds_bucket{le="0.25"}'] == 2
    assert samples['dbstorage_batch_wait_seconds_bucket{le="1800.0"}'] == 3


def test_retries_and_calls_are_counted_apart(metrics: ServiceMetrics) -> None:
    metrics.tasks_retried([Retried("createCloseOrder", "t", "", None, 2, Outcome(Status.STORED))])
    metrics.call_finished("createCloseOrder", Status.STORED)
    metrics.call_finished("getCloseOrders", Status.FAILED)
    samples = samples_of(metrics.registry)
    assert samples['dbstorage_retries_total{function="createCloseOrder",outcome="stored"}'] == 1
    assert samples['dbstorage_calls_total{function="createCloseOrder",outcome="stored"}'] == 1
    assert samples['dbstorage_calls_total{function="getCloseOrders",outcome="failed"}'] == 1
    assert metrics.totals == Totals(orders_stored=2, queries_processed=0, errors=1, failed=1)


def test_what_is_not_known_is_absent(metrics: ServiceMetrics) -> None:
    names = {name.partition("{")[0] for name in samples_of(metrics.registry)}
    assert not {"dbstorage_redis_up", "dbstorage_stream_entries", "dbstorage_failed_tasks"} & names
    metrics.figures_gathered(Figures(redis_up=True, database_up=False, stream=StreamFigures(entries=7)))
    samples = samples_of(metrics.registry)
    assert samples["dbstorage_redis_up"] == 1
    assert samples["dbstorage_database_up"] == 0
    assert samples["dbstorage_stream_entries"] == 7
    assert "dbstorage_stream_lag_entries" not in samples
    assert "dbstorage_stream_pending_entries" not in samples


def test_the_reader_is_in_one_state_at_a_time(metrics: ServiceMetrics) -> None:
    metrics.reader_beat(ReaderState.STANDBY, stalled_for=0.0, holding=None)
    samples = samples_of(metrics.registry)
    assert {state: samples[f'dbstorage_reader_state{{state="{state}"}}'] for state in ReaderState} == {
        "active": 0,
        "standby": 1,
        "aside": 0,
        "waiting": 0,
    }


def test_two_workers_in_one_process_count_apart(metrics: ServiceMetrics) -> None:
    other = ServiceMetrics()
    metrics.batch_finished([("createCloseOrder", STORED)], Report([STORED], [True]))
    name = 'dbstorage_entries_total{function="createCloseOrder",outcome="stored"}'
    assert (samples_of(metrics.registry)[name], samples_of(other.registry)[name]) == (1, 0)


def test_every_sample_says_which_service_it_is_of() -> None:
    metrics = ServiceMetrics(Scope("orders:in", "first"))
    metrics.worker_started(node="worker@test", version="1", ordering="strict")
    metrics.figures_gathered(Figures(redis_up=True, redis_full=False, sequences={("Orders", "id"): 0.5}))
    samples = samples_of(metrics.registry)
    assert samples
    assert all('stream="orders:in"' in sample and 'group="first"' in sample for sample in samples)
    name = 'dbstorage_sequence_used_ratio{column="id",group="first",stream="orders:in",table="Orders"}'
    assert samples[name] == 0.5
