"""What a pool process has from the main process, which it is forked from, and what is its own."""

import json
import os
from typing import Any

from dbstorage.batch.batch_writer import PATIENT_LOCK_TIMEOUT
from dbstorage.batch.resources import IDLE_IN_TRANSACTION_SECONDS, LOCK_TIMEOUT, Resources, resources_of
from dbstorage.reader.core import LEASE_SECONDS, RENEW_SECONDS
from dbstorage.settings import load_settings


def sessions(resources: Resources) -> tuple[Any, Any]:
    """The numbers of its session in PostgreSQL and of its connection to Redis."""
    with resources.engine.begin() as connection:
        session = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return session, resources.redis.client_id()


def test_a_forked_process_has_connections_of_its_own(environment: dict[str, str]) -> None:
    settings = load_settings(environment)
    ours = sessions(resources_of(settings))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(sessions(resources_of(settings))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        theirs = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert not set(theirs) & set(ours)
    assert sessions(resources_of(settings)) == ours


def test_the_transactions_of_a_frozen_worker_end_before_its_lease() -> None:
    assert IDLE_IN_TRANSACTION_SECONDS < LEASE_SECONDS - RENEW_SECONDS


def test_the_transactions_of_a_frozen_process_end_before_others_give_up_waiting() -> None:
    assert IDLE_IN_TRANSACTION_SECONDS * 1000 < LOCK_TIMEOUT + PATIENT_LOCK_TIMEOUT
