"""Invented traffic through a real worker, compared with a model that does one command after the other."""

import random
import threading
from typing import Any

import pytest

from dbstorage.wire.entry_id import parse_entry_id
from tests.chaos.conftest import scaled
from tests.service.invented import PEOPLE, Command, Inventor
from tests.service.model import Model
from tests.service.platform import Platform
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

#: Every question is younger than this when its turn comes, and none of the answers is trimmed away.
SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "1000000", "USER_WAIT": "2"}
#: A worker that is alone keeps the order in both.
ORDERINGS = ("strict", "parallel")
STORED = """SELECT "orderId", person.email, symbol, type, quantity, leverage, "stopLoss", "openPrice",
    to_char("closeTime", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), "profitLoss"
    FROM "Orders" JOIN "User" AS person ON person."userID" = "userId" ORDER BY "closeTime" DESC, "Orders".id DESC"""
CONTENT = ("symbol", "type", "quantity", "leverage", "stopLoss", "openPrice", "closeTime", "profitLoss")


class Comparison:
    """One run: what was sent, with its entry ids, and the model that goes along."""

    def __init__(self, platform: Platform, seed: int) -> None:
        self.platform = platform
        self.inventor = Inventor(seed)
        self.dice = random.Random(seed)
        self.model = Model()
        self.sent: dict[str, Command] = {}
        self.expected: dict[str, str] = {}

    def send(self, commands: list[Command]) -> None:
        """Write the commands in bursts of any size."""
        pause = threading.Event()
        while commands:
            count = self.dice.choice([1, 2, 10, 100, 400])
            burst, commands = commands[:count], commands[count:]
            self.sent.update(zip(self.platform.send_raw(*(command.fields for command in burst)), burst, strict=True))
            pause.wait(self.dice.choice([0, 0.02, 0.1]))

    def send_whoever_is_missing(self) -> None:
        """Let every order that waits find its user."""
        users = self.platform.users()
        missing = [person for person in PEOPLE if person not in users]
        self.send([self.inventor.user(person, f"late-{person}@example.com") for person in missing])

    def compare(self) -> None:
        """Assert that the service came to the same end as the model, by the same answers."""
        answers = {answer["inReplyTo"]: answer for answer in self.platform.answers()}
        unexplained: dict[str, Command] = {}
        for entry_id, command in self.sent.items():
            self.expected[entry_id] = self._apply(command)
            if command.kind == "question":
                assert entry_id in answers, f"{entry_id} was not answered: {command}"
                self._compare_echo(answers[entry_id], command)
                unexplained[entry_id] = command
            # An answer tells of the moment of its question or, as a batch is written at once, of a later one.
            if command.kind in ("question", "order", "user"):
                for question_id in [key for key, asked in unexplained.items() if self._explained(answers[key], asked)]:
                    del unexplained[question_id]
        assert not unexplained, [
            (key, asked, [item["orderId"] for item in answers[key]["orders"]]) for key, asked in unexplained.items()
        ]
        self._compare_rows()
        self._compare_records()

    def _apply(self, command: Command) -> str:
        if command.kind == "user":
            return self.model.create_user(**command.values)
        if command.kind == "order":
            return self.model.close_order(**command.values)
        return str(command.values.get("code", ""))

    def _explained(self, answer: dict[str, Any], asked: Command) -> bool:
        certain, possible = self.model.history(asked.values["user_id"])
        got = [item["orderId"] for item in answer["orders"]]
        limit = asked.values["limit"]
        shown = [item for item in got if item not in possible]
        if len(got) > limit or shown != certain[: len(shown)]:
            return False
        return len(shown) == len(certain) if answer["hasMore"] in (False, "false") else len(got) == limit

    @staticmethod
    def _compare_echo(answer: dict[str, Any], asked: Command) -> None:
        request_ids = [value for value in asked.values["echo"].values() if not isinstance(value, dict)]
        echoed = [str(answer[name]) for name in ("requestId", "correlationId") if name in answer]
        assert echoed == [str(value) for value in request_ids] * 2, (answer, asked)
        assert ("function" in asked.fields) == (answer["hasMore"] in ("true", "false"))

    def _compare_rows(self) -> None:
        assert self.platform.users() == {person.user_id: person.email for person in self.model.people}
        rows = {row[0]: row for row in self.platform.query(STORED)}
        assert rows.keys() == self.model.orders.keys()
        for order_id, email, *values in rows.values():
            order = self.model.orders[order_id]
            assert email in [person.email for person in order.owners], order
            assert dict(zip(CONTENT, values, strict=True)) in [
                {name: content[name] for name in CONTENT} for content in order.contents
            ], order
            if not order.waited:
                assert len(order.owners) == len(order.contents) == 1

    def _compare_records(self) -> None:
        """Every refusal is recorded and nothing else; where contents differ, all but the stored one are conflicts."""
        stored = {row[0]: dict(zip(CONTENT, row[2:], strict=True)) for row in self.platform.query(STORED)}
        records = self.platform.failed_codes()
        for entry_id, command in self.sent.items():
            expected = self.expected[entry_id]
            state, code = records.get(entry_id, ("", ""))
            failed = code if state == "failed" else ""
            assert state != "retrying", (entry_id, command)
            if command.kind == "order":
                content = {name: command.values["content"][name] for name in CONTENT}
                assert failed == ("" if content == stored[command.values["order_id"]] else "order_conflict"), command
            elif command.kind == "user":
                assert failed == ("" if expected == "done" else expected), (entry_id, command)
            else:
                assert failed == expected, (entry_id, command)

    def compare_pages(self) -> None:
        """Walk every history in small pages and find each order once, newest first."""
        histories: dict[str, list[str]] = {}
        for order_id, email, *_ in self.platform.query(STORED):
            histories.setdefault(email, []).append(order_id)
        for person in self.model.people:
            walked: list[str] = []
            options: dict[str, Any] = {"limit": 20}
            while options:
                command = self.inventor.question(person.user_id, **options)
                [entry_id] = self.platform.send_raw(command.fields)
                self.platform.wait_until_finished()
                [answer] = self.platform.answers(newest=1)
                assert answer["inReplyTo"] == entry_id
                walked += [item["orderId"] for item in answer["orders"]]
                cursor = answer.get("nextCursor")
                options = {"limit": 20, "cursor": cursor} if cursor else {}
            assert walked == histories.get(person.email, [])

    def finish(self) -> None:
        """Wait until nothing is left to do."""
        self.platform.wait_until_finished(120)
        self.send_whoever_is_missing()
        self.platform.wait_until_finished(120)
        wait_until(self._no_order_waits, "every waiting order to be stored", 120)

    def _no_order_waits(self) -> bool:
        return not self.platform.query(
            "SELECT 1 FROM dbstorage.failed_tasks "
            "WHERE state = 'retrying' OR code = 'user_not_found' AND state = 'failed'"
        )


