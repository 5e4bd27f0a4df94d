import logging

import pytest

from dbstorage.metrics.full_log import ROOM_SECONDS, FullLog

FULL = "Redis is full: 8 MiB are used."


@pytest.mark.parametrize(
    ("seen", "logged"),
    [
        ([(0, None), (100, None)], []),
        ([(0, FULL), (2, FULL), (4, FULL)], [FULL]),
        # At its limit: trimming makes room, and the next command takes it.
        ([(0, FULL), (2, None), (4, FULL), (6, None), (8, FULL)], [FULL]),
        (
            [(0, FULL), (2, None), (5, FULL), (7, None), (5 + ROOM_SECONDS, None), (99, None)],
            [FULL, "Redis has room again; it was full for 5 s."],
        ),
        ([(0, FULL), (ROOM_SECONDS, None), (60, FULL)], [FULL, "Redis has room again; it was full for 0 s.", FULL]),
    ],
)
def test_a_full_redis_is_told_once_and_that_it_is_over_once(
    seen: list[tuple[float, str | None]], logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    log = FullLog()
    with caplog.at_level(logging.INFO):
        for now, full in seen:
            log.seen(full, now)
    assert caplog.messages == logged
