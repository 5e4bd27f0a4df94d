"""What the task of an entry is called."""

from typing import Any

import pytest

from dbstorage.commands.interpret import Identity, identify, identify_undecodable
from dbstorage.wire.entry import Layout, Request, StreamEntry, decode
from tests.wire.entries import ENTRY_ID, command, envelope, flat, rejection_of


def identity(entry: StreamEntry) -> Identity:
    return identify(decode(entry))


def test_an_order_is_called_by_its_order_id():
    assert identity(envelope("createCloseOrder", message={"orderId": "o-1", "userId": 7})) == Identity(
        "createCloseOrder", "createCloseOrder:o-1", "orderId o-1, userId 7", "7", "o-1"
    )


@pytest.mark.parametrize("order_id", [None, "", "x" * 256, "a\0b", "\ud800", True, [], {}])
def test_the_entry_id_takes_the_place_of_an_unusable_order_id(order_id: Any):
    assert identity(envelope("createCloseOrder", message={"orderId": order_id, "userId": [1]})) == Identity(
        "createCloseOrder", f"createCloseOrder:{ENTRY_ID}", "orderId ?, userId ?", None, None
    )


@pytest.mark.parametrize(
    "entry",
    [
        envelope("createUser", message={"userId": "u-1", "userEmail": "joe@example.com"}),
        envelope("createUser", userId="u-1"),
        flat(function="createUser", userId="u-1", userEmail="joe@example.com"),
    ],
)
def test_a_user_is_called_by_the_entry_id(entry: StreamEntry):
    assert identity(entry) == Identity("createUser", f"createUser:{ENTRY_ID}", "userId u-1", "u-1", None)


@pytest.mark.parametrize(
    ("keys", "task_id"),
    [
        ({"requestId": "r-1"}, "r-1"),
        ({"correlationId": "c-1"}, "c-1"),
        ({"requestId": 12.0}, "12"),
        ({"requestId": 0}, "0"),
        ({"requestId": "ü" * 300}, "ü" * 255),
        ({"requestId": "\ud800"}, ENTRY_ID),
        ({}, ENTRY_ID),
    ],
)
def test_a_question_is_called_by_its_request_id(keys: dict[str, Any], task_id: str):
    assert identity(envelope("getCloseOrders", message="u-1", **keys)) == Identity(
        "getCloseOrders", f"getCloseOrders:{task_id}", "userId u-1", "u-1", None
    )


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (envelope("dropTables"), "unknown_function"),
        (envelope(""), "unknown_function"),
        (envelope("createcloseorder"), "unknown_function"),
        (envelope("\ud800\0"), "unknown_function"),
        (flat(function="dropTables"), "unknown_function"),
        (envelope(None), "invalid_entry"),
        (envelope(7), "invalid_entry"),
        (envelope(["createUser"]), "invalid_entry"),
        (envelope("createCloseOrder", message="text"), "invalid_entry"),
        (envelope("createCloseOrder"), "invalid_entry"),
        (envelope("createUser", message="text"), "invalid_entry"),
    ],
)
def test_what_is_not_a_command_is_an_invalid_entry(entry: StreamEntry, code: str):
    rejection = rejection_of(command, entry)
    name, task_id, summary, user_id, order_id = identity(entry)

    assert rejection
    assert rejection.code == code
    assert (name, task_id) == ("invalidEntry", f"invalidEntry:{ENTRY_ID}")
    assert summary.startswith("function ")
    assert summary.isprintable()
    assert user_id is order_id is None


def test_an_entry_that_cannot_be_decoded_is_an_invalid_entry():
    assert identify_undecodable(ENTRY_ID) == Identity(
        "invalidEntry", f"invalidEntry:{ENTRY_ID}", "unreadable", None, None
    )


def test_a_call_through_the_broker_has_no_entry_id():
    request = Request(None, Layout.ENVELOPE, "getCloseOrders", {"userId": "u-1", "requestId": "r-1"})

    assert identify(request).task_id == "getCloseOrders:r-1"


def test_a_summary_shows_no_email_address():
    entry = envelope("createCloseOrder", message={"orderId": "o-1", "userId": "joe@example.com"})

    assert identity(entry).summary == "orderId o-1, userId ***@example.com"
    assert identity(entry).user_id == "joe@example.com"
