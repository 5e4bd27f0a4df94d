"""A database that cannot take what it should: nothing fails, the log says what mends it, and it goes on by itself."""

import functools
import json
from typing import Any

import pytest
from click.testing import CliRunner

from dbstorage.cli import main
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

SETTINGS = {"QUERY_TTL": "60", "FAULT_WAIT": "1"}
RESTORED = """
INSERT INTO "User" (id, "userID", email) SELECT i, 'u' || i, 'u' || i || '@e' FROM generate_series(1, 50) i;
INSERT INTO "Orders" (id, "orderId", "userId", symbol, type, quantity, leverage, "openPrice", "closePrice", "openTime",
                      "closeTime", "profitLoss")
SELECT i, 'old' || i, 'u1', 'btc', 'buy', 1, 1, 1, 2, '2025-01-01', '2025-01-02', 1 FROM generate_series(1, 200) i
"""
#: What breaks it, a word of what the log says, and what mends it.
FAULTS = [
    pytest.param([], RESTORED, "setval(pg_get_serial_sequence('\"public\".\"Orders\"', 'id')",
                 """SELECT setval('"Orders_id_seq"', 200)""", id="sequence behind its rows"),
    pytest.param([], """ALTER SEQUENCE "Orders_id_seq" MAXVALUE 3""", "the sequence is used up",
                 """ALTER SEQUENCE "Orders_id_seq" NO MAXVALUE""", id="sequence used up"),
    pytest.param([], """ALTER TABLE "Orders" ADD "accountId" text NOT NULL DEFAULT 'x';
                        ALTER TABLE "Orders" ALTER "accountId" DROP DEFAULT""",
                 'the column "accountId" needs a value', 'ALTER TABLE "Orders" ALTER "accountId" DROP NOT NULL',
                 id="a column of somebody else"),
    pytest.param(["CREATE TYPE s AS ENUM ('BTC', 'ETH', 'SOL')",
                  'ALTER TABLE "Orders" ALTER symbol TYPE s USING upper(symbol)::s'],
                 "ALTER TYPE s RENAME VALUE 'BTC' TO 'bitcoin'", "lacks a label for btc",
                 "ALTER TYPE s RENAME VALUE 'bitcoin' TO 'Btc'", id="a label"),
    pytest.param([], 'ALTER TABLE "Orders" RENAME TO "Orders2"', 'has no table "Orders"',
                 'ALTER TABLE "Orders2" RENAME TO "Orders"', id="a table"),
    pytest.param([], 'ALTER TABLE "Orders" ADD CONSTRAINT none CHECK (false) NOT VALID', '"none"',
                 'ALTER TABLE "Orders" DROP CONSTRAINT none', id="a constraint over nothing"),
    pytest.param([], "ALTER TABLE dbstorage.failed_tasks RENAME TO elsewhere", "failed_tasks",
                 "ALTER TABLE dbstorage.elsewhere RENAME TO failed_tasks", id="our own table"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "fault", "said", "mend"), FAULTS)
def test_everything_waits_and_goes_on_by_itself(
    platform: Platform, start_worker: StartWorker, before: list[str], fault: str, said: str, mend: str
) -> None:
    for change in before:
        platform.query(change)
    worker = start_worker(**SETTINGS)
    platform.send(user("before"), order("first", "before"))
    platform.wait_until_finished()
    if fault is RESTORED:
        platform.query('DELETE FROM "Orders"; DELETE FROM "User"')
    platform.query(fault)
    platform.send(*(order(f"o{number}", "u1" if fault is RESTORED else "before") for number in range(30)))
    wait_until(lambda: said in worker.log, f"the log to say {said}")
    platform.query(mend)
    platform.wait_until_finished()
    assert {f"o{number}" for number in range(30)} <= set(platform.orders())
    assert platform.failed("code") == []
    assert "Traceback" not in worker.log


def worker_has_told(worker: Worker, before: int) -> bool:
    return worker.log.count("permission denied") > before


def test_a_right_that_is_taken_away_lets_everything_wait(
    platform: Platform, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "faulty_service"
    platform.query(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    try:
        for name, value in platform.environment.items():
            monkeypatch.setenv(name, value)
        sql = CliRunner().invoke(main, ["grants", "--sql", "--role", role, "--flower-role", role]).stdout
        platform.query(sql)
        place = platform.database_url.rpartition("@")[2]
        worker = start_worker(**SETTINGS, DATABASE_URL=f"postgresql://{role}:p@{place}")
        platform.send(user("u"), order("first", "u"))
        platform.wait_until_finished()
        for revoked, granted in [
            ('USAGE ON SEQUENCE "Orders_id_seq"', 'USAGE ON SEQUENCE "Orders_id_seq"'),
            ('INSERT ON "Orders"', 'INSERT ON "Orders"'),
            ('SELECT ON "Orders"', 'SELECT ON "Orders"'),
        ]:
            said = worker.log.count("permission denied")
            platform.query(f"REVOKE {revoked} FROM {role}")
            platform.send(order(f"while {revoked}", "u"))
            told = functools.partial(worker_has_told, worker, said)
            wait_until(told, "the log to name what is missing")
            assert "dbstorage grants prints what it needs" in worker.log
            platform.query(f"GRANT {granted} TO {role}")
            platform.wait_until_finished()
        assert len(platform.orders()) == 4
        assert platform.failed("code") == []
        assert worker.stop() == 0
    finally:
        platform.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_upper_case_labels_are_answered_audited_and_found_again_as_the_contract_says(
    platform: Platform, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.query("CREATE TYPE s AS ENUM ('BTC', 'ETH', 'SOL'); CREATE TYPE t AS ENUM ('BUY', 'SELL')")
    platform.query('ALTER TABLE "Orders" ALTER symbol TYPE s USING symbol::s, ALTER type TYPE t USING type::t')
    start_worker(**SETTINGS)
    platform.send(user("u"), order("o", "u"), order("o", "u"), order("p", "u", symbol="Eth", type="SELL"))
    platform.send(question("u", "q"))
    shown = {each["orderId"]: (each["symbol"], each["type"]) for each in platform.answer_to("q")["orders"]}
    assert shown == {"o": ("btc", "buy"), "p": ("eth", "sell")}
    platform.wait_until_finished()
    assert platform.failed("code") == []
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    audited: Any = CliRunner().invoke(main, ["audit", "--json"])
    assert json.loads(audited.stdout)["missing_count"] == 0
    assert audited.exit_code == 0