def disturb(worker: Worker, dice: random.Random, over: threading.Event) -> None:
    """Kill the worker or a pool process now and then, until it is over."""
    while not over.wait(dice.uniform(0.2, 2.0)):
        if dice.random() < 0.5:
            worker.kill_pool_process()
        else:
            worker.kill()
            worker.start(ready=dice.random() < 0.7)


@pytest.mark.parametrize("seed", range(1, scaled(2, 20) + 1))
def test_a_quiet_service_does_what_the_model_does(seed: int, platform: Platform, start_worker: StartWorker) -> None:
    comparison = Comparison(platform, seed)
    batch_size = comparison.dice.choice(["1", "7", "60", "500"])
    start_worker(BATCH_SIZE=batch_size, ORDERING=ORDERINGS[seed % 2], **SETTINGS)
    comparison.send(comparison.inventor.commands(scaled(1_000, 3_000)))
    comparison.finish()
    comparison.compare()
    comparison.compare_pages()
    answered = [answer["inReplyTo"] for answer in platform.answers()]
    assert answered == sorted(answered, key=parse_entry_id)


@pytest.mark.parametrize("seed", range(101, scaled(1, 20) + 101))
def test_a_service_that_is_killed_does_what_the_model_does(
    seed: int, platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (20 s): a retry that died with its process is sent again after fifteen seconds."""
    comparison = Comparison(platform, seed)
    batch_size = comparison.dice.choice(["7", "60", "500"])
    worker = start_worker(BATCH_SIZE=batch_size, ORDERING=ORDERINGS[(seed + 1) % 2], **SETTINGS)
    over = threading.Event()
    disturber = threading.Thread(target=disturb, args=(worker, random.Random(seed), over))
    disturber.start()
    try:
        comparison.send(comparison.inventor.commands(scaled(2_000, 8_000)))
    finally:
        over.set()
        disturber.join()
    # A pool process that is killed while it starts takes Celery's whole worker with it.
    worker.kill()
    worker.start()
    comparison.finish()
    comparison.compare()
    comparison.compare_pages()
