"""`dbstorage grants --give`: roles with exactly the rights, and passwords that the server never sees."""

from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, event

from dbstorage.cli import main
from tests.service.platform import Platform

ROLES = ("grants_service", "grants_flower")


def give() -> None:
    result = CliRunner().invoke(main, ["grants", "--give", "--role", ROLES[0], "--flower-role", ROLES[1]])
    assert result.exit_code == 0, result.output


def test_passwords_reach_the_server_as_verifiers_only(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    passwords = {"SERVICE_PASSWORD": "service's-secret", "FLOWER_PASSWORD": "flower-%s-secret"}
    for name, value in {**platform.environment, **passwords}.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        told.append(f"{statement} {parameters}")

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        give()
        give()
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    try:
        assert any("SCRAM-SHA-256$" in each for each in told)
        assert not [each for each in told if "secret" in each]
        place = urlsplit(platform.database_url)
        for role, password in zip(ROLES, passwords.values(), strict=True):
            login: Any = {"host": place.hostname, "port": place.port, "dbname": place.path[1:]}
            with closing(psycopg2.connect(**login, user=role, password=password)) as connection:
                cursor = connection.cursor()
                cursor.execute('SELECT count(*) FROM "Orders"')
                assert cursor.fetchone() == (0,)
    finally:
        for role in ROLES:
            platform.query(f"DROP OWNED BY {role}; DROP ROLE {role}")
