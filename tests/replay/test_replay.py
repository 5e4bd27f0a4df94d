"""A range of the stream is run again: nothing is doubled, everything goes to the right person, operators are heeded."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbstorage.audit import audit
from dbstorage.replay import ReplayReport, replay
from dbstorage.replay.position import accept
from dbstorage.settings import Ordering
from dbstorage.storage.outcome import STORED, Outage
from tests.service.platform import order, question, user
from tests.storage.service import Service

TABLES = ("User", "Orders")
OWN = ("failed_tasks", "applied_users", "positions", "services", "attempts")
NAMES = (*(f'"{name}"' for name in TABLES), *(f"dbstorage.{name}" for name in OWN))


def back_up(storing: Service) -> None:
    """Keep a copy of every row, the database's own id not among them."""
    for table in NAMES:
        copy = table.replace('"', "").replace(".", "_").lower()
        storing.query(f"DROP TABLE IF EXISTS public.backup_{copy}")
        storing.query(f"CREATE TABLE public.backup_{copy} AS SELECT * FROM {table}")


def restore(storing: Service) -> None:
    """The database as it was when it was backed up; a worker has to connect anew."""
    storing.query(f"TRUNCATE {', '.join(NAMES)} CASCADE")
    for table in NAMES:
        copy = table.replace('"', "").replace(".", "_").lower()
        storing.query(f"INSERT INTO {table} SELECT * FROM public.backup_{copy}")
    storing.resources.forget_database()


def run(storing: Service, first: int | None = None, last: int | None = None, *, dry_run: bool = False) -> ReplayReport:
    report = replay(storing.settings, first, last, dry_run=dry_run, who="me", progress=lambda done: None)
    storing.resources.forget_database()
    return report


def rows(storing: Service) -> list[tuple[Any, ...]]:
    return storing.query(
        'SELECT "orderId", email, "userID" FROM "Orders" JOIN "User" ON "userID" = "userId" ORDER BY "orderId"'
    )


def test_in_parallel_order_it_runs_all_that_the_stream_holds(storing: Service):
    storing.outcomes(user("u", "ann@x"), order("o-1", "u"), order("o-2", "u"), order("o-3", "u"))
    before = rows(storing)
    # A worker that died had this one in hand when the backup was taken, and others stored what came behind it.
    storing.query('DELETE FROM "Orders" WHERE "orderId" = \'o-1\'')
    parallel = replace(storing.settings, ordering=Ordering.PARALLEL)
    report = replay(parallel, None, None, dry_run=False, who="me", progress=lambda done: None)
    assert report.accepted
    assert report.counts["createCloseOrder"] == {"stored": 1, "duplicate": 2}
    assert rows(storing) == before
    assert audit(parallel).missing_count == 0


def test_a_database_restored_from_a_backup_gets_everything_again(storing: Service):
    storing.outcomes(user("u", "ann@x"), order("o-1", "u"))
    back_up(storing)
    storing.outcomes(order("o-2", "u"), order("early", "w"), question("u", "q"))
    storing.outcomes(user("v", "ann@x"), user("u", "bob@x"), order("o-3", "u"), order("o-4", "v"), user("w", "cleo@x"))
    storing.outcomes(order("bad", "u", symbol="doge"))
    storing.outcomes(order("o-5", "u"))
    before = rows(storing)
    restore(storing)
    storing.send(order("o-6", "u"))
    assert storing.store().outage is Outage.FAULT

    trial = run(storing, dry_run=True)
    assert rows(storing) == [("o-1", "ann@x", "u")]
    report = run(storing)
    assert trial.counts == report.counts
    assert report.accepted
    assert report.counts["createCloseOrder"]["stored"] >= 3
    # What a worker had in hand is stored as well.
    assert rows(storing) == [*before, ("o-6", "bob@x", "u")]
    assert audit(storing.settings).missing_count == 0
    assert storing.failed("code", "state").count(("invalid_symbol", "failed")) == 1
    assert storing.query("SELECT who, what FROM dbstorage.operations") == [("me", "replay")]


def test_a_range_that_reaches_back_too_far_does_no_harm(storing: Service):
    storing.outcomes(user("u", "ann@x"), order("o-1", "u"), user("v", "ann@x"), user("u", "bob@x"), order("o-2", "u"))
    before = rows(storing)
    report = run(storing, 0)
    assert rows(storing) == before
    assert report.counts["createCloseOrder"] == Counter({"duplicate": 2})


def test_orders_that_got_lost_in_the_middle_go_to_their_person_under_the_newest_id(storing: Service):
    storing.outcomes(user("u", "ann@x"))
    storing.outcomes(order("lost-1", "u"), user("v", "ann@x"), user("u", "bob@x"), order("lost-2", "u"))
    storing.outcomes(user("z", "ann@x"), order("kept", "z"))
    storing.query("""DELETE FROM "Orders" WHERE "orderId" LIKE 'lost%'""")
    report = run(storing, 0)
    assert rows(storing) == [("kept", "ann@x", "z"), ("lost-1", "ann@x", "z"), ("lost-2", "bob@x", "u")]
    assert report.counts["createCloseOrder"] == Counter({"stored": 2, "duplicate": 1})


