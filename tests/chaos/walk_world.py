"""The world of a random walk: real servers, workers behind proxies, and a list of what must be stored and answered."""

import functools
import json
import os
import random
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import psycopg2

from dbstorage.audit import audit
from dbstorage.audit.outcomes import AuditOutcome
from dbstorage.embedded.ports import choose_port
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.settings import load_settings
from tests.chaos.conftest import Servers
from tests.chaos.liveness import TAKEN_UP, wait_until_drained, wait_until_served
from tests.chaos.proxy import Proxy
from tests.chaos.walk import CUT, LOCKED, LOSES_A_PROCESS, NO_ANSWERS, SENDINGS, WELL, Setting, Step
from tests.metrics.scraping import get
from tests.service.platform import RESPONSES, Platform, order, question, user
from tests.service.worker import Worker
from tests.waiting import let_it_last, wait_until

CLAIM_IDLE = 2
#: Seconds that a row may stay locked: less than a statement may take.
LOCKED_SECONDS = 2.5
#: Seconds in which a worker has to end, and what a busy machine adds.
STOPPED_WITHIN = 10 + 3
#: Seconds after which a connection that says nothing is given up; it looks as if it were well.
SILENCE = 8
#: Seconds until failed tasks that are tried again have had all their attempts.
RETRIED = 30
LARGE = "x" * 1_200_000
#: Where the response stream is kept while another kind of key stands in its place.
SET_ASIDE = "the-answers"


class Ledger:
    """What was sent, and so what has to be stored, answered and refused in the end."""

    def __init__(self, seed: str) -> None:
        self.dice = random.Random(seed)
        self.orders: dict[str, str] = {}
        self.emails: dict[str, str] = {}
        self.asked: list[str] = []
        self.large = 0

    def commands(self, kind: str, count: int) -> list[dict[str, Any]]:
        """So many new commands of this kind; the first ones are of the first person."""
        if kind == "large":
            return [self._large() for _ in range(count)]
        makers = {"writes": [self._write], "questions": [self._question], "both": [self._write, self._question]}
        return [maker() for maker in self.dice.choices(makers[kind], k=count)]

    def _write(self) -> dict[str, Any]:
        throw = self.dice.random()
        if not self.emails or throw < 0.1:
            return self._user(f"person-{len(self.emails)}")
        if throw < 0.15:
            return self._user(self.dice.choice([*self.emails]))
        order_id = f"order-{len(self.orders)}"
        self.orders[order_id] = self.dice.choice([*self.emails])
        return order(order_id, self.orders[order_id])

    def _user(self, user_id: str) -> dict[str, Any]:
        self.emails[user_id] = f"{user_id}.{self.dice.randrange(10**9)}@example.com"
        return user(user_id, self.emails[user_id])

    def _question(self) -> dict[str, Any]:
        self.asked.append(f"question-{len(self.asked)}")
        return question(self.dice.choice([*self.emails, "nobody"]), self.asked[-1], limit=1)

    def _large(self) -> dict[str, Any]:
        self.large += 1
        return {**order(f"large-{self.large}", "nobody"), "note": LARGE}


