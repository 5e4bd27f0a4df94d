import dataclasses
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dbstorage.database.url import parse_database_url
from dbstorage.embedded.ports import choose_port
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.metrics.health import ReaderState
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.metrics.watch import Watch
from dbstorage.settings import Settings, load_settings
from dbstorage.storage.outcome import ANSWERED, STORED, Outcome, Report, Status
from tests.metrics.scraping import samples_of
from tests.service.platform import GROUP, RESPONSES, STREAM, Platform, user
from tests.waiting import wait_until

LINE = re.compile(r"ordersStored=(\d+) queriesProcessed=(\d+) errors=(\d+) uptime=(\d+)s lag=(\d+|unknown)")


@pytest.fixture
def metrics() -> ServiceMetrics:
    """Those of a worker that is connected to its broker."""
    metrics = ServiceMetrics()
    beat(metrics)
    return metrics


def beat(metrics: ServiceMetrics) -> None:
    metrics.reader_beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)


@contextmanager
def running(watch: Watch) -> Iterator[None]:
    watch.start()
    try:
        yield
    finally:
        watch.stop()


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, ...]]:
    found = [LINE.fullmatch(record.getMessage()) for record in log.records if record.name == "dbstorage.metrics"]
    return [match.groups() for match in found if match]


def test_what_the_servers_say_is_shown(settings: Settings, platform: Platform, metrics: ServiceMetrics) -> None:
    platform.send(user("a"))
    platform.redis.xgroup_create(STREAM, GROUP, "$")
    Watch(settings, metrics).gather()
    samples = samples_of(metrics.registry)
    assert samples["dbstorage_redis_up"] == samples["dbstorage_database_up"] == samples["dbstorage_stream_entries"] == 1
    assert samples["dbstorage_stream_lag_entries"] == 0
    assert metrics.health.not_ready() is None


def test_a_redis_that_is_away_is_down_and_takes_its_figures_with_it(
    settings: Settings, tmp_path: Path, metrics: ServiceMetrics
) -> None:
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    server.start()
    watch = Watch(dataclasses.replace(settings, redis_url=server.url), metrics)
    watch.gather()
    assert "dbstorage_stream_entries" in samples_of(metrics.registry)
    server.kill()
    watch.gather()
    samples = samples_of(metrics.registry)
    assert samples["dbstorage_redis_up"] == 0
    assert samples["dbstorage_database_up"] == 1
    assert "dbstorage_stream_entries" not in samples
    sentence = metrics.health.not_ready() or ""
    assert sentence.startswith("Redis does not answer: ")
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    server.start()
    watch.gather()
    server.kill()
    assert metrics.health.not_ready() is None


def test_a_broker_of_its_own_is_told_to_be_away_or_back_as_soon_as_the_event_loop_knows(
    settings: Settings, metrics: ServiceMetrics, tmp_path: Path
) -> None:
    broker = EmbeddedRedis(tmp_path / "redis", durable=False)
    broker.start()
    watch = Watch(dataclasses.replace(settings, broker_url=broker.url), metrics)
    watch.gather()
    assert metrics.health.not_ready() is None
    broker.kill()
    metrics.reader_paused()
    assert metrics.health.not_ready() is not None
    watch.gather()
    assert (metrics.health.not_ready() or "").startswith("The broker redis://:***@")
    broker.start()
    beat(metrics)
    watch.gather()
    broker.kill()
    assert metrics.health.not_ready() is None


@pytest.mark.parametrize("name", [STREAM, RESPONSES])
def test_another_kind_of_key_in_the_place_of_a_stream_is_named(
    name: str, settings: Settings, platform: Platform, metrics: ServiceMetrics
) -> None:
    watch = Watch(settings, metrics)
    platform.redis.set(name, "text")
    watch.gather()
    assert metrics.health.not_ready() == f"The key {name} is a string, not a stream: rename one or the other."
    assert samples_of(metrics.registry)["dbstorage_redis_up"] == 1
    assert samples_of(metrics.registry)['dbstorage_verdict{standing="away"}'] == 1
    platform.redis.delete(name)
    watch.gather()
    assert metrics.health.not_ready() is None