def test_a_database_that_went_on_after_it_lost_something_is_completed_too(storing: Service):
    storing.outcomes(user("u", "ann@x"), order("o-1", "u"))
    back_up(storing)
    storing.outcomes(user("w", "cleo@x"), order("lost-w", "w"), user("v", "ann@x"), order("lost-v", "v"))
    restore(storing)
    accept(storing.settings, "me")
    storing.outcomes(user("z", "ann@x"), user("w2", "cleo@x"), order("later", "z"))
    run(storing, 0)
    assert rows(storing) == [
        ("later", "ann@x", "z"),
        ("lost-v", "ann@x", "z"),
        ("lost-w", "cleo@x", "w2"),
        ("o-1", "ann@x", "z"),
    ]


def test_what_operators_discarded_or_mended_is_left_alone(storing: Service):
    storing.outcomes(user("u"))
    storing.outcomes(order("discarded", "u", symbol="doge"), order("mended", "u", symbol="shib"))
    storing.outcomes(order("open", "nobody"), question("u", "q"))
    storing.query("UPDATE dbstorage.failed_tasks SET state = 'discarded' WHERE order_id = 'discarded'")
    storing.query("UPDATE dbstorage.failed_tasks SET state = 'resolved', payload = '{}' WHERE order_id = 'mended'")
    report = run(storing, 0)
    assert report.left_alone == Counter({"discarded": 1, "mended": 1, "open": 1, "question": 1})
    assert len(storing.failed("id")) == 3


def test_what_the_stream_does_not_hold_any_more_is_told(storing: Service):
    ids = storing.send(*(user(f"u-{number}") for number in range(4)))
    storing.store()
    storing.redis.xtrim(storing.settings.command_stream, minid=ids[2], approximate=False)
    assert run(storing, 0).trimmed_before == ids[2]


def test_an_order_of_which_nobody_can_tell_whose_it_is_is_named_and_not_stored(storing: Service):
    _, order_id, *_ = storing.send(user("u", "ann@x"), order("o", "u"), user("v", "ann@x"), user("u", "bob@x"))
    storing.store()
    storing.query('DELETE FROM "Orders"')
    storing.redis.xtrim(storing.settings.command_stream, minid=order_id, approximate=False)
    report = run(storing, 0)
    assert report.unclear == [order_id]
    assert rows(storing) == []


def test_workers_wait_while_a_replay_runs(storing: Service, monkeypatch: pytest.MonkeyPatch):
    storing.outcomes(user("u"), order("o-1", "u"))
    seen = []

    def meanwhile(done: int) -> None:
        storing.send(order("o-2", "u"))
        seen.append(storing.store())

    replay(storing.settings, 0, None, dry_run=False, who="me", progress=meanwhile)
    assert [(report.outage, report.outcomes) for report in seen] == [(Outage.REPLAY, [None])]
    assert seen[0].reason.startswith("A replay of the stream is running")
    assert list(storing.owners()) == ["o-1"]


def test_after_a_replay_workers_go_on_without_a_complaint(storing: Service):
    storing.outcomes(user("u"), order("o-1", "u"))
    assert replay(storing.settings, 0, None, dry_run=False, who="me").accepted
    storing.send(order("o-2", "u"))
    report = storing.store()
    assert (report.outage, report.outcomes) == (None, [STORED])


def still_failed(storing: Service) -> list[tuple[Any, ...]]:
    """What is not stored; an order that waited less than a batch for its user has no record."""
    return sorted(row for row in storing.failed("entry_id", "code", "state") if row[2] != "resolved")


STEPS = ("create u a", "create u b", "create v a", "create w c", "order u", "order v", "order w", "bad u", "rename u")


def command_of(step: str, number: int) -> dict[str, Any]:
    what, user_id, *rest = step.split()
    if what == "create":
        return user(user_id, f"{rest[0]}@example.com")
    if what == "rename":
        # This version knows no such command.
        return {"function": "renameUser", "userId": user_id}
    return order(f"o-{number}", user_id, symbol="doge" if what == "bad" else "btc")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=14), st.data())
def test_wherever_the_backup_was_taken_everything_comes_back_to_its_person(
    storing: Service, script: list[str], data: st.DataObject
):
    storing.query(f"TRUNCATE {', '.join(NAMES)}")
    storing.redis.flushall()
    storing.join()
    storing.resources.forget_database()
    commands = [command_of(step, number) for number, step in enumerate(script)]
    backed_up_at = data.draw(st.integers(0, len(commands)))
    if backed_up_at:
        storing.outcomes(*commands[:backed_up_at])
    back_up(storing)
    lost = commands[backed_up_at:]
    while lost:
        size = data.draw(st.integers(1, len(lost)))
        storing.outcomes(*lost[:size])
        del lost[:size]
    before, failed = rows(storing), still_failed(storing)
    if data.draw(st.booleans()):
        # As the last of all, so that it changes nothing but the records: the restore undoes it.
        storing.query("UPDATE dbstorage.failed_tasks SET state = 'discarded' WHERE state = 'failed'")
    restore(storing)
    run(storing)
    assert rows(storing) == before
    assert still_failed(storing) == failed
    report = audit(storing.settings)
    assert (report.missing, report.misplaced) == ([], [])