class World:
    """Does what steps say."""

    def __init__(self, setting: Setting, servers: Servers, directory: Path, seed: str) -> None:
        self.setting = setting
        self.servers = servers
        self.ledger = Ledger(seed)
        self.workers: dict[str, Worker] = {}
        self.links: dict[str, Proxy] = {}
        self.probes: dict[str, int] = {}
        self.broker: EmbeddedRedis | None = None
        self._stack = ExitStack()
        self._directory = directory
        self._ballast = servers.postgres.directory / "ballast"
        self._unsent: list[dict[str, Any]] = []
        self._conditions: dict[str, str] = {}
        self._stopping: dict[str, float] = {}
        self._silent_until = 0.0
        self._locks: list[Timer] = []
        self._answered_to = b"0"
        self._answers: Counter[str] = Counter()

    def __enter__(self) -> "World":
        self.platform = self._stack.enter_context(closing(Platform(self.servers.redis.url, self.servers.postgres.url)))
        if self.setting.own_broker:
            self.broker = EmbeddedRedis(self._directory / "broker")
            self.broker.start()
            self._stack.callback(self.broker.kill)
        for number in range(self.setting.workers):
            self._add_worker(number)
        for worker in self.workers.values():
            worker.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._ballast.unlink(missing_ok=True)
        for timer in self._locks:
            timer.join()
        for worker in self.workers.values():
            worker.thaw()
        if self.broker is not None:
            self.servers.thaw(self.broker)
        # A walk that failed leaves them in any condition, and other tests use them too.
        self.servers.make_well()
        self._let_postgres_write(True)
        self._stack.close()

    def _add_worker(self, number: int) -> None:
        redis = self._stack.enter_context(Proxy.to(self.servers.redis.url))
        postgres = self._stack.enter_context(Proxy.to(self.servers.postgres.url))
        self.links |= {f"link-redis-{number}": redis, f"link-postgres-{number}": postgres}
        name = f"worker-{number}"
        self.probes[name] = choose_port()
        environment = {
            **os.environ,
            "REDIS_URL": redis.url(self.servers.redis.url),
            "DATABASE_URL": postgres.url(self.servers.postgres.url),
            "ORDERING": self.setting.ordering,
            "CLAIM_IDLE": str(CLAIM_IDLE),
            "QUERY_TTL": "3600",
            "RESPONSE_MAXLEN": "1000000",
            "METRICS_PORT": str(self.probes[name]),
            **({"CELERY_BROKER_URL": self.broker.url} if self.broker else {}),
        }
        worker = Worker(environment, self._directory, name, "-c", "2")
        self.workers[name] = self._stack.enter_context(worker).start(ready=False)

    def do(self, step: Step) -> None:
        """Do one step; a check raises AssertionError."""
        what, how = step
        if what == "check":
            self._check()
        elif what == "wait":
            let_it_last(float(how))
        elif what in SENDINGS:
            self._unsent += self.ledger.commands(what, int(how))
            self._send()
        elif how == LOCKED:
            self._lock()
        elif how == CUT:
            self._cut(what)
        elif how == LOSES_A_PROCESS:
            # Celery gives up where a pool process dies while it starts.
            if self.workers[what].ready:
                self.workers[what].kill_pool_process()
        else:
            before = self._conditions.get(what, WELL)
            self._conditions[what] = how
            self._change(what, before, how)
            self._send()

    def _send(self) -> None:
        """As the engine does: what Redis does not take now is sent when it is back."""
        if self._unsent and self._conditions.get("redis", WELL) in (WELL, NO_ANSWERS):
            self.platform.send(*self._unsent)
            self._unsent.clear()

    # Faults

    def _change(self, what: str, before: str, how: str) -> None:
        if what.startswith("link-"):
            self._change_link(self.links[what], before, how)
        elif what.startswith("worker-"):
            self._change_worker(what, how)
        elif what == "postgres":
            self._change_postgres(how)
        else:
            redis = self.servers.redis if what == "redis" else self.broker
            assert redis is not None
            self._change_redis(redis, how)

    def _change_postgres(self, how: str) -> None:
        server = self.servers.postgres
        if how == "away":
            server.stop("immediate")
        elif how == "frozen":
            self.servers.freeze(server)
        elif how == "read-only":
            self._let_postgres_write(False)
        elif how == "full":
            with suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(64 * 1024))
        else:
            self.servers.thaw(server)
            self._ballast.unlink(missing_ok=True)
            # It ends where it could not even write down that its disk is full.
            server.start()
            self._let_postgres_write(True)

    def _let_postgres_write(self, allowed: bool) -> None:
        connection = psycopg2.connect(self.servers.postgres.url, options="-c default_transaction_read_only=off")
        with closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'off' if allowed else 'on'}")
                cursor.execute("SELECT pg_reload_conf()")

    def _change_redis(self, server: EmbeddedRedis, how: str) -> None:
        if how == "away":
            server.stop()
        elif how == "frozen":
            self.servers.freeze(server)
        elif how == "full":
            self.platform.redis.config_set("maxmemory", 1)
        elif how == "paused":
            self.platform.redis.client_pause(600_000, all=False)
        elif how == NO_ANSWERS:
            if self.platform.redis.exists(RESPONSES):
                self.platform.redis.rename(RESPONSES, SET_ASIDE)
            self.platform.redis.set(RESPONSES, "another program's")
        else:
            self.servers.thaw(server)
            server.start()
            if server is self.servers.redis:
                self.platform.redis.config_set("maxmemory", 0)
                self.platform.redis.client_unpause()
                if self.platform.redis.type(RESPONSES) == b"string":
                    self.platform.redis.delete(RESPONSES)
                if self.platform.redis.exists(SET_ASIDE):
                    self.platform.redis.rename(SET_ASIDE, RESPONSES)

    def _change_link(self, link: Proxy, before: str, how: str) -> None:
        if how == "slow":
            link.delay, link.bytes_per_second = 0.05, 2_000_000
        elif how == "silent":
            link.black_hole(new_too=True)
        elif how == "closed":
            link.refuse()
        else:
            link.delay, link.bytes_per_second = 0.0, None
            link.mend()
            if before == "silent":
                self._silent_until = time.monotonic() + SILENCE

    def _change_worker(self, name: str, how: str) -> None:
        worker = self.workers[name]
        if how == "frozen":
            worker.freeze()
        elif how == "stunned":
            worker.freeze_pool()
        elif how == "killed":
            worker.kill()
            worker.thaw()
        elif how == "stopped":
            worker.terminate()
            self._stopping[name] = time.monotonic() + STOPPED_WITHIN
        else:
            worker.thaw()
            if name in self._stopping:
                worker.wait(max(0.1, self._stopping.pop(name) - time.monotonic()))
            assert worker.process is not None
            if worker.process.returncode is not None:
                worker.start(ready=False)

    def _cut(self, what: str) -> None:
        if what == "redis":
            self.platform.redis.client_kill_filter(_type="normal", skipme=True)
        else:
            self.platform.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbstorage'"
            )

    def _lock(self) -> None:
        """Hold the rows of all people for a while, and with them the orders of these people."""
        with suppress(psycopg2.OperationalError):
            connection = psycopg2.connect(self.servers.postgres.url, options="-c search_path=public")
            connection.cursor().execute('SELECT FROM "User" FOR UPDATE')
            timer = Timer(LOCKED_SECONDS, connection.close)
            timer.start()
            self._locks.append(timer)

    # What is owed

    def _check(self) -> None:
        """All is well: what is due is taken up by itself, and everything that was sent came to its end."""
        for worker in self.workers.values():
            worker.wait_until_ready()
        while self._locks:
            self._locks.pop().join()
        seconds = TAKEN_UP + (CLAIM_IDLE if self.setting.ordering == "parallel" else 0)
        seconds += max(0.0, self._silent_until - time.monotonic())
        wait_until_drained(self.platform, seconds)
        wait_until_served(self.platform)
        for name, worker in self.workers.items():
            assert worker.alive, f"{name} has ended: {worker.log[-2_000:]}"
            wait_until(functools.partial(self._says_ready, name), f"{name} to say so", TAKEN_UP)
            assert get(self.probes[name], "/livez")[0] == 200
        wait_until(lambda: ("retrying",) not in self.platform.failed("state"), "retries to end", RETRIED)
        failed = self.platform.query("SELECT code, message FROM dbstorage.failed_tasks WHERE state = 'failed'")
        assert [code for code, _ in failed] == ["too_large"] * self.ledger.large, failed
        self._compare("orders", self.ledger.orders, self.platform.orders())
        users = self.platform.users()
        self._compare("people", self.ledger.emails, {name: users.get(name) for name in self.ledger.emails})
        self._count_answers()
        assert {name: self._answers[name] for name in self.ledger.asked if self._answers[name] != 1} == {}
        report = audit(load_settings(self.platform.environment))
        assert not report.missing, report.missing[:5]
        assert report.count(AuditOutcome.PENDING) == 0

    def _says_ready(self, name: str) -> bool:
        return get(self.probes[name], "/readyz")[0] == 200

    @staticmethod
    def _compare(kind: str, expected: dict[str, str], found: dict[str, Any]) -> None:
        wrong = {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
        assert not wrong, f"{len(wrong)} {kind} are not as they should be, such as {sorted(wrong)[:5]}"

    def _count_answers(self) -> None:
        for entry_id, fields in self.platform.redis.xrange(RESPONSES, min=b"(" + self._answered_to):
            self._answered_to = entry_id
            self._answers[json.loads(fields[b"message"]).get("requestId")] += 1
