"""Two services on one Redis, one database and one broker: neither sees or touches anything of the other's."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery import Celery

from dbstorage.application import create_app
from dbstorage.audit import audit
from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.changes import Change, apply
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.lookup import find
from dbstorage.settings import Settings, load_settings
from tests.service.platform import Platform, order, question, user
from tests.service.rabbitmq import running_rabbitmq
from tests.service.worker import Worker
from tests.waiting import wait_until

#: Both have a colon, so that it matters which part of a name is the stream's.
NAMES = {
    "a": {"DBSTORAGE_STREAM": "s:a", "CONSUMER_GROUP": "b:g", "RESPONSE_STREAM": "answers:a"},
    "b": {"DBSTORAGE_STREAM": "s:a:b", "CONSUMER_GROUP": "g", "RESPONSE_STREAM": "answers:b"},
}
CALLS = 20


class Tenant(NamedTuple):
    """One of the two."""

    settings: Settings
    app: Celery
    platform: Platform

    def send(self, moment: int, *commands: dict[str, Any]) -> None:
        """Write commands with the entry ids of this moment: …-1, …-2, …"""
        for number, command in enumerate(commands, start=1):
            fields = {"message": json.dumps(command)}
            self.platform.redis.xadd(self.settings.command_stream, fields, id=f"{moment}-{number}")

    def failed(self) -> set[tuple[str | None, str]]:
        """Entry id (none for a call) and code of its failed tasks."""
        engine = create_engine(self.settings.database)
        with engine.connect() as connection:
            found = find(connection, self.settings.scope, Filter(states=(State.FAILED, State.RETRYING)), limit=500)
        engine.dispose()
        return {(task.entry_id or task.task_id, task.code) for task in found}

    def finished(self) -> bool:
        """Whether everything in its stream is acknowledged."""
        groups = self.platform.redis.xinfo_groups(self.settings.command_stream)
        return bool(groups) and groups[0]["pending"] == 0 and groups[0]["lag"] == 0


@pytest.fixture(params=["redis", "rabbitmq"])
def tenants(
    request: pytest.FixtureRequest, environment: dict[str, str], platform: Platform, tmp_path: Path
) -> Iterator[tuple[Tenant, Tenant]]:
    """Two services with a worker each; the workers have the same node name."""
    with ExitStack() as stack:
        broker = {}
        if request.param == "rabbitmq":
            broker["CELERY_BROKER_URL"] = stack.enter_context(running_rabbitmq(tmp_path))
        tenants = []
        for name, names in NAMES.items():
            own = {**environment, **broker, **names, "USER_WAIT": "0", "QUERY_TTL": "3600"}
            settings = load_settings(own)
            directory = tmp_path / name
            directory.mkdir()
            stack.enter_context(Worker(own, directory)).start()
            tenants.append(Tenant(settings, create_app(settings), platform))
        yield tenants[0], tenants[1]


def test_neither_finds_anything_of_the_others(tenants: tuple[Tenant, Tenant]):
    a, b = tenants
    # The same ids in both streams: entries, an order that waits, an order that is refused.
    moment = int(time.time() * 1000)
    waits, refused = f"{moment}-2", f"{moment}-3"
    a.send(moment, user("ann"), order("a-1", "late"), order("a-2", "ann", symbol="doge"), question("ann", "q"))
    b.send(moment, user("bob"), order("b-1", "late"), order("b-2", "bob", type="hold"), question("bob", "q"))
    wait_until(lambda: a.finished() and b.finished(), "both to be done")
    assert a.failed() == {(waits, "user_not_found"), (refused, "invalid_symbol")}
    assert b.failed() == {(waits, "user_not_found"), (refused, "invalid_type")}
    for tenant in tenants:
        assert tenant.platform.redis.xlen(tenant.settings.response_stream) == 1
        report = audit(tenant.settings)
        assert report.missing == []
        assert report.counts["createCloseOrder"] == {"failed": 2}

    # Calls: every one of them is run by the service that it was for.
    for _ in range(CALLS):
        a.app.send_task("createCloseOrder", args=[{"orderId": "called"}])
    wait_until(lambda: len(a.failed()) == 2 + CALLS, "the calls to be run")
    assert len(b.failed()) == 2

    # Remote control and events.
    for tenant in tenants:
        assert len(tenant.app.control.ping(timeout=2)) == 1
    assert len(a.app.control.broadcast("pool_grow", arguments={"n": 1}, reply=True, timeout=5)) == 1
    pools = [next(iter(tenant.app.control.inspect(timeout=2).stats().values()))["pool"] for tenant in tenants]
    assert [len(pool["processes"]) for pool in pools] == [3, 2]
    events: list[dict[str, Any]] = []
    with b.app.connection_for_read() as connection:
        receiver = b.app.events.Receiver(connection, handlers={"*": events.append})
        consuming = receiver.itercapture(limit=None, timeout=30, wakeup=True)
        next(consuming)
        # A createUser of one puts the other's waiting order to nothing, and a retry runs the own record alone.
        a.send(moment + 60_000, user("late"))
        wait_until(lambda: (waits, "user_not_found") not in a.failed(), "the order that waited")
        assert (waits, "user_not_found") in b.failed()
        engine = create_engine(b.settings.database)
        with engine.connect() as own:
            assert apply(own, b.settings.scope, Filter(code="user_not_found"), Change.RETRY, who="joe") == 1
        engine.dispose()
        for _ in consuming:
            if any(event.get("uuid") == "createCloseOrder:b-1" for event in events):
                break
    wait_until(lambda: (waits, "user_not_found") not in b.failed(), "the order of the other")
    assert not [event for event in events if event.get("uuid") == "createCloseOrder:a-1"]
    assert set(a.platform.orders()) == {"a-1", "b-1"}

    # Every name in Redis is one of theirs.
    streams = {name for tenant in tenants for name in (tenant.settings.command_stream, tenant.settings.response_stream)}
    keys = {key.decode() for key in a.platform.redis.scan_iter("*")} - streams
    prefixes = ("dbstorage:s:a:b%3Ag:", "dbstorage:s:a:b:g:")
    assert [key for key in keys if not key.startswith(prefixes)] == []
    assert all(any(key.startswith(prefix) for key in keys) for prefix in prefixes)
