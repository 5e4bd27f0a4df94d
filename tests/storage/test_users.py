"""What a createUser does (docs/contract.md), decided by the rows that are there and by what was applied before."""

import pytest

from dbstorage.commands.users import CreateUser
from dbstorage.storage.outcome import Status
from dbstorage.storage.users import Decision, KnownUsers, UserWrite

JOE, ANN = ("u-1", "joe@example.com"), ("u-2", "ann@example.com")
CONFLICT = Decision(None)


def write(user_id: str, email: str, position: int | None = 10, *, retry: bool = False) -> UserWrite:
    return UserWrite(CreateUser(user_id, email), position, retry)


@pytest.mark.parametrize(
    ("user", "decision"),
    [
        (("u-3", "new@example.com"), Decision(Status.CREATED)),
        (JOE, Decision(Status.UNCHANGED)),
        (("u-3", "joe@example.com"), Decision(Status.UPDATED, moves_from="u-1")),
        (("u-1", "new@example.com"), Decision(Status.UPDATED)),
        (("u-1", "ann@example.com"), CONFLICT),
    ],
)
def test_the_email_leads_to_the_row_else_the_user_id_else_there_is_a_new_one(user: tuple[str, str], decision: Decision):
    assert KnownUsers([JOE, ANN], {}).decide(write(*user)) == decision


@pytest.mark.parametrize(
    ("users", "decisions"),
    [
        pytest.param([JOE, JOE], [Decision(Status.CREATED), Decision(Status.UNCHANGED)], id="the same once more"),
        pytest.param(
            [JOE, ("u-3", JOE[1]), JOE],
            [Decision(Status.CREATED), Decision(Status.UPDATED, "u-1"), Decision(Status.UPDATED, "u-3")],
            id="to another userID and back",
        ),
        pytest.param(
            [JOE, ("u-1", "new@example.com"), ("u-3", JOE[1])],
            [Decision(Status.CREATED), Decision(Status.UPDATED), Decision(Status.CREATED)],
            id="an address given up is free",
        ),
        pytest.param(
            [JOE, ("u-3", JOE[1]), ("u-1", "new@example.com")],
            [Decision(Status.CREATED), Decision(Status.UPDATED, "u-1"), Decision(Status.CREATED)],
            id="a userID given up is free",
        ),
        pytest.param(
            [JOE, ANN, ("u-1", ANN[1]), ("u-1", JOE[1])],
            [Decision(Status.CREATED), Decision(Status.CREATED), CONFLICT, Decision(Status.UNCHANGED)],
            id="a conflict changes nothing",
        ),
    ],
)
def test_each_command_of_a_batch_sees_what_those_before_it_did(users: list[tuple[str, str]], decisions: list[Decision]):
    known = KnownUsers([], {})
    assert [known.decide(write(*user, position)) for position, user in enumerate(users)] == decisions


@pytest.mark.parametrize("identity", ["id:u-1", "email:new@example.com"])
@pytest.mark.parametrize(("applied", "status"), [(9, Status.UPDATED), (10, Status.UPDATED), (11, Status.SUPERSEDED)])
def test_an_older_command_never_overwrites_a_newer_one(identity: str, applied: int, status: Status):
    decision = KnownUsers([JOE], {identity: applied}).decide(write("u-1", "new@example.com", 10))
    assert decision.status is status


def test_a_batch_that_is_not_in_order_leaves_what_is_newest():
    known = KnownUsers([], {})
    users = [write("u-1", "new@example.com", 2), write("u-1", "old@example.com", 1), write("u-3", "new@example.com", 0)]
    assert [known.decide(user).status for user in users] == [Status.CREATED, Status.SUPERSEDED, Status.SUPERSEDED]


def test_what_was_superseded_or_refused_counts_as_not_applied():
    known = KnownUsers([JOE, ANN], {"id:u-1": 5})
    assert known.decide(write("u-1", "new@example.com", 4)).status is Status.SUPERSEDED
    assert known.decide(write("u-1", ANN[1], 7)) == CONFLICT
    assert known.decide(write("u-3", "new@example.com", 0)).status is Status.CREATED
    assert known.decide(write("u-1", "newer@example.com", 6)).status is Status.UPDATED


def test_an_operators_call_has_no_place_in_the_stream_and_always_counts():
    known = KnownUsers([JOE], {"id:u-1": 99})
    assert known.decide(write("u-1", "new@example.com", None)).status is Status.UPDATED
    # It takes no place either: what the stream says next is judged by what the stream said before.
    assert known.positions == {"id:u-1": 99}


def test_a_conflict_that_was_recorded_stays_one_unless_it_is_tried_again():
    assert KnownUsers([], {}, {10}).decide(write(*JOE)) == CONFLICT
    assert KnownUsers([], {}, {11}).decide(write(*JOE)).status is Status.CREATED
    assert KnownUsers([], {}, {10}).decide(write(*JOE, retry=True)).status is Status.CREATED
