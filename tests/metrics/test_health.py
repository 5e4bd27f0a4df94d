import pytest

from dbstorage.metrics.health import LONGEST_BATCH, LONGEST_SILENCE, LONGEST_STANDSTILL, Health, ReaderState


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
    health.beat(ReaderState.ACTIVE, idle=True)
    health.pause()
    clock.now += 86_400
    assert health.stuck() is None
    assert health.state is ReaderState.WAITING


def test_the_reader_waits_until_it_says_what_it_does(health: Health) -> None:
    states = [health.state]
    for state in ReaderState:
        health.beat(state, idle=True)
        states.append(health.state)
    assert states == [ReaderState.WAITING, *ReaderState]


def test_an_event_loop_that_stands_still_is_stuck(health: Health, clock: Clock) -> None:
    health.beat(ReaderState.ACTIVE, idle=True)
    clock.now += LONGEST_STANDSTILL
    assert health.stuck() is None
    clock.now += 1
    assert health.stuck() == "The event loop has stood still for 31 s."


@pytest.mark.parametrize("state", ReaderState)
def test_an_idle_worker_is_not_stuck(health: Health, clock: Clock, state: ReaderState) -> None:
    for _ in range(1_000):
        clock.now += 1
        health.beat(state, idle=True)
    assert health.stuck() is None


def test_a_batch_without_end_is_stuck_and_one_that_ends_is_not(health: Health, clock: Clock) -> None:
    health.beat(ReaderState.ACTIVE, idle=True)
    for _ in range(int(LONGEST_BATCH)):
        clock.now += 1
        health.beat(ReaderState.ACTIVE, idle=False)
    assert health.stuck() is None
    clock.now += 1
    assert health.stuck() == "The batch in hand has not come to an end for 121 s."
    health.progressed()
    assert health.stuck() is None


def test_a_first_batch_without_end_is_stuck_too(health: Health, clock: Clock) -> None:
    clock.now += LONGEST_BATCH + 1
    health.beat(ReaderState.ACTIVE, idle=False)
    assert health.stuck() == "The batch in hand has not come to an end for 121 s."


def test_a_worker_is_not_ready_before_its_servers_were_asked(health: Health) -> None:
    assert health.not_ready() == "Redis and the database have not been asked yet."


def test_readiness_names_every_server_that_is_away(health: Health) -> None:
    health.servers_asked("Redis does not answer: refused.", "The database does not answer: refused.")
    assert health.not_ready() == "Redis does not answer: refused. The database does not answer: refused."
    health.servers_asked()
    assert health.not_ready() is None


def test_a_question_that_hangs_makes_the_worker_unready(health: Health, clock: Clock) -> None:
    health.servers_asked()
    clock.now += LONGEST_SILENCE
    assert health.not_ready() is None
    clock.now += 1
    assert health.not_ready() == "Redis or the database has not answered for 21 s."
