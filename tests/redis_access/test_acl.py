"""What `dbstorage check` tries on Redis."""

import re
from pathlib import Path

from dbstorage.redis_access.acl import trials
from dbstorage.settings import load_settings

PACKAGE = Path(__file__).parents[2] / "dbstorage"
SERVERS = {"REDIS_URL": "redis://localhost:6379/0", "DATABASE_URL": "postgresql://localhost/platform"}


def test_it_tries_every_command_that_the_scripts_of_the_service_call():
    # Those of worker/ are for the broker, which may be another server.
    scripts = [path.read_text() for path in PACKAGE.rglob("*.py") if path.parent.name != "worker"]
    called = {command for script in scripts for command in re.findall(r"redis\.call\('([A-Z]+)'", script)}
    assert called - {trial.arguments[0] for trial in trials(load_settings(SERVERS))} == set()
