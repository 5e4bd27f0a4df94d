"""A service without a worker: its batches and sweeps run in the test's own process, on real servers."""

import json
from typing import Any

import redis
from sqlalchemy import Connection, text

from dbstorage.batch.job import BatchJob, run_job
from dbstorage.batch.resources import Resources, resources_of
from dbstorage.failed_tasks.sweep import run_due
from dbstorage.reader.group import ConsumerGroup
from dbstorage.settings import Settings, load_settings
from dbstorage.storage.outcome import Outcome, Report


class Service:
    """A stream with a group, and what a pool process does for it."""

    def __init__(self, environment: dict[str, str], **settings: str) -> None:
        self.environment = {**environment, **settings}
        self.settings: Settings = load_settings(self.environment)
        self.redis: Any = redis.Redis.from_url(environment["REDIS_URL"], protocol=2)
        self.resources: Resources = resources_of(self.settings)
        self.join()

    def join(self) -> None:
        """Make the group, where there is none."""
        _, creation, _ = self.redis.execute_command(*ConsumerGroup(self.settings, "test").create())
        self.creation = creation.decode()

    def send(self, *commands: dict[str, Any], ids: list[str] | None = None) -> list[str]:
        """Write commands as the engine does; their entry ids."""
        return [
            self.redis.xadd(
                self.settings.command_stream,
                {b"message": json.dumps(command).encode()},
                id=ids[index] if ids else "*",
            ).decode()
            for index, command in enumerate(commands)
        ]

    def store(self, count: int = 10_000) -> Report:
        """Read what is new and run it as one batch."""
        read = self.redis.xreadgroup(
            self.settings.consumer_group, "test", {self.settings.command_stream: ">"}, count=count
        )
        entries = read[0][1] if read else []
        ids = [entry_id.decode() for entry_id, _ in entries]
        fields = [[part for pair in values.items() for part in pair] for _, values in entries]
        self.use()
        report = run_job(self.resources, BatchJob(ids, fields, "test", group_creation=self.creation))
        assert report.crash == ""
        return report

    def outcomes(self, *commands: dict[str, Any]) -> list[Outcome | None]:
        """Send commands, store them, and say what became of each."""
        self.send(*commands)
        return self.store().outcomes

    def sweep(self) -> Report:
        """Run the failed tasks that are due."""
        self.use()
        report = run_due(self.settings)
        assert report.crash == ""
        return report

    def use(self) -> None:
        """Be the service of this process, which has one at a time."""
        self.resources = resources_of(self.settings)

    def query(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement by itself; its rows."""

        def run(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execute(text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

        with self.resources.engine.begin() as connection:
            return run(connection)

    def owners(self) -> dict[str, str]:
        """The userID that each stored order is under, in the order in which they were written."""
        return dict(self.query('SELECT "orderId", "userId" FROM "Orders" ORDER BY id'))

    def failed(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of this service's records, oldest first."""
        return self.query(
            f"SELECT {', '.join(columns)} FROM dbstorage.failed_tasks "
            "WHERE stream = :stream AND consumer_group = :group ORDER BY id",
            **self.settings.scope._asdict(),
        )

    def make_due(self) -> None:
        """Let every retry's time come now."""
        self.query("UPDATE dbstorage.failed_tasks SET retry_at = now() WHERE state = 'retrying'")
