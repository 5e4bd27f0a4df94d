import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dbstorage.cli import main
from dbstorage.embedded.redis import EmbeddedRedis
from tests.service.platform import Platform, order, user


@pytest.fixture(autouse=True)
def servers(service: Platform, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands find the servers of the running service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("DATABASE_URL", service.database_url)


@pytest.fixture(scope="module")
def ann(service: Platform) -> str:
    """A user with 25 orders, the last one closed at 24 s."""
    closed = [
        order(f"order-{number}", "ann", closeTime=f"2026-05-05T00:00:{number:02}.000Z", takeProfit=number or None)
        for number in range(25)
    ]
    service.send(user("ann"), *closed)
    service.wait_until_finished()
    return "ann"


def history(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["history", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def order_ids(result: Result) -> list[str]:
    return [line.split("\t")[1] for line in result.stdout.splitlines()[1:]]


def test_orders_are_printed_the_last_closed_first(ann: str):
    result = history(ann)
    assert result.exit_code == 0
    assert result.stderr == ""
    header, first, *_ = result.stdout.splitlines()
    assert header == "closed\torder\tsymbol\ttype\tquantity\topen price\tclose price\tprofit"
    assert first == "2026-05-05T00:00:24.000Z\torder-24\tbtc\tbuy\t0.5\t100.25\t101.75\t7.5"
    assert order_ids(result) == [f"order-{number}" for number in reversed(range(25))]


def test_a_limit_says_that_there_are_more(ann: str):
    result = history(ann, "--limit", 2)
    assert order_ids(result) == ["order-24", "order-23"]
    assert result.stderr == "These are the last 2 orders; --all shows the older ones too.\n"


@pytest.mark.parametrize("size", [(), ("--limit", 4), ("--limit", 5)])
def test_all_walks_every_page(ann: str, size: tuple[object, ...]):
    result = history(ann, "--all", *size)
    assert order_ids(result) == [f"order-{number}" for number in reversed(range(25))]
    assert result.stderr == ""


def test_detail_adds_what_the_answer_adds(ann: str):
    header, first, second, *_ = history(ann, "--detail", "--limit", 2).stdout.splitlines()
    assert header.endswith("\topened\tleverage\ttake profit\tstop loss\tslippage\treason")
    assert first.endswith("\t2026-05-05T00:00:00.000Z\t10\t24\t145.5\t\t")
    assert second.endswith("\t10\t23\t145.5\t\t")


def test_json_holds_the_orders_as_answered_and_the_cursor(ann: str):
    page = json.loads(history(ann, "--limit", 1, "--json").stdout)
    assert page["userId"] == "ann"
    assert [each["orderId"] for each in page["orders"]] == ["order-24"]
    assert page["orders"][0]["status"] == "closed"
    assert (page["hasMore"], page["error"]) == (True, None)
    assert page["nextCursor"]
    everything = json.loads(history(ann, "--all", "--json").stdout)
    assert len(everything["orders"]) == 25
    assert (everything["hasMore"], everything["nextCursor"]) == (False, None)


def test_a_user_without_orders_is_told_apart_from_a_failure():
    result = history("nobody")
    assert result.exit_code == 0
    assert (result.stdout, result.stderr) == ("", "No closed order of user nobody is stored.\n")
    assert json.loads(history("nobody", "--json").stdout)["orders"] == []


def test_an_error_of_the_service_is_shown_with_its_code():
    result = history("")
    assert result.exit_code == 1
    assert result.stderr == "The answer is the error missing_user_id: the question names no user.\n"
    shown = history("", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["error"] == "missing_user_id"


def test_without_an_answer_one_sentence_asks_for_the_worker(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DBSTORAGE_STREAM", "nobody-reads-this")
    result = history("ann", "--timeout", "0.2")
    assert result.exit_code == 1
    assert result.stderr.startswith("No answer within 0.2 s. The service: nobody reads: no worker runs")


def test_without_redis_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    result = history("ann")
    assert result.exit_code == 3
    assert result.stderr == ("Redis cannot be used: Error 111 connecting to 127.0.0.1:1. Connection refused.\n")


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_a_limit_that_the_service_would_refuse_or_cut_is_refused_here(limit: str):
    result = history("ann", "--limit", limit)
    assert result.exit_code == 2
    assert "--limit" in result.stderr


def test_an_order_id_can_neither_forge_a_line_nor_act_on_the_terminal(service: Platform):
    hostile = "o-1\n2026-05-05\tforged\x1b[2J\u202e"
    service.send(user("hostile"), order(hostile, "hostile"))
    service.wait_until_finished()
    result = history("hostile")
    assert order_ids(result) == ["o-1\\n2026-05-05\\tforged\\x1b[2J\\u202e"]
    assert result.stdout.count("\n") == 2
    assert json.loads(history("hostile", "--json").stdout)["orders"][0]["orderId"] == hostile
    assert history("nobody\n\x1b[2J").stderr == "No closed order of user nobody\\n\\x1b[2J is stored.\n"
