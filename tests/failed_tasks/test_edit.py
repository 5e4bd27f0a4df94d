import json
from typing import Any

import pytest
from sqlalchemy import Connection, text

from dbstorage.audit.outcomes import STORED, AuditOutcome, Evidence, FailedRecord, find_outcome, missing
from dbstorage.failed_tasks.edit import Sample, edit, mended, named_field, parse_changes
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.lookup import Payload, load
from dbstorage.failed_tasks.trail import read_operations
from dbstorage.settings import Settings, load_settings
from dbstorage.storage.work import understand
from dbstorage.wire.entry import Layout, StreamEntry
from dbstorage.wire.payload import pack
from tests.failed_tasks.records import SCOPE, add, record
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker


@pytest.fixture
def settings(database_url: str) -> Settings:
    return load_settings({"REDIS_URL": "redis://localhost:1", "DATABASE_URL": database_url})


def payload(**fields: Any) -> bytes:
    return json.dumps(order("o-1", **fields)).encode()


@pytest.mark.parametrize(
    ("code", "sentence", "field"),
    [
        ("invalid_symbol", 'symbol is "doge"; expected btc, sol or eth.', "symbol"),
        ("invalid_open_time", "", "openTime"),
        ("invalid_user_email", "userEmail is …", "userEmail"),
        ("invalid_value", 'PostgreSQL refuses it: value too long for column "closeReason".', "closeReason"),
        ("invalid_value", "type is something", "type"),
        # Nobody may mend these, or they say nothing of a field.
        ("invalid_order_id", 'orderId is ""; expected text.', None),
        ("invalid_entry", "The message of createCloseOrder is of the wrong type; expected an object.", None),
        ("order_conflict", "An order with the orderId 'o-1' and other content is stored already.", None),
        ("", "", None),
    ],
)
def test_the_field_that_a_failure_is_about(code: str, sentence: str, field: str | None):
    assert named_field(code, sentence) == field