def test_a_database_that_is_away_is_down(settings: Settings, metrics: ServiceMetrics) -> None:
    nowhere = parse_database_url(f"postgresql://user:secret@127.0.0.1:{choose_port()}/db")
    Watch(dataclasses.replace(settings, database=nowhere), metrics).gather()
    assert samples_of(metrics.registry)["dbstorage_database_up"] == 0
    reason = metrics.health.not_ready() or ""
    assert reason.startswith("The database does not answer: ")
    assert "secret" not in reason
    assert "\n" not in reason


def test_a_database_without_our_tables_answers_but_is_not_ready(
    redis_url: str, empty_database_url: str, metrics: ServiceMetrics
) -> None:
    settings = load_settings({"REDIS_URL": redis_url, "DATABASE_URL": empty_database_url})
    Watch(settings, metrics).gather()
    assert samples_of(metrics.registry)["dbstorage_database_up"] == 1
    assert (metrics.health.not_ready() or "").startswith("The database is not ready: ")


def test_the_log_line_counts_what_happened_since_the_last_one(
    settings: Settings, platform: Platform, caplog: pytest.LogCaptureFixture, metrics: ServiceMetrics
) -> None:
    platform.redis.xgroup_create(STREAM, GROUP, "$", mkstream=True)
    watch = Watch(settings, metrics)
    watch.gather()
    failed = Outcome(Status.FAILED, "invalid_symbol", "no such symbol")
    outcomes = [("createCloseOrder", STORED), ("createCloseOrder", failed), ("getCloseOrders", ANSWERED)]
    metrics.batch_finished(outcomes, Report([], []))
    with caplog.at_level(logging.INFO, "dbstorage.metrics"):
        watch.log_line()
        metrics.batch_finished([("createCloseOrder", STORED)] * 2, Report([], []))
        watch.log_line()
        watch.log_line()
    assert [line[:3] + line[4:] for line in lines(caplog)] == [
        ("1", "1", "1", "0"),
        ("2", "0", "0", "0"),
        ("0", "0", "0", "0"),
    ]


@pytest.mark.parametrize("metrics_port", [None, 9_999])
def test_an_idle_worker_logs_its_line_again_and_again(
    settings: Settings, metrics_port: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    settings = dataclasses.replace(settings, metrics_port=metrics_port)
    with (
        caplog.at_level(logging.INFO, "dbstorage.metrics"),
        running(Watch(settings, ServiceMetrics(), gather_seconds=0.01, minute=0.02)),
    ):
        wait_until(lambda: len(lines(caplog)) >= 3, "three lines")


def test_a_line_without_redis_says_that_the_lag_is_unknown(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = dataclasses.replace(settings, redis_url=f"redis://127.0.0.1:{choose_port()}")
    with (
        caplog.at_level(logging.INFO, "dbstorage.metrics"),
        running(Watch(settings, ServiceMetrics(), minute=0.02)),
    ):
        wait_until(lambda: lines(caplog), "a line")
    assert lines(caplog)[0][4] == "unknown"


def test_a_table_that_another_session_has_locked_is_named_with_who_holds_it(
    settings: Settings, platform: Platform, metrics: ServiceMetrics
) -> None:
    watch = Watch(settings, metrics)
    with platform.locked_by("LOCK TABLE dbstorage.failed_tasks IN ACCESS EXCLUSIVE MODE") as holder:
        watch.gather()
        reason = metrics.health.not_ready() or ""
        assert reason.startswith(f'A table is locked by session {holder.info.backend_pid} (application "forgotten"')
        assert samples_of(metrics.registry)["dbstorage_database_up"] == 1
    watch.gather()
    assert metrics.health.not_ready() is None
