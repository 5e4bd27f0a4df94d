"""A Redis master, two replicas and three sentinels for one test, all with passwords."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis

from dbstorage.embedded.ports import LOOPBACK, choose_port
from dbstorage.embedded.redis import server_program
from tests.waiting import wait_until

SERVICE = "trading"
PASSWORD, SENTINEL_PASSWORD = "p@ss", "s&cret"
#: Milliseconds of silence after which a sentinel takes the master for dead.
DOWN_AFTER = 2_000


class Server:
    """A process of valkey-server or redis-server, as a data server or as a sentinel."""

    def __init__(self, directory: Path, name: str, lines: list[str], *, sentinel: bool = False) -> None:
        self.port = choose_port()
        self._file = directory / f"{name}.conf"
        self._arguments = ["--sentinel"] if sentinel else []
        self._log = directory / f"{name}.log"
        (directory / name).mkdir()
        own = [f"port {self.port}", f"bind {LOOPBACK}", f"dir {directory / name}", 'save ""' if not sentinel else ""]
        self._file.write_text("\n".join([*own, *lines, ""]))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [str(server_program()), str(self._file), *self._arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def client(self, password: str = PASSWORD) -> Any:
        return redis.Redis(port=self.port, password=password, socket_timeout=2, protocol=2, decode_responses=True)


class Sentinels:
    """The whole of it. `url` is how the service is told."""

    def __init__(self, directory: Path) -> None:
        data = [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", "repl-diskless-sync-delay 0"]
        self.servers = [Server(directory, "data0", data)]
        first = self.servers[0].port
        for number in (1, 2):
            self.servers.append(Server(directory, f"data{number}", [*data, f"replicaof {LOOPBACK} {first}"]))
        watch = [
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {SERVICE} {LOOPBACK} {first} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} 6000",
        ]
        self.sentinels = [Server(directory, f"sentinel{number}", watch, sentinel=True) for number in range(3)]
        hosts = ",".join(f"{LOOPBACK}:{each.port}" for each in self.sentinels)
        self.url = f"redis+sentinel://:p%40ss@{hosts}/{SERVICE}/0?sentinel_password=s%26cret"

    def start(self) -> None:
        """Start all, and wait until they know each other."""
        for server in self.servers:
            server.start()
        wait_until(lambda: self._replicas(self.servers[0]) == 2, "two replicas")
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(lambda: all(map(self._knows_all, self.sentinels)), "the sentinels to know everybody")

    def stop(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.signal(signal.SIGCONT)
            server.kill()

    @property
    def master(self) -> Server:
        """Whom the sentinels call the master."""
        for sentinel in self.sentinels:
            try:
                with sentinel.client(SENTINEL_PASSWORD) as client:
                    _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            except redis.RedisError:
                continue
            [found] = [server for server in self.servers if server.port == int(port)]
            return found
        raise AssertionError("no sentinel answers")

    def fail_over(self) -> None:
        """Have another server made the master on purpose, as for an update."""
        with self.sentinels[0].client(SENTINEL_PASSWORD) as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    def wait_for_new_master(self, old: Server) -> Server:
        wait_until(lambda: self.master is not old, "another master")
        return self.master

    def wait_until_whole(self) -> None:
        """Wait until the master has two replicas again, and the sentinels agree."""
        wait_until(lambda: self._replicas(self.master) == 2, "two replicas")
        wait_until(lambda: all(map(self._knows_all, self.sentinels)), "the sentinels to know everybody")

    @staticmethod
    def _replicas(server: Server) -> int:
        try:
            with server.client() as client:
                return sum(client.info("replication")[f"slave{n}"]["state"] == "online" for n in (0, 1))
        except (redis.RedisError, KeyError):
            return 0

    @staticmethod
    def _knows_all(sentinel: Server) -> bool:
        try:
            with sentinel.client(SENTINEL_PASSWORD) as client:
                [state] = client.sentinel_masters().values()
        except (redis.RedisError, ValueError):
            return False
        return bool(state["num-slaves"] >= 2 and state["num-other-sentinels"] == 2 and not state["is_sdown"])
