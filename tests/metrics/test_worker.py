"""A real worker with METRICS_PORT, seen from outside as Prometheus and a process manager see it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from celery import Celery

from dbstorage.application import create_app
from dbstorage.database.engine import create_engine
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.ports import choose_port
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.metrics.health import ReaderState
from dbstorage.settings import load_settings
from tests.failed_tasks.records import add, record
from tests.metrics.scraping import get, scrape
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


@pytest.fixture
def port() -> int:
    return choose_port()


def entries(function: str, outcome: str) -> str:
    return f'dbstorage_entries_total{{function="{function}",outcome="{outcome}"}}'


def state(port: int) -> str | None:
    samples = scrape(port)
    states = tuple(ReaderState)
    return next((name for name in states if samples.get(f'dbstorage_reader_state{{state="{name}"}}') == 1), None)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what)


def test_outcomes_of_all_pool_processes_are_counted_once(
    start_worker: StartWorker, platform: Platform, database_url: str, port: int
) -> None:
    # Failed tasks are counted at the start and then every 10 s, so this one is shown at once.
    with closing(create_engine(parse_database_url(database_url)).connect()) as connection:
        add(connection, record(code="poison"))
    start_worker("counting", "-c", "3", METRICS_PORT=str(port), BATCH_SIZE="20", USER_WAIT="0", QUERY_TTL="600")
    platform.send(*(user(f"user-{number}") for number in range(50)))
    platform.send(*(order(f"order-{number}", f"user-{number % 50}") for number in range(300)))
    platform.send(
        order("order-1", "user-1", quantity=9.5), order("order-2", "user-2", symbol="doge"), order("x", "nobody")
    )
    platform.send_raw({"message": "not JSON"})
    platform.send(question("user-1", "asked"), question("user-2", "asked-too"))
    platform.wait_until_finished()

    def counted() -> bool:
        return scrape(port).get(entries("getCloseOrders", "answered")) == 2

    wait_for(counted, "the answers to be counted")
    samples = scrape(port)
    assert samples[entries("createUser", "created")] == 50
    assert samples[entries("createCloseOrder", "stored")] == 300
    assert samples[entries("createCloseOrder", "failed")] == 3
    assert samples[entries("invalidEntry", "failed")] == 1
    assert samples["dbstorage_answer_seconds_count"] == 2
    assert samples["dbstorage_batch_entries_sum"] == 356
    for stage in ("read", "decode", "database", "acknowledge"):
        assert samples[f'dbstorage_batch_stage_seconds_sum{{stage="{stage}"}}'] > 0
    wait_for(
        lambda: (
            scrape(port).get('dbstorage_failed_tasks{code="poison",state="failed"}') == 1
            and scrape(port)["dbstorage_failed_tasks_bytes"] > 0
        ),
        "the failed tasks to be gathered",
    )
    wait_for(lambda: scrape(port).get("dbstorage_stream_pending_entries") == 0, "the stream to be looked at")
    samples = scrape(port)
    assert samples['dbstorage_worker_info{node="counting@test",ordering="strict",version="0.1.0"}'] == 1


@pytest.fixture
def app(environment: dict[str, str]) -> Celery:
    return create_app(load_settings(environment))


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_retries_and_calls_are_counted_in_every_pool(
    start_worker: StartWorker, platform: Platform, app: Celery, port: int, pool: str
) -> None:
    start_worker("worker", "-P", pool, METRICS_PORT=str(port), USER_WAIT="600")
    platform.send(order("waiting", "late"))
    platform.wait_until_finished()
    platform.send(user("late"))
    stored = 'dbstorage_retries_total{function="createCloseOrder",outcome="stored"}'
    wait_for(lambda: scrape(port).get(stored) == 1, "the retry to be counted")
    app.send_task("createUser", kwargs={"userId": "called", "userEmail": "called@x"})
    app.send_task("createCloseOrder", args=[{**order("refused", "late")["message"], "symbol": "doge"}])
    created = 'dbstorage_calls_total{function="createUser",outcome="created"}'
    failed = 'dbstorage_calls_total{function="createCloseOrder",outcome="failed"}'
    wait_for(lambda: (scrape(port).get(created), scrape(port).get(failed)) == (1, 1), "both calls to be counted")


def test_while_redis_is_away_the_worker_is_alive_but_not_ready(
    start_worker: StartWorker, tmp_path: Path, database_url: str, port: int
) -> None:
    """Slow (9 s): a Redis of its own starts twice, and the worker has to find it again."""
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    server.start()
    worker = start_worker(REDIS_URL=server.url, METRICS_PORT=str(port))
    wait_for(lambda: get(port, "/readyz") == (200, "ready (active)\n"), "the worker to be ready")
    server.kill()
    wait_for(lambda: get(port, "/readyz")[0] == 503, "the worker to be unready")
    wait_for(lambda: get(port, "/readyz")[1].startswith("Redis does not answer: "), "/readyz to name Redis")
    wait_for(lambda: get(port, "/livez") == (200, "alive (waiting)\n"), "the worker to wait")
    assert scrape(port)["dbstorage_redis_up"] == 0
    server.start()
    wait_for(lambda: get(port, "/readyz") == (200, "ready (active)\n"), "the worker to be ready again")
    assert worker.stop() == 0
    server.kill()


@contextmanager
def renamed_database(server: EmbeddedPostgres, url: str) -> Iterator[None]:
    """The database cannot be reached, and comes back at the end."""
    name = url.rpartition("/")[2]
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()

        def rename() -> bool:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            try:
                cursor.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
            except psycopg2.errors.ObjectInUse:
                return False
            return True

        wait_until(rename, "the database to be renamed")
        yield
        cursor.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")


def test_while_the_database_is_away_the_worker_is_alive_but_not_ready(
    start_worker: StartWorker, platform: Platform, postgres_server: EmbeddedPostgres, database_url: str, port: int
) -> None:
    start_worker(METRICS_PORT=str(port))
    with renamed_database(postgres_server, database_url):
        platform.send(user("a"))
        wait_for(lambda: state(port) == "waiting", "the reader to wait")
        wait_for(lambda: "he database does not answer: " in get(port, "/readyz")[1], "/readyz to name the database")
        assert get(port, "/readyz")[0] == 503
        assert get(port, "/livez") == (200, "alive (waiting)\n")
        wait_for(lambda: scrape(port)["dbstorage_database_up"] == 0, "the metrics to say so")
    wait_for(lambda: get(port, "/readyz") == (200, "ready (active)\n"), "the worker to be ready again")


def test_a_worker_that_starts_without_its_broker_is_alive_but_not_ready(start_worker: StartWorker, port: int) -> None:
    worker = start_worker(ready=False, REDIS_URL=f"redis://127.0.0.1:{choose_port()}", METRICS_PORT=str(port))
    wait_for(lambda: "Redis does not answer" in get(port, "/readyz")[1], "the worker to say what it waits for")
    assert get(port, "/livez") == (200, "alive (waiting)\n")
    assert worker.stop() == 0


def test_a_standby_says_so_until_it_takes_over(start_worker: StartWorker, port: int) -> None:
    first = start_worker("first")
    start_worker("second", METRICS_PORT=str(port))
    wait_for(lambda: get(port, "/readyz") == (200, "ready (standby)\n"), "the second to stand by")
    first.kill()
    wait_for(lambda: state(port) == "active", "the second to take over")


def test_a_port_in_use_stops_the_start_with_one_sentence(start_worker: StartWorker) -> None:
    with closing(socket.create_server(("0.0.0.0", 0))) as taken:
        port = taken.getsockname()[1]
        worker = start_worker("refused", ready=False, METRICS_PORT=str(port))
        assert worker.process is not None
        assert worker.process.wait(60) == 2
    [line] = [line for line in worker.log.splitlines() if "METRICS_PORT" in line]
    assert f"METRICS_PORT is '{port}': Address already in use; expected a free port" in line
    assert "Traceback" not in worker.log


def test_a_restarted_worker_gets_its_port_back_at_once(start_worker: StartWorker, port: int) -> None:
    worker = start_worker(METRICS_PORT=str(port))
    assert get(port, "/livez")[0] == 200
    # A process that was forked while the server listened.
    worker.kill_pool_process()
    wait_for(lambda: len(worker.pool_processes) == 2, "the pool to be refilled")
    worker.kill()
    worker.start()
    assert get(port, "/livez")[0] == 200