def test_a_field_is_changed_and_all_else_stays():
    before = Payload(
        Layout.ENVELOPE, b'{"function":"createCloseOrder","x":[1,2],"message":{"orderId":12,"symbol":"doge"}}'
    )
    after = json.loads(mended(before, {"symbol": "btc"}).content)
    assert after == {"function": "createCloseOrder", "x": [1, 2], "message": {"orderId": 12, "symbol": "btc"}}
    flat = pack(StreamEntry("", [b"function", b"createCloseOrder", b"message", b'{"symbol":"doge"}', b"x", b"\xff"]))
    changed = mended(Payload(*flat), {"symbol": "btc"})
    assert changed.content == flat[1].replace(b'$17\r\n{"symbol":"doge"}', b'$17\r\n{"symbol": "btc"}')


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff", "cannot be read as JSON"),
        (b"[1]", "cannot be read as JSON"),
        (b'{"message":"u-1"}', "not an object"),
        (b'{"function":"createCloseOrder"}', "not an object"),
        (b'{"message":{"symbol":"btc"}}', "has these values already"),
    ],
)
def test_what_cannot_be_changed_is_told_in_a_sentence(content: bytes, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        mended(Payload(Layout.ENVELOPE, content), {"symbol": "btc"})
    with pytest.raises(ValueError, match="Only the beginning"):
        mended(Payload(Layout.ENVELOPE, content, whole_length=9), {"symbol": "btc"})


def test_the_address_of_a_user_is_mended_wherever_it_stands(connection: Connection, settings: Settings):
    ids = add(
        connection,
        record(payload=b'{"function":"createUser","userId":"u-1","userEmail":""}'),
        record(payload=b'{"function":"createUser","message":{"userId":"u-2"},"userEmail":""}'),
        record(payload=json.dumps(order("o-1")).encode()),
    )
    edited = edit(connection, settings, Filter(), {"userEmail": "joe@example.com"}, who="joe", dry_run=True)
    assert edited.samples == [
        Sample(ids[0], {"userEmail": ("", "joe@example.com")}),
        Sample(ids[1], {"userEmail": (None, "joe@example.com")}),
    ]
    assert edited.refused == {"A createCloseOrder has no userEmail.": 1}


def test_a_result_shows_what_the_rules_read(connection: Connection, settings: Settings):
    [task] = add(connection, record(payload=payload(symbol="doge", takeProfit=7)))
    changes = {"symbol": "BTC", "takeProfit": "", "openTime": "2025-01-31T12:00:00+01:00"}
    [sample] = edit(connection, settings, Filter(), changes, who="joe", dry_run=True).samples
    assert sample.id == task
    assert sample.values["symbol"] == ("doge", "btc")
    assert sample.values["takeProfit"] == ("7", "nothing")
    assert sample.values["openTime"][1] == "2025-01-31T11:00:00.000"


def test_a_result_shows_the_beginning_of_a_long_value(connection: Connection, settings: Settings):
    add(connection, record(payload=payload(symbol="d" * 100_000)))
    [sample] = edit(connection, settings, Filter(), {"symbol": "btc"}, who="joe", dry_run=True).samples
    assert sample.values["symbol"] == ("d" * 200 + "…", "btc")


def test_an_edit_that_is_stopped_has_on_record_what_it_did(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dbstorage.failed_tasks.edit.PART", 2)
    add(connection, *(record(payload=payload(symbol="doge")) for _ in range(5)))

    def stop(ids: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edit(connection, settings, Filter(), {"symbol": "btc"}, who="joe", progress=stop)
    [operation] = read_operations(connection, SCOPE)
    assert (operation.what, operation.affected) == ("edit", 2)
    assert edit(connection, settings, Filter(), {"symbol": "btc"}, who="joe").mended == 3


def test_an_edit_takes_failed_tasks_alone_whatever_the_filter_says(connection: Connection, settings: Settings):
    add(connection, record(payload=payload(symbol="doge")), record(payload=payload(symbol="doge"), state="discarded"))
    which = Filter(states=(State.DISCARDED,))
    assert edit(connection, settings, which, {"symbol": "btc"}, who="joe").mended == 0


@pytest.mark.parametrize("word", ["orderId=1", "userId=2", "symbol", "=btc", "nothing=1"])
def test_ids_and_unknown_fields_are_refused(word: str):
    with pytest.raises(ValueError, match="expected FIELD=VALUE with one of symbol, type, "):
        parse_changes((word,))


def test_those_that_keep_to_the_rules_then_are_tried_again(connection: Connection, settings: Settings):
    good, bad, other = add(
        connection,
        record(payload=payload(symbol="doge")),
        record(payload=payload(symbol="doge", quantity="many")),
        record(payload=payload(symbol="doge"), state="discarded"),
    )
    dry = edit(connection, settings, Filter(), {"symbol": "btc"}, who="joe", dry_run=True)
    assert dry.mended == 1
    assert list(dry.refused.values()) == [1]
    assert read_operations(connection, SCOPE) == []

    done = edit(connection, settings, Filter(), {"symbol": "btc"}, who="joe", reason="a typo")
    assert done == dry
    states: dict[int, str] = dict(connection.execute(text("SELECT id, state FROM dbstorage.failed_tasks")).all())
    assert states == {good: "retrying", bad: "failed", other: "discarded"}
    kept = connection.scalar(text("SELECT original_payload FROM dbstorage.failed_tasks WHERE id = :id"), {"id": good})
    assert b"doge" in bytes(kept or b"")
    loaded = load(connection, SCOPE, good)
    assert loaded is not None
    assert b'"btc"' in loaded[1].content
    [operation] = read_operations(connection, SCOPE)
    assert (operation.what, operation.filter, operation.affected) == ("edit", {"set": {"symbol": "btc"}}, 1)


def test_a_mended_order_is_stored_and_the_audit_says_edited(
    platform: Platform, start_worker: StartWorker, settings: Settings, connection: Connection
):
    [_, entry_id] = platform.send(user("user-1"), order("o-1", symbol="doge"))
    start_worker()
    platform.wait_for_state(entry_id, "failed")
    edit(connection, settings, Filter(code="invalid_symbol"), {"symbol": "sol"}, who="joe")
    platform.wait_for_state(entry_id, "resolved")
    assert platform.query('SELECT symbol FROM "Orders"') == [("sol",)]


def test_the_audit_says_of_an_entry_that_was_mended_that_it_was():
    work = understand(StreamEntry("1-0", [b"message", payload(symbol="doge")]), 100)
    record = FailedRecord(State.RESOLVED, "invalid_symbol", StreamEntry("1-0", [b"message", payload()]))
    evidence = Evidence(unacknowledged=set(), records={"1-0": record}, looks={"1-0": STORED})
    assert find_outcome(work, evidence).outcome is AuditOutcome.EDITED
    evidence = Evidence(unacknowledged=set(), records={"1-0": record}, looks={"1-0": missing("no order is there")})
    found = find_outcome(work, evidence)
    assert found == (AuditOutcome.MISSING, None, "No order is there, and its failed task counts as resolved.")
