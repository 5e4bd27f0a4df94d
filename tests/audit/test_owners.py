"""The audit says whether each stored order stands under the right person, and accuses nobody on a guess."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbstorage.audit import audit
from dbstorage.audit.outcomes import AuditOutcome
from dbstorage.failed_tasks.edit import edit
from dbstorage.failed_tasks.filters import Filter
from tests.service.platform import order
from tests.service.platform import user as user_with
from tests.storage.conftest import storing
from tests.storage.service import Service

__all__ = ["storing"]


def user(user_id: str, name: str) -> dict[str, Any]:
    return user_with(user_id, f"{name}@example.com")


def owners(service: Service, first: str = "-", last: str = "+") -> dict[str, int]:
    return audit(service.settings, first, last).owners


def give(service: Service, order_id: str, user_id: str) -> None:
    """Let another program put an order under another person."""
    service.query(
        """UPDATE "Orders" SET "userId" = :user_id WHERE "orderId" = :order_id""", user_id=user_id, order_id=order_id
    )


def test_orders_of_people_who_moved_stand_right(storing: Service) -> None:
    storing.outcomes(user("u", "a"), order("o-1", "u"), user("v", "a"), user("u", "b"), order("o-2", "u"))
    storing.outcomes(order("o-3", "v"), user("w", "b"), order("o-4", "w"))
    assert owners(storing) == {"right": 4}


def test_an_order_under_another_person_is_named(storing: Service) -> None:
    _, entry_id, *_ = storing.send(user("u", "a"), order("o-1", "u"), user("v", "a"), user("u", "b"), order("o-2", "u"))
    storing.store()
    give(storing, "o-1", "u")
    report = audit(storing.settings)
    assert report.owners == {"other": 1, "right": 1}
    assert [one.entry_id for one in report.misplaced] == [entry_id]
    assert report.missing == []


def test_the_range_does_not_matter_to_whose_an_order_is(storing: Service) -> None:
    storing.outcomes(user("u", "a"), user("v", "b"))
    [entry_id] = storing.send(order("o", "u"))
    storing.store()
    assert owners(storing, entry_id) == {"right": 1}
    give(storing, "o", "v")
    assert owners(storing, entry_id) == {"other": 1}


def test_two_who_change_places_keep_their_orders(storing: Service) -> None:
    storing.outcomes(user("u", "a"), user("v", "b"), order("o-1", "u"), order("o-2", "v"))
    storing.outcomes(user("aside", "a"), user("u", "b"), user("v", "a"), order("o-3", "u"))
    assert storing.owners() == {"o-1": "v", "o-2": "u", "o-3": "u"}
    assert owners(storing) == {"right": 3}
    give(storing, "o-1", "u")
    assert owners(storing) == {"right": 2, "other": 1}


def test_an_order_that_waited_belongs_to_who_came(storing: Service) -> None:
    storing.outcomes(order("o", "u"), order("other", "z"))
    storing.outcomes(user("u", "a"), user("v", "a"), user("u", "b"))
    assert owners(storing) == {"right": 1}
    give(storing, "o", "u")
    # It might have been discarded, and restored when the userID was somebody else's.
    assert owners(storing) == {"unknown": 1}


def test_people_of_before_the_stream_are_accused_of_nothing(storing: Service) -> None:
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('u', 'a@example.com'), ('k', 'k@example.com')""")
    storing.outcomes(order("o-1", "u"), order("o-2", "k"))
    storing.outcomes(user("v", "a"), user("u", "b"))
    assert storing.owners() == {"o-1": "v", "o-2": "k"}
    assert owners(storing) == {"unknown": 1, "right": 1}


def test_a_conflict_with_somebody_of_before_the_stream_moves_nobody(storing: Service) -> None:
    storing.query("""INSERT INTO "User" ("userID", email) VALUES ('v', 'before@example.com')""")
    storing.outcomes(user("u", "a"), order("o", "u"), user("v", "a"), user("w", "c"))
    assert storing.owners() == {"o": "u"}
    assert "other" not in owners(storing)


def test_what_trimming_hides_is_unknown(storing: Service) -> None:
    _, entry_id, *_ = storing.send(user("u", "a"), order("o", "u"), user("v", "b"))
    storing.store()
    storing.redis.xtrim(storing.settings.command_stream, minid=entry_id, approximate=False)
    assert owners(storing) == {"right": 1}
    storing.outcomes(user("w", "a"), user("u", "c"))
    assert owners(storing) == {"unknown": 1}
    give(storing, "o", "v")
    assert owners(storing) == {"unknown": 1}


