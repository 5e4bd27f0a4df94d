"""What the task of an entry is called."""

from typing import Any

import pytest

from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import identify, identify_undecodable
from dbstorage.commands.kinds import Identity
from dbstorage.wire.entry import Layout, Request, StreamEntry
from tests.wire.entries import ENTRY_ID, command, envelope, flat, of_text, rejection_of


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
    ("entry", "code", "shown"),
    [
        (envelope("dropTables"), "unknown_function", '"dropTables"'),
        (envelope(""), "unknown_function", '""'),
        (envelope("createcloseorder"), "unknown_function", '"createcloseorder"'),
        (envelope("\ud800\0"), "unknown_function", r'"\ud800\x00"'),
        (flat(function="dropTables"), "unknown_function", '"dropTables"'),
        (of_text("{}"), "invalid_entry", "missing"),
        (envelope(None), "invalid_entry", "missing"),
        (envelope(7), "invalid_entry", "7"),
        (envelope(["createUser"]), "invalid_entry", "a list"),
        (envelope("createCloseOrder", message="text"), "invalid_entry", '"createCloseOrder"'),
        (envelope("createCloseOrder"), "invalid_entry", '"createCloseOrder"'),
        (envelope("createUser", message="text"), "invalid_entry", '"createUser"'),
    ],
)
def test_what_is_not_a_command_is_an_invalid_entry(entry: StreamEntry, code: str, shown: str):
    rejection = rejection_of(command, entry)

    assert rejection
    assert rejection.code == code
    assert identity(entry) == Identity("invalidEntry", f"invalidEntry:{ENTRY_ID}", f"function {shown}", None, None)


def test_an_entry_that_cannot_be_decoded_is_an_invalid_entry():
    assert identify_undecodable(ENTRY_ID) == Identity(
        "invalidEntry", f"invalidEntry:{ENTRY_ID}", "unreadable", None, None
    )


def test_a_call_through_the_broker_has_no_entry_id():
    request = Request(None, Layout.ENVELOPE, "getCloseOrders", {"userId": "u-1", "requestId": "r-1"})

    assert identify(request).task_id == "getCloseOrders:r-1"
    assert identify(Request(None, Layout.ENVELOPE, "createUser", {})).task_id == "createUser:"
    assert identify(Request(None, Layout.ENVELOPE, "dropTables", {})).summary == 'function "dropTables"'


@pytest.mark.parametrize("function", ["createUser", "getCloseOrders"])
def test_a_summary_has_a_question_mark_for_a_user_that_cannot_be_stored(function: str):
    assert identity(envelope(function, userId="a\0b")).summary == "userId ?"


def test_a_summary_shows_no_email_address():
    entry = envelope("createCloseOrder", message={"orderId": "o-1", "userId": "joe@example.com"})

    assert identity(entry).summary == "orderId o-1, userId ***@example.com"
    assert identity(entry).user_id == "joe@example.com"
