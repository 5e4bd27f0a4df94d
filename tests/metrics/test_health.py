import pytest

from dbstorage.metrics.health import LONGEST_SILENCE, LONGEST_STANDSTILL, LONGEST_WITHOUT_PROGRESS, Health, ReaderState


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def test_a_worker_that_looks_for_its_broker_is_not_stuck_however_long_it_takes(health: Health, clock: Clock) -> None:
    clock.now += 86_400
    assert health.stuck() is None
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    health.pause()
    clock.now += 86_400
    assert health.stuck() is None
    assert health.state is ReaderState.WAITING


def test_the_reader_waits_until_it_says_what_it_does(health: Health) -> None:
    assert health.stalled_for == 0
    states = [health.state]
    for state in ReaderState:
        health.beat(state, stalled_for=0.0, holding=None)
        states.append(health.state)
    assert states == [ReaderState.WAITING, *ReaderState]


def test_an_event_loop_that_stands_still_is_stuck(health: Health, clock: Clock) -> None:
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    clock.now += LONGEST_STANDSTILL
    assert health.stuck() is None
    clock.now += 1
    assert health.stuck() == "The event loop has stood still for 31 s."


@pytest.mark.parametrize("state", ReaderState)
def test_an_idle_worker_is_not_stuck(health: Health, clock: Clock, state: ReaderState) -> None:
    for _ in range(1_000):
        clock.now += 1
        health.beat(state, stalled_for=0.0, holding=None)
    assert health.stuck() is None


def test_a_reader_without_progress_is_stuck_though_its_loop_turns(health: Health) -> None:
    health.beat(ReaderState.ACTIVE, stalled_for=LONGEST_WITHOUT_PROGRESS, holding=None)
    assert health.stuck() is None
    health.beat(ReaderState.ACTIVE, stalled_for=LONGEST_WITHOUT_PROGRESS + 1, holding=None)
    assert health.stuck() == "The reader has made no progress for 61 s."
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    assert health.stuck() is None


def test_a_worker_that_rightly_stores_nothing_is_alive_and_not_ready(health: Health) -> None:
    health.servers_asked()
    health.beat(ReaderState.WAITING, stalled_for=0.0, holding="the disk is full.")
    assert health.stuck() is None
    assert health.not_ready() == "Nothing is stored: the disk is full."
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    assert health.not_ready() is None


def test_a_worker_is_not_ready_before_its_servers_were_asked(health: Health) -> None:
    assert health.not_ready() == "Redis and the database have not been asked yet."


def test_a_worker_is_ready_only_while_it_is_connected_to_its_broker(health: Health) -> None:
    not_connected = "Nothing is stored: the worker is not connected to its broker."
    health.servers_asked()
    assert health.not_ready() == not_connected
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    assert health.not_ready() is None
    health.pause()
    assert health.not_ready() == not_connected, "at once, before anybody has asked the broker"
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    assert health.not_ready() is None


def test_readiness_names_every_server_that_is_away(health: Health) -> None:
    health.servers_asked("Redis does not answer: refused.", "The database does not answer: refused.")
    assert health.not_ready() == "Redis does not answer: refused. The database does not answer: refused."
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    health.servers_asked()
    assert health.not_ready() is None


def test_a_question_that_hangs_makes_the_worker_unready(health: Health, clock: Clock) -> None:
    health.servers_asked()
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    clock.now += LONGEST_SILENCE
    assert health.not_ready() is None
    clock.now += 1
    assert health.not_ready() == "Redis or the database has not answered for 21 s."


def test_a_worker_whose_answers_redis_refuses_is_not_ready(health: Health) -> None:
    health.servers_asked()
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None, refusal="Redis refuses answers.")
    assert health.stuck() is None
    assert health.not_ready() == "Redis refuses answers."
