"""Where a batch is cut so that a question is asked of the id its user had at that moment."""

import pytest

from dbstorage.batch.segments import may_move_users, split_at_moves, user_writes
from dbstorage.storage.users import KnownUsers
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import StreamEntry
from tests.commands.closed_orders import ORDER
from tests.wire.entries import envelope

JOE = ("u-1", "joe@example.com")
ENTRIES = {
    "order": envelope("createCloseOrder", message=ORDER),
    "question": envelope("getCloseOrders", userId="u-1"),
    "rejected": envelope("createUser", userId="u-1"),
    "joe": envelope("createUser", userId="u-1", userEmail="joe@example.com"),
    "new": envelope("createUser", userId="u-9", userEmail="new@example.com"),
    "renamed": envelope("createUser", userId="u-1", userEmail="joseph@example.com"),
    "moved": envelope("createUser", userId="u-2", userEmail="joe@example.com"),
    "on": envelope("createUser", userId="u-3", userEmail="joe@example.com"),
}


def batch(words: str) -> list[Work]:
    return [
        understand(StreamEntry(f"{number}-0", ENTRIES[word].fields), 100)
        for number, word in enumerate(words.split(), start=1)
    ]


@pytest.mark.parametrize(
    ("words", "may"),
    [
        ("", False),
        ("order question", False),
        ("joe new order", False),
        ("joe new rejected order order", False),
        ("order new", False),
        ("question new", True),
        ("joe order question order new order", True),
    ],
)
def test_only_a_user_behind_a_question_can_make_a_difference(words: str, may: bool):
    assert may_move_users(batch(words)) is may


@pytest.mark.parametrize(
    ("words", "segments"),
    [
        ("order new order joe question renamed", ["order new order joe question renamed"]),
        ("order moved order on", ["order moved order on"]),
        ("question moved order", ["question", "moved order"]),
        ("order moved question on order", ["order moved question", "on order"]),
        ("question order moved on question", ["question order", "moved on question"]),
        ("question rejected moved moved order", ["question rejected", "moved moved order"]),
    ],
)
def test_a_batch_is_cut_between_a_question_and_a_user_whose_id_moves_behind_it(words: str, segments: list[str]):
    works = batch(words)
    cut = split_at_moves(works, KnownUsers([JOE], {}))

    assert [len(segment) for segment in cut] == [len(segment.split()) for segment in segments]
    assert [work for segment in cut for work in segment] == works


def test_the_users_of_a_batch_keep_their_places_in_the_stream():
    assert [(write.command.user_id, write.position) for write in user_writes(batch("order joe rejected moved"))] == [
        ("u-1", 2 * 2**64),
        ("u-2", 4 * 2**64),
    ]
