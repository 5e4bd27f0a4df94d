"""Checks the promise of liveness: once everything around the service works again, all that is due is taken up."""

import itertools

from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import lease_key
from dbstorage.settings import load_settings
from tests.service.platform import GROUP, STREAM, Platform, question, user
from tests.service.worker import Worker
from tests.waiting import wait_until

#: Seconds within which all that is due has to be taken up.
TAKEN_UP = 10.0

_numbers = itertools.count(1)


def wait_until_drained(platform: Platform, seconds: float = TAKEN_UP) -> None:
    """Nothing unread and nothing pending: waited for without another entry, which might wake up what sleeps."""
    try:
        wait_until(platform.finished, "everything in the stream to be taken up", seconds)
    except AssertionError as error:
        error.add_note(f"What is left: {platform.redis.xinfo_groups(STREAM)}")
        error.add_note(f"In whose hands: {platform.redis.xinfo_consumers(STREAM, GROUP)}")
        raise


def wait_until_served(platform: Platform, seconds: float = TAKEN_UP) -> None:
    """A person who comes now is stored, and who asks now is answered."""
    name = f"comes-now-{next(_numbers)}"
    platform.send(user(name))
    wait_until(lambda: name in platform.users(), "a new user to be stored", seconds)
    platform.send(question(name, name))
    wait_until(lambda: platform.answers_to(name), "a new question to be answered", seconds)
    wait_until_drained(platform, seconds)


def wait_until_orders_flow(platform: Platform) -> None:
    """Some more orders than now are stored."""
    stored = len(platform.orders())
    wait_until(lambda: len(platform.orders()) > stored + 100, "orders to flow")


def reader_of(platform: Platform, workers: list[Worker]) -> Worker | None:
    """The worker that holds the reader's lease."""
    holder = KeyHolder.parse(platform.redis.get(lease_key(load_settings(platform.environment))))
    return next((worker for worker in workers if holder is not None and holder.node_name == worker.name), None)


def wait_for_reader(platform: Platform, workers: list[Worker], seconds: float = TAKEN_UP) -> Worker:
    """The worker that holds the lease, once one of these does."""
    reader = wait_until(lambda: reader_of(platform, workers), "one of the workers to read", seconds)
    assert reader is not None
    return reader
