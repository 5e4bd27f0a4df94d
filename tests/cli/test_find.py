import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dbstorage.cli import main
from tests.service.platform import GROUP, STREAM, Platform, order, question, user
from tests.service.worker import StartWorker


@pytest.fixture
def found(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    return platform


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["find", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def find(what: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(what, "--json").stdout)
    return answer


def test_everything_that_became_of_entries(found: Platform, start_worker: StartWorker):
    stored, again, other, bad, _, person = found.send(
        user("user-1"),
        order("o-1"),
        order("o-1"),
        order("o-2", symbol="doge"),
        question("user-1", "asked"),
        user("u-2"),
    )
    worker = start_worker()
    found.wait_until_finished()

    order_1 = find("o-1")
    assert order_1["states"] == ["stored", "duplicate"]
    assert [(entry["entry_id"], entry["state"]) for entry in order_1["entries"]] == [
        (again, "stored"), (other, "duplicate"),
    ]  # fmt: skip
    assert (order_1["order"]["userId"], order_1["order"]["symbol"]) == ("user-1", "btc")

    order_2 = find("o-2")
    assert order_2["states"] == ["failed (invalid_symbol)"]
    [failed] = order_2["failed"]
    assert [attempt["code"] for attempt in failed["kept"]] == ["invalid_symbol"]

    assert find("asked")["states"] == ["answered or expired"]
    assert find(bad)["states"] == ["failed (invalid_symbol)"]
    assert find(person)["entries"][0]["state"] == "stored"
    assert find("u-2@example.com")["user"]["userID"] == "u-2"
    assert find("user-1")["user"]["orders"] == 1

    worker.stop()
    found.send(order("o-3"))
    assert find("o-3")["states"] == ["unread"]
    found.redis.xreadgroup(GROUP, "somebody", {STREAM: ">"})
    in_hand = find("o-3")
    assert in_hand["states"] == ["in hand"]
    assert in_hand["entries"][0]["detail"].startswith("of somebody for ")

    found.redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert find("o-1")["states"] == ["stored"]
    found.send(order("o-4"))
    assert find(stored)["states"] == ["trimmed from the stream, with no failure on record"]


def test_an_entry_a_request_and_a_task_say_what_became_of_their_order(found: Platform, start_worker: StartWorker):
    _, stored, conflict = found.send(
        user("u:1"), {**order("o:1", "u:1"), "requestId": "wanted"}, order("o:1", "u:1", symbol="eth")
    )
    [person] = found.send(user("u-2"))
    start_worker()
    found.wait_until_finished()

    for what in (stored, "wanted"):
        assert (find(what)["states"], find(what)["order"]["orderId"]) == (["stored"], "o:1")
    assert find("wanted")["order"]["closeTime"] == "2026-05-05 00:00:01Z"
    task = find("createCloseOrder:o:1")
    assert task["states"] == ["stored", "failed (order_conflict)"]
    assert [entry["entry_id"] for entry in task["entries"]] == [stored, conflict]
    refused = find(f"createCloseOrder:o:1:{conflict}")
    assert [entry["entry_id"] for entry in refused["entries"]] == [conflict]
    assert [each["code"] for each in refused["failed"]] == ["order_conflict"]
    assert find(f"createUser:{person}")["states"] == find(person)["states"] == ["stored"]

    found.redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert find("createCloseOrder:o:1")["states"][0] == "stored"
    assert find("createCloseOrder:o:2")["states"] == ["never seen"]


def test_more_failures_than_are_told_of_are_mentioned(found: Platform, start_worker: StartWorker):
    found.send(*(order(f"o-{number}", symbol="doge") for number in range(51)))
    start_worker()
    found.wait_until_finished()
    assert (len(find("user-1")["failed"]), find("user-1")["more_failed"]) == (50, True)
    assert "`dbstorage failed list` has all of them" in run("user-1").stdout
    assert not find("o-1")["more_failed"]


def test_what_is_nowhere_is_exit_code_1(found: Platform):
    found.send(user("user-1"))
    result = run("o-1")
    assert result.exit_code == 1
    assert result.stdout.startswith("o-1: never seen\nThe stream does not hold it; its oldest entry is ")
    assert run("99999999999999999999-0").exit_code == 1
    assert run("99999999999999999999999999-0").exit_code == 1
    assert run("a\0b\x1b[2J").stdout.startswith("a\\x00b\\x1b[2J: never seen")
    assert run(" ").exit_code == 2


def test_an_id_is_found_however_its_entry_spells_it(found: Platform):
    found.redis.xadd(STREAM, {"message": json.dumps(order("Bestellung-ä"))})
    found.redis.xadd(STREAM, {"message": json.dumps(order("Bestellung-ä"), ensure_ascii=False)})
    found.redis.xadd(STREAM, {"function": "createCloseOrder", "message": '{"orderId": 4711}'})
    assert len(find("Bestellung-ä")["entries"]) == 2
    assert len(find("4711")["entries"]) == 1
    assert find("471")["states"] == ["never seen"]


def test_one_server_away_leaves_what_the_other_says(found: Platform, monkeypatch: pytest.MonkeyPatch):
    found.send(order("o-1"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:secret@127.0.0.1:1/nowhere")
    result = run("o-1")
    assert result.exit_code == 3
    assert result.stdout.startswith("o-1: unread\n")
    assert "secret" not in result.output
    monkeypatch.setenv("DATABASE_URL", found.database_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    found.query("INSERT INTO \"User\" (\"userID\", email) VALUES ('u-9', 'u-9@example.com')")
    result = run("u-9")
    assert result.exit_code == 3
    assert result.stdout.startswith("u-9: a user\n")


def test_a_locked_table_is_named_with_who_holds_it(found: Platform, start_worker: StartWorker):
    found.send(user("user-1"), order("o-1"))
    start_worker()
    found.wait_until_finished()
    with found.locked_by('LOCK TABLE "Orders" IN ACCESS EXCLUSIVE MODE') as holder:
        result = run("o-1")
        assert f'A table is locked by session {holder.info.backend_pid} (application "forgotten"' in result.stderr
    assert result.exit_code == 3
    # What the stream says is shown all the same.
    assert "createCloseOrder" in result.stdout
