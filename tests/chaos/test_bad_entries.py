"""One bad entry among many: it fails alone, with its raw bytes, and its neighbours are stored in the same pass."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chaos.conftest import scaled
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]
SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "0"}


def envelope(order_id: str, **fields: Any) -> dict[bytes, bytes]:
    """A createCloseOrder whose message has these fields."""
    return {b"message": json.dumps(order(order_id, "u", **fields)).encode()}


def flat(**fields: bytes) -> dict[bytes, bytes]:
    """An entry of these fields."""
    return {name.encode(): value for name, value in fields.items()}


NESTED = b'{"function":"createCloseOrder","message":' + b"[" * 500_000 + b"]" * 500_000 + b"}"
MANY_FIELDS = {f"field-{number}".encode(): b"\xff" for number in range(10_000)}
BEYOND_A_DOUBLE = json.dumps(order("culprit", "u")).replace("0.5", "1e999").encode()
#: Each with the code it fails with; None where it is stored.
CULPRITS: dict[str, tuple[dict[bytes, bytes], str | None]] = {
    "number at the limit": (envelope("culprit", quantity=1.7976931348623157e308), None),
    "smallest number": (envelope("culprit", quantity=5e-324), None),
    "number beyond the limit": (flat(message=BEYOND_A_DOUBLE), "invalid_quantity"),
    "not a number": (envelope("culprit", quantity=math.nan), "invalid_quantity"),
    "leverage at the limit": (envelope("culprit", leverage=2**31 - 1), None),
    "leverage beyond the limit": (envelope("culprit", leverage=2**31), "invalid_leverage"),
    "whole number of 400 digits": (envelope("culprit", leverage=10**400), "invalid_leverage"),
    "NUL in an id": (envelope("cul\0prit"), "invalid_order_id"),
    "lone surrogate in an id": (envelope("cul\ud800prit"), "invalid_order_id"),
    "lone surrogate in an ignored field": (envelope("culprit", comment="\ud800"), None),
    "very long text": (envelope("culprit" * 100_000), "invalid_order_id"),
    "very long number": (envelope("culprit", quantity="1" * 1_000_000), "invalid_quantity"),
    "1 MB of nesting": (flat(message=NESTED), "invalid_entry"),
    "first date": (envelope("culprit", openTime="0001-01-01T00:00:00Z"), None),
    "before the first date": (envelope("culprit", openTime="0001-01-01T00:00:00+01:00"), "invalid_open_time"),
    "last date": (envelope("culprit", closeTime="9999-12-31T23:59:59.999Z"), None),
    "beyond the last date": (envelope("culprit", closeTime="9999-12-31T23:59:59.999-01:00"), "invalid_close_time"),
    "broken UTF-8": (flat(message=b'{"function":"createUser","message":"\xff"}'), "invalid_entry"),
    "empty value": (flat(message=b""), "invalid_entry"),
    "empty name and value": ({b"": b""}, "invalid_entry"),
    "10,000 fields": (MANY_FIELDS, "invalid_entry"),
    "10,000 fields beside a command": (
        flat(function=b"createCloseOrder", message=b"{}") | MANY_FIELDS,
        "invalid_order_id",
    ),
}


def test_each_kind_of_bad_entry_fails_alone(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    for name, (culprit, code) in CULPRITS.items():
        platform.query('TRUNCATE "Orders", dbstorage.failed_tasks CASCADE')
        neighbours = [envelope(f"neighbour-{number}") for number in range(499)]
        ids = platform.send_raw(*neighbours[:250], culprit, *neighbours[250:])
        platform.wait_until_finished()
        stored = len(platform.orders())
        assert stored == (499 if code else 500), f"{name}: {stored} stored, {platform.failed('code', 'message')}"
        if code:
            [(entry_id, found, payload)] = platform.failed("entry_id", "code", "payload")
            assert (entry_id, found) == (ids[250], code), name
            assert max(culprit.values(), key=len) in bytes(payload), name
    assert worker.alive
    assert " lost " not in worker.log


any_text = st.text() | st.sampled_from(["u", "createUser", "createCloseOrder", "getCloseOrders", "\0", "1e999", "btc"])
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
order_fields = st.fixed_dictionaries({}, optional={name: any_json for name in order("o")["message"]})
commands = st.builds(
    lambda function, message, extra: json.dumps({**extra, "function": function, "message": message}).encode(),
    st.sampled_from(["createUser", "createCloseOrder", "getCloseOrders"]) | any_json,
    any_json
    | order_fields.map(lambda fields: {**order("fuzz")["message"], **fields})
    | st.fixed_dictionaries({"userId": any_text, "userEmail": any_text}),
    st.dictionaries(st.sampled_from(["userId", "limit", "cursor", "detail", "requestId"]), any_json, max_size=3),
)
entries = (
    st.binary().map(lambda value: {b"message": value})
    | commands.map(lambda value: {b"message": value})
    | st.dictionaries(
        st.binary(max_size=8) | st.sampled_from([b"function", b"message", b"userId", b"requestId", b"limit"]),
        st.binary(max_size=40) | commands | st.sampled_from([b"createUser", b"createCloseOrder", b"getCloseOrders"]),
        min_size=1,
        max_size=5,
    )
)


def test_any_entry_ends_as_stored_answered_or_failed(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    platform.send(user("u"))

    @settings(
        max_examples=scaled(25, 300),
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(entries, min_size=1, max_size=40))
    def fuzz(batch: list[dict[bytes, bytes]]) -> None:
        platform.send_raw(*batch)
        platform.wait_until_finished()
        assert worker.alive

    fuzz()
    assert " lost " not in worker.log
    assert "bug" not in worker.log
    assert "Traceback" not in worker.log
    assert "internal_error" not in {code for (code,) in platform.failed("code")}


#: Python runs it at its start: it puts a bug of ours into the validation of one order.
BUG = """
import os
from dbstorage.storage import work