def test_an_order_sent_again_for_another_person_is_whose_it_was_first(storing: Service) -> None:
    storing.outcomes(user("u", "a"), user("v", "b"))
    storing.outcomes(order("o", "u"))
    [entry_id] = storing.send(order("o", "v"))
    storing.store()
    assert owners(storing) == {"right": 1}
    assert owners(storing, entry_id) == {"unknown": 1}


def test_edited_failed_tasks_accuse_nobody(storing: Service) -> None:
    storing.outcomes(
        user("u", "a"), user("v", "b"), order("o", "u"), order("mended", "u", symbol="doge"), user("v", "a")
    )
    with storing.resources.engine.connect() as connection:
        edit(connection, storing.settings, Filter(code="invalid_symbol"), {"symbol": "btc"}, who="test")
        edit(connection, storing.settings, Filter(function="createUser"), {"userEmail": "c@example.com"}, who="test")
    storing.sweep()
    assert storing.owners() == {"o": "u", "mended": "u"}
    assert audit(storing.settings).counts["createCloseOrder"] == {"stored": 1, "edited": 1}
    assert "other" not in owners(storing)


def test_an_edited_order_under_another_person_is_named(storing: Service) -> None:
    storing.outcomes(user("u", "a"), user("v", "b"))
    [mended, _] = storing.send(order("mended", "u", symbol="doge"), order("fine", "u"))
    storing.store()
    with storing.resources.engine.connect() as connection:
        edit(connection, storing.settings, Filter(code="invalid_symbol"), {"symbol": "btc"}, who="test")
    storing.sweep()
    assert owners(storing) == {"right": 2}
    give(storing, "mended", "v")
    report = audit(storing.settings)
    assert report.owners == {"other": 1, "right": 1}
    assert [one.entry_id for one in report.misplaced] == [mended]


def test_an_edited_order_that_is_gone_or_other_than_it_was_mended_is_missing(storing: Service) -> None:
    storing.outcomes(user("u", "a"), order("gone", "u", symbol="doge"), order("other", "u", symbol="doge"))
    with storing.resources.engine.connect() as connection:
        edit(connection, storing.settings, Filter(code="invalid_symbol"), {"symbol": "btc"}, who="test")
    storing.sweep()
    storing.query("""DELETE FROM "Orders" WHERE "orderId" = 'gone'""")
    storing.query("""UPDATE "Orders" SET symbol = 'eth' WHERE "orderId" = 'other'""")
    report = audit(storing.settings)
    assert report.counts["createCloseOrder"] == {"missing": 2}
    assert [one.reason for one in report.missing] == [
        "No order with its orderId is stored, and its failed task counts as resolved.",
        "The order stored with its orderId has other content, and its failed task counts as resolved.",
    ]


STEPS = st.tuples(st.sampled_from("uvw"), st.sampled_from("abc")) | st.sampled_from("uvw")


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=8), min_size=1, max_size=4), st.booleans())
def test_nobody_is_accused_whatever_happens_to_people(
    storing: Service, batches: Sequence[Sequence[tuple[str, str] | str]], somebody_was_there: bool
) -> None:
    start_anew(storing)
    if somebody_was_there:
        storing.query("""INSERT INTO "User" ("userID", email) VALUES ('u', 'c@example.com'), ('w', 'b@example.com')""")
    entry_ids: dict[str, str] = {}
    for batch in batches:
        for step in batch:
            order_id = f"o-{len(entry_ids)}"
            if isinstance(step, str):
                [entry_ids[order_id]] = storing.send(order(order_id, step))
            else:
                storing.send(user(*step))
        storing.store()
        storing.sweep()
    report = audit(storing.settings)
    assert (report.misplaced, report.missing, report.count(AuditOutcome.PENDING)) == ([], [], 0)
    assert sum(report.owners.values()) == len(storing.owners())
    for order_id, owner in list(storing.owners().items())[:1]:
        entry_id = entry_ids[order_id]
        told = owners(storing, entry_id, entry_id)
        for (other,) in storing.query('SELECT "userID" FROM "User"'):
            give(storing, order_id, other)
            found = owners(storing, entry_id, entry_id)
            assert found == told if other == owner else told == {"unknown": 1} or found != told


def start_anew(service: Service) -> None:
    service.redis.flushall()
    service.resources.forget_database()
    service.query(
        'TRUNCATE "Orders", "User", dbstorage.failed_tasks, dbstorage.applied_users, dbstorage.positions, '
        "dbstorage.services CASCADE"
    )
    service.join()
