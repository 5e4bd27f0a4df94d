"""A PostgreSQL standby is promoted when its primary dies: the service follows by itself.

Slow: it takes a base backup, and waits until a worker finds the other host.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from tests.service.platform import Platform, order, question, user
from tests.service.worker import Worker
from tests.waiting import wait_until


def execute(server: EmbeddedPostgres, *statements: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def copy_as_standby(primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    """A base backup of the primary that goes on replicating it when it is started."""
    program = primary._installed() / "pg_basebackup"
    if not program.exists():
        pytest.skip(f"there is no {program}")
    standby.directory.mkdir(mode=0o755)
    subprocess.run(
        [program, "-d", primary.url_of("postgres"), "-D", standby.data, "-R", "-X", "stream", "-c", "fast"],
        check=True, capture_output=True,
    )  # fmt: skip
    password = primary._password_file.read_bytes()
    standby._password_file.write_bytes(password)
    standby._password_file.chmod(0o600)
    owner = primary.data.stat()
    for path in (standby.data, *standby.data.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A primary that waits for its standby with each commit, and that standby."""
    primary, standby = EmbeddedPostgres(tmp_path / "primary"), EmbeddedPostgres(tmp_path / "standby")
    primary.start()
    try:
        upgrade(parse_database_url(primary.url))
        copy_as_standby(primary, standby)
        standby.start()
        execute(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        wait_until(lambda: execute(primary, state) == [("sync",)], "the standby to follow")
        yield primary, standby
    finally:
        primary.stop("immediate")
        standby.stop("immediate")


def test_the_promoted_standby_is_found_and_has_everything(
    servers: tuple[EmbeddedPostgres, EmbeddedPostgres], redis_url: str, tmp_path: Path
) -> None:
    primary, standby = servers
    login, place = primary.url.removeprefix("postgresql://").split("@")
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    url = f"postgresql://{login}@{hosts}/{place.partition('/')[2]}?target_session_attrs=read-write"
    environment = {**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": url, "QUERY_TTL": "3600"}
    with Worker(environment, tmp_path) as worker, closing(Platform(redis_url, standby.url)) as platform:
        worker.start()
        platform.send(user("ann"), *(order(f"before-{number}", "ann") for number in range(300)))
        wait_until(lambda: platform.orders(), "orders to be stored")
        primary.stop("immediate")
        platform.send(*(order(f"meanwhile-{number}", "ann") for number in range(300)))
        execute(standby, "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_promote()")
        wait_until(lambda: execute(standby, "SELECT pg_is_in_recovery()") == [(False,)], "the promotion")
        wait_until(lambda: len(platform.orders()) == 600, "all to be stored", 30)
        platform.send(order("after", "ann"), question("ann", "asked"))
        platform.wait_until_finished()
        assert len(platform.answer_to("asked")["orders"]) == 100
        assert platform.failed("code") == []
        assert worker.alive