interpret = work.interpret

def with_a_bug(request, history_limit):
    message = request.body.get("message")
    if isinstance(message, dict) and message.get("orderId") == "bug":
        {bug}
    return interpret(request, history_limit)

work.interpret = with_a_bug
# Else an ordinary order would not get as far as the rules.
work.ordinary_command = lambda entry: None
"""


@pytest.mark.parametrize(
    ("bug", "code", "sentence", "logged"),
    [
        # With the others, then alone.
        ('raise ZeroDivisionError("the bug")', "internal_error", "the bug", ("ZeroDivisionError: the bug", 2)),
        # Twice with the others, then three times alone.
        ("os.kill(os.getpid(), 9)", "poison", "died 3 times", (" was lost ", 5)),
    ],
    ids=["that is raised", "that kills"],
)
def test_a_bug_of_ours_fails_the_entry_that_meets_it(
    bug: str,
    code: str,
    sentence: str,
    logged: tuple[str, int],
    platform: Platform,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BUG.format(bug=bug))
    worker = start_worker(**SETTINGS, PYTHONPATH=os.pathsep.join([str(tmp_path), str(CHECKOUT)]))
    neighbours = [order(f"neighbour-{number}", "u") for number in range(20)]
    platform.send(user("u"), *neighbours[:10], order("bug", "u"), *neighbours[10:], question("u", "q"))
    platform.wait_until_finished()
    [(order_id, failed_as, message)] = platform.failed("order_id", "code", "message")
    assert (order_id, failed_as) == ("bug", code)
    assert sentence in message
    words, times = logged
    assert worker.log.count(words) == times
    assert len(platform.orders()) == 20
    assert len(platform.answer_to("q")["orders"]) == 20


def kill_whoever_stores(platform: Platform, worker: Worker, order_id: str) -> None:
    """SIGKILL the pool process whose statement lingers, as often as one does, until the order has failed."""

    def killed_or_failed() -> bool:
        lingering = platform.query("SELECT client_port FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        ports = {row[0] for row in lingering}
        for child in worker.pool_processes:
            try:
                if ports & {connection.laddr.port for connection in child.net_connections()}:
                    os.kill(child.pid, signal.SIGKILL)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        return bool(platform.failed_with_order(order_id))

    wait_until(killed_or_failed, "the order to fail")


def test_an_entry_that_kills_its_process_ends_as_poison(platform: Platform, start_worker: StartWorker) -> None:
    platform.query(
        """
        CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW."orderId" = 'poison' THEN PERFORM pg_sleep(4); END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER linger BEFORE INSERT ON public."Orders" FOR EACH ROW EXECUTE FUNCTION public.linger();
        """
    )
    try:
        worker = start_worker(**SETTINGS)
        neighbours = [order(f"neighbour-{number}", "u") for number in range(20)]
        platform.send(user("u"), *neighbours[:10], order("poison", "u"), *neighbours[10:], question("u", "q"))
        kill_whoever_stores(platform, worker, "poison")
        platform.wait_until_finished()
        assert platform.failed("order_id", "code", "state") == [("poison", "poison", "failed")]
        assert len(platform.orders()) == 20
        assert len(platform.answer_to("q")["orders"]) == 20
    finally:
        platform.query('DROP TRIGGER linger ON public."Orders"; DROP FUNCTION public.linger()')


@pytest.mark.parametrize("victim", ["main process", "pool process"])
def test_twenty_kills_from_outside_make_no_entry_poison(
    victim: str, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    blocker = platform.hold_orders()
    platform.send(user("u"), *(order(f"o-{number}", "u") for number in range(100)))
    for number in range(scaled(4, 20)):
        wait_until(
            lambda: (platform.pending() > 0 and worker.pool_processes) or len(platform.orders()) == 100,
            "entries in hand",
        )
        if number == 2:
            blocker.close()
        if victim == "main process":
            worker.kill()
            worker.start(ready=False)
        else:
            worker.kill_pool_process()
    blocker.close()
    platform.wait_until_finished(120)
    assert len(platform.orders()) == 100
    assert platform.failed("code") == []
