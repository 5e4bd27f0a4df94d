"""Whatever arrives ends as a command or as a rejection that a person can read."""

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import identify, interpret
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.users import CreateUser
from dbstorage.wire.entry import Layout, Request, StreamEntry
from tests.wire.entries import ENTRY_ID, any_body, any_entry, rejection_of, steady

requests = any_body.map(
    lambda body: Request(
        ENTRY_ID, Layout.ENVELOPE, body["function"] if isinstance(body["function"], str) else None, body
    )
)


@settings(steady, max_examples=5 * steady.max_examples)
@given(requests)
def test_a_request_ends_as_a_command_or_a_rejection_and_always_has_an_identity(request: Request):
    rejection = rejection_of(interpret, request, 100)
    identity = identify(request)

    assert identity.task_id.startswith(identity.name + ":")
    assert (identity.name == "invalidEntry") == (
        rejection is not None and rejection.code in ("invalid_entry", "unknown_function")
    )
    if rejection:
        assert len(str(rejection)) < 400
        assert str(rejection).isprintable()
        assert "joe" not in str(rejection)
    else:
        assert_storable(interpret(request, 100))


@steady
@given(any_entry)
def test_an_entry_never_raises_anything_but_a_rejection(entry: StreamEntry):
    if not rejection_of(decode, entry):
        rejection_of(interpret, decode(entry), 100)
        identify(decode(entry))


def assert_storable(command: CloseOrder | CreateUser | HistoryQuestion) -> None:
    """PostgreSQL takes every value of the command."""
    values = (command.user_id,) if isinstance(command, HistoryQuestion) else tuple(command)
    for value in values:
        if isinstance(value, str):
            assert "\0" not in value
            assert value.encode()
        if isinstance(value, float):
            assert math.isfinite(value)


@steady
@given(st.data())
def test_a_question_never_asks_for_somebody_else(data: Any):
    """Only text and numbers name a user; whatever else stands there selects nobody."""
    message = data.draw(any_body.map(lambda body: body.get("message")))
    user_id = data.draw(st.none() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()) | st.booleans())
    body = {"userId": user_id, "message": message}

    question = interpret(Request(ENTRY_ID, Layout.ENVELOPE, "getCloseOrders", body), 100)

    assert isinstance(question, HistoryQuestion)
    named = message.get("userId") if isinstance(message, dict) else message
    if user_id is not None or isinstance(named, bool) or not isinstance(named, str | int | float):
        assert question.user_id is None
        assert question.error == "missing_user_id"
