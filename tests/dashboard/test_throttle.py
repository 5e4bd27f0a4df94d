import pytest

from dbstorage.dashboard.throttle import FORGOTTEN_AFTER, LONGEST_PAUSE, MOST_ADDRESSES, Throttle

PERSON = "192.0.2.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 0), (4, 0), (5, 1), (6, 2), (7, 4), (10, 32), (11, 60), (10_000, 60)]
)
def test_the_pause_grows_with_the_failures(throttle: Throttle, failures: int, seconds: float):
    for _ in range(failures):
        throttle.failed(PERSON)
    assert throttle.wait(PERSON) == seconds
    assert throttle.wait("192.0.2.2") == 0


def test_who_has_one_address_of_ipv6_has_its_neighbours_too(throttle: Throttle):
    for number in range(6):
        throttle.failed(f"2001:db8:0:1::{number}")
    assert throttle.wait("2001:db8:0:1:ffff::1") == 2
    assert throttle.wait("2001:db8:0:2::1") == 0
    throttle.succeeded("2001:db8:0:1::9")
    assert throttle.wait("2001:db8:0:1::1") == 0


def test_an_address_of_ipv4_is_the_same_in_the_clothes_of_ipv6(throttle: Throttle):
    for _ in range(5):
        throttle.failed(PERSON)
    assert throttle.wait(f"::ffff:{PERSON}") == 1
    assert throttle.wait("::ffff:192.0.2.2") == 0


def test_an_address_may_try_again_when_its_pause_is_over(throttle: Throttle, clock: Clock):
    for _ in range(6):
        throttle.failed(PERSON)
    clock.now += 1.5
    assert throttle.wait(PERSON) == 0.5
    clock.now += 0.5
    assert throttle.wait(PERSON) == 0


def test_a_right_login_makes_up_for_all_wrong_ones(throttle: Throttle):
    for _ in range(5):
        throttle.failed(PERSON)
    throttle.succeeded(PERSON)
    throttle.failed(PERSON)
    assert throttle.wait(PERSON) == 0


def test_time_makes_up_for_them_too(throttle: Throttle, clock: Clock):
    for _ in range(50):
        throttle.failed(PERSON)
    clock.now += FORGOTTEN_AFTER + 1
    throttle.failed(PERSON)
    assert throttle.wait(PERSON) == 0
    assert LONGEST_PAUSE < FORGOTTEN_AFTER


def test_of_many_addresses_those_are_forgotten_that_failed_longest_ago(throttle: Throttle):
    for number in range(MOST_ADDRESSES + 1):
        for _ in range(5):
            throttle.failed(str(number))
    assert throttle.wait("0") == 0
    assert throttle.wait("1") > 0
