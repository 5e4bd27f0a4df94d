"""What a pool process has from the main process, which it is forked from, and what is its own."""

import json
import os
from typing import Any

from dbstorage.batch.resources import Resources, resources_of
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
