"""Where and with what something was measured."""

import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from bench.servers import Servers

PACKAGES = (
    "celery",
    "kombu",
    "redis",
    "hiredis",
    "sqlalchemy",
    "psycopg2-binary",
    "orjson",
    "flower",
    "faststream",
    "streaq",
)


@dataclass(frozen=True)
class Machine:
    """The machine, how busy it is, and all versions; `date` is UTC, `load` that of the last minute."""

    date: str
    revision: str
    processor: str
    cores: int
    memory_gigabytes: float
    system: str
    load: float
    versions: dict[str, str]

    def sentence(self) -> str:
        """All of it in two lines."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"{self.date}, revision {self.revision}: {self.processor}, {self.cores} cores, "
            f"{self.memory_gigabytes:.0f} GB, {self.system}, load {self.load:.1f} at the start.\n{versions}."
        )


def this_machine(servers: Servers) -> Machine:
    """Describe this machine now, with servers that run."""
    [(postgres,)] = servers.query("SHOW server_version")
    with servers.redis() as redis:
        server = redis.info("server")
    versions = {"Python": platform.python_version(), "PostgreSQL": postgres.split()[0]}
    if "valkey_version" in server:
        versions["Valkey"] = server["valkey_version"]
    else:
        versions["Redis"] = server["redis_version"]
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        revision=_revision(),
        processor=_processor(),
        cores=len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1,
        memory_gigabytes=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.machine()}",
        load=psutil.getloadavg()[0],
        versions=versions,
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _revision() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        # What an earlier part of the same run has written is no change of what is measured.
        changed = _git("status", "--porcelain", "--", ".", ":!bench/results")
        return _git("describe", "--always") + ("-dirty" if changed else "")
    return "unknown"


def _git(*arguments: str) -> str:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, check=True, text=True, timeout=10
    ).stdout.strip()
