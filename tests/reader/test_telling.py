"""What the log says of a holding: once that it begins, once that it ends, and each reason once."""

import logging

import pytest

from dbstorage.reader.core import Hold
from dbstorage.reader.telling import HoldLog
from dbstorage.storage.outcome import Outage

LOCKED = "A table is locked by session 41 (active, since 08:00:01)."
FULL = "The disk is full."


def lines_of(caplog: pytest.LogCaptureFixture, *holds: Hold | None) -> list[str]:
    """What is logged while the core holds for these reasons, one after the other, a second each."""
    log = HoldLog()
    with caplog.at_level(logging.INFO):
        for now, (before, after) in enumerate(zip((None, *holds), (*holds, None), strict=True)):
            log.changed(before, after, float(now))
    return [record.getMessage() for record in caplog.records]


def fault(reason: str) -> Hold:
    return Hold(Outage.FAULT, reason, 0.0)


@pytest.mark.parametrize(
    "reasons",
    [
        pytest.param([LOCKED] * 3, id="the same"),
        pytest.param([f"A table is locked by session 41, for {seconds} s." for seconds in (1, 5, 10)], id="figures"),
        pytest.param([f"{used} MiB of {used + 1:,} bytes, {used}% are used." for used in (900, 1_000)], id="sizes"),
        pytest.param([f"It was tried {count} times for {count}.5 s." for count in (2, 3)], id="counts"),
        pytest.param(
            [f"The entry {entry_id} is refused." for entry_id in ("7-0", "7-12", "11-0")], id="ids of entries"
        ),
    ],
)
def test_a_reason_in_which_only_figures_change_is_logged_once(
    reasons: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    began, ended = lines_of(caplog, *map(fault, reasons))
    assert began == f"Nothing can be stored until this is mended: {reasons[0].rstrip('.')}."
    assert ended.startswith("Storing goes on after ")


def test_another_reason_is_logged_too_and_one_that_returns_is_not(caplog: pytest.LogCaptureFixture) -> None:
    lines = lines_of(caplog, *map(fault, [LOCKED, FULL, LOCKED, FULL]))
    assert [("locked" in line, "full" in line) for line in lines[:-1]] == [(True, False), (False, True)]
    assert lines[-1].startswith("Storing goes on after ")


@pytest.mark.parametrize(
    "reason",
    [
        "The statement was refused (SQLSTATE {}).",
        "127.0.0.1:54{} refuses the connection.",
        "A table is locked by session {} (active, its transaction open since 2026-01-01 08:00:01 UTC).",
        'The sequence "part_{}_id_seq" is used up.',
    ],
)
def test_reasons_that_differ_in_what_is_no_count_are_told_apart(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    lines = lines_of(caplog, *(fault(reason.format(number)) for number in (10, 11, 10)))
    assert [line.startswith("Nothing can be stored") for line in lines] == [True, True, False]


def test_the_same_reason_is_logged_again_in_another_holding(caplog: pytest.LogCaptureFixture) -> None:
    lines = lines_of(caplog, fault(FULL), None, fault(FULL))
    assert [line.startswith("Nothing can be stored") for line in lines] == [True, False, True, False]


def test_a_pause_within_a_fault_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    log, pause = HoldLog(), Hold(None, "a restore", 1.0)
    with caplog.at_level(logging.INFO):
        log.changed(None, fault(FULL), 0.0)
        log.changed(None, pause, 1.0)
        log.changed(pause, None, 2.0)
        log.changed(fault(FULL), fault(FULL), 3.0)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["Nothing", "Paused", "The"]


AWAY = Hold(Outage.DATABASE, "Connection refused.", 1.0)
REPLAYED = Hold(Outage.REPLAY, "A replay of the stream is running", 1.0)


@pytest.mark.parametrize("another", [AWAY, REPLAYED, Hold(Outage.REDIS, "Redis does not answer", 1.0)])
def test_a_fault_that_another_outage_takes_the_place_of_is_told_as_over_when_storing_goes_on(
    another: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    began, taken_over, *ended = lines_of(caplog, fault(FULL), another)
    assert began.startswith("Nothing can be stored")
    assert another.reason.rstrip(".") in taken_over
    assert len(ended) == 2
    assert ended[1] == "Storing goes on after 2.0 s: what was wrong with the database is mended."


def test_a_fault_that_shows_again_behind_an_outage_has_lasted(caplog: pytest.LogCaptureFixture) -> None:
    lines = lines_of(caplog, fault(FULL), AWAY, Hold(Outage.FAULT, FULL, 2.0))
    assert [line.split(":")[0] for line in lines] == [
        "Nothing can be stored until this is mended",
        "Database is away",
        "Database is back after 1.0 s.",
        "Storing goes on after 3.0 s",
    ]
