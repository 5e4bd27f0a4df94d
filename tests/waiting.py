import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

Value = TypeVar("Value")

#: Seconds; generous, because it is only spent where something is broken.
PATIENCE = 60.0


def wait_until(condition: Callable[[], Value], what: str, seconds: float = PATIENCE) -> Value:
    """Return the first true value of `condition`; fail with `what` was waited for when it does not come."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return value


def within_one_day(deed: Callable[[], Value]) -> Value:
    """Return what `deed` does, which is done again where the day ended meanwhile, in UTC."""
    while True:
        day = datetime.now(UTC).date()
        done = deed()
        if datetime.now(UTC).date() == day:
            return done


def let_it_last(seconds: float) -> None:
    """Let a fault last so long, or a silence; never to give anything time, which is what `wait_until` is for."""
    time.sleep(max(0.0, seconds))
