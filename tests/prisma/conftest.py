import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from tests.conftest import new_database
from tests.node import node_packages
from tests.service.platform import Platform
from tests.service.serving import served_platform

CLIENT = Path(__file__).with_name("client")
#: Who makes the tables, and the schema that says how they are: Prisma's own migration, or ours.
TABLES = [("ours", "plain"), ("prisma", "plain"), ("prisma", "shaped")]

Calls = list[tuple[str, str, dict[str, Any]]]


class Prisma(NamedTuple):
    """The real Prisma with one schema on one database."""

    schema: str
    database_url: str

    @property
    def schema_file(self) -> Path:
        return CLIENT / f"{self.schema}.prisma"

    def call(self, *calls: tuple[str, str, dict[str, Any]]) -> list[Any]:
        """The results of calls of the client: model, method and its options."""
        results: list[Any] = json.loads(self._node("calls.js", self.schema, json.dumps(calls)))
        return results

    def migrate_diff(self, begin: str, end: str, schema_file: Path | None = None) -> list[str]:
        """The statements that lead from one to the other: `empty`, `schema` or `database`."""
        script = self._node("migrate_diff.js", str(schema_file or self.schema_file), begin, end)
        lines = [line for line in script.splitlines() if not line.startswith("--")]
        return [statement for part in "\n".join(lines).split(";") if (statement := part.strip())]

    def _node(self, *command: str) -> str:
        environment = {**os.environ, "DATABASE_URL": self.database_url}
        return run("node", *command, environment=environment)


def run(*command: str, environment: dict[str, str]) -> str:
    """The standard output of a program in the client's directory."""
    done = subprocess.run(command, cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def generated() -> Callable[[str], None]:
    """Generates the client of a schema, once.

    Slow (15 s in a fresh checkout): npm installs Prisma, whose generator then starts for each schema.
    """
    node_packages(CLIENT)
    # Generating needs no engine, but looks for one and would download it: any program that is there will do.
    engine = shutil.which("node") or ""
    environment = {**os.environ, "PRISMA_SCHEMA_ENGINE_BINARY": engine, "CHECKPOINT_DISABLE": "1"}
    done: set[str] = set()

    def generate(schema: str) -> None:
        if schema not in done:
            run("node", "node_modules/.bin/prisma", "generate", f"--schema={schema}.prisma", environment=environment)
            done.add(schema)

    return generate


@pytest.fixture(scope="session", params=TABLES, ids="-".join)
def prisma(
    request: pytest.FixtureRequest, generated: Callable[[str], None], postgres_server: EmbeddedPostgres
) -> Iterator[Prisma]:
    """Prisma on a database that Alembic made, or that Prisma made and Alembic adopted."""
    maker, schema = request.param
    generated(schema)
    for url in new_database(postgres_server, "template1"):
        prisma = Prisma(schema, url)
        if maker == "prisma":
            with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(";".join(prisma.migrate_diff("empty", "schema")))
            assert prisma.migrate_diff("schema", "database") == []
        upgrade(parse_database_url(url))
        yield prisma


@pytest.fixture(scope="module")
def platform(
    prisma: Prisma, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The platform with a worker on Prisma's database."""
    directory = tmp_path_factory.mktemp("prisma")
    # As written for Prisma, with what libpq does not know.
    settings = {"DATABASE_URL": f"{prisma.database_url}?schema=public&connection_limit=5", "QUERY_TTL": "3600"}
    with served_platform(redis_server, prisma.database_url, directory, **settings) as platform:
        yield platform
