"""The lines that the log has on the lease: who took it over from whom, and why."""

import logging

from dbstorage.reader.core import LEASE_SECONDS
from dbstorage.reader.lease_news import LeaseNews, Line
from dbstorage.redis_access.holder import KeyHolder, Place


def holder(name: str, process: int = 7, nonce: str = "a") -> KeyHolder:
    return KeyHolder(name, Place("host", "boot", "pid:[1]"), process, nonce)


def info(sentence: str) -> Line:
    return Line(logging.INFO, sentence)


def warning(sentence: str) -> Line:
    return Line(logging.WARNING, sentence)


def test_the_first_reader_says_that_it_reads_and_then_nothing_more():
    news = LeaseNews("w@a")
    assert news.ours(0.0) == info("Reading the stream: nobody else held the lease.")
    assert news.ours(1.5) is None
    # An outage of Redis, in which nobody else took it, is told of by the link.
    assert news.ours(60.0) is None


def test_a_standby_names_whom_it_stands_behind_once_and_whenever_that_changes():
    news = LeaseNews("w@a")
    assert news.anothers(0.0, holder("v@a"), 6.0) == info("Standing by: v@a reads the stream.")
    assert news.anothers(0.4, holder("v@a"), 5.6) is None
    # Each lease of a process has a token of its own.
    assert news.anothers(0.8, holder("v@a", nonce="b"), 6.0) is None
    assert news.anothers(1.2, holder("u@a"), 6.0) == info("Standing by: u@a reads the stream now, in the place of v@a.")


def test_who_takes_over_from_a_silent_one_says_for_how_long_it_was():
    news = LeaseNews("w@a")
    news.anothers(0.0, holder("v@a"), LEASE_SECONDS - 1)
    assert news.ours(5.2) == warning("Reading the stream: took over from v@a, which had not renewed the lease for 6 s.")


def test_who_takes_over_from_one_that_stopped_or_was_set_aside_says_that_it_gave_the_lease_up():
    news = LeaseNews("w@a")
    news.anothers(0.0, holder("v@a"), LEASE_SECONDS - 1)
    assert news.ours(0.4) == info("Reading the stream: took over from v@a, which gave the lease up.")


def test_who_takes_over_from_a_dead_process_of_this_machine_says_so():
    assert LeaseNews("w@a").ours(0.0, holder("v@a")) == warning(
        "Reading the stream: took over from v@a, whose process is gone."
    )


def test_a_worker_that_was_killed_takes_over_from_itself():
    assert LeaseNews("w@a").ours(0.0, holder("w@a")) == info(
        "Reading the stream: took over from an earlier process of this worker."
    )


def test_who_lost_the_lease_says_to_whom_and_after_how_long():
    news = LeaseNews("w@a")
    news.ours(0.0)
    assert news.anothers(12.0, holder("v@a"), 6.0) == warning(
        "Lost the lease to v@a: this worker had not renewed it for 12 s. Standing by."
    )
    assert news.anothers(12.4, holder("v@a"), 6.0) is None
    assert news.ours(13.0) == info("Reading the stream: took over from v@a, which gave the lease up.")


def test_who_gave_the_lease_up_has_not_lost_it():
    news = LeaseNews("w@a")
    news.ours(0.0)
    news.given()
    assert news.anothers(1.0, holder("v@a"), 6.0) == info("Standing by: v@a reads the stream.")


def test_what_no_worker_wrote_is_called_so():
    news = LeaseNews("w@a")
    stranger = "something that is no worker of this service"
    assert news.anothers(0.0, None, 6.0) == info(f"Standing by: {stranger} holds the lease.")
    assert news.anothers(1.0, None, 5.0) is None
    assert news.ours(6.1) == warning(
        f"Reading the stream: took over from {stranger}, which had not renewed the lease for 6 s."
    )
