"""getCloseOrders: whose orders are asked for, how many, from where; a question is never rejected."""

import json
from typing import Any

import pytest

from dbstorage.commands.cursor import Cursor, encode_cursor
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.wire.entry import StreamEntry
from tests.wire.entries import HISTORY_LIMIT, command, envelope, flat

PLAIN = HistoryQuestion("u-1", HISTORY_LIMIT, None, False, None, None)
CURSOR = Cursor("2025-01-31T12:00:00.000", 42)


def ask(**keys: Any) -> HistoryQuestion:
    question: HistoryQuestion = command(envelope("getCloseOrders", **keys))
    return question


def ask_flat(**fields: str) -> HistoryQuestion:
    question: HistoryQuestion = command(flat(function="getCloseOrders", **fields))
    return question


@pytest.mark.parametrize(
    "entry",
    [
        envelope("getCloseOrders", userId="u-1"),
        envelope("getCloseOrders", message="u-1"),
        envelope("getCloseOrders", message={"userId": "u-1"}),
        envelope("getCloseOrders", userId="u-1", message={"userId": "other"}),
        envelope("getCloseOrders", userId="u-1", message={"not": ""}),
        envelope("getCloseOrders", userId="", message="u-1"),
        envelope("getCloseOrders", userId=None, message={"userId": "u-1"}),
        flat(function="getCloseOrders", userId="u-1"),
        flat(function="getCloseOrders", message="u-1"),
        flat(function="getCloseOrders", message='"u-1"'),
        flat(function="getCloseOrders", message='{"userId":"u-1"}'),
        flat(function="getCloseOrders", userId="u-1", message=""),
    ],
)
def test_the_user_is_named_by_user_id_else_by_the_message(entry: StreamEntry):
    assert command(entry) == PLAIN


@pytest.mark.parametrize(
    "entry",
    [
        envelope("getCloseOrders", message=123),
        envelope("getCloseOrders", userId=123.0),
        flat(function="getCloseOrders", message="123"),
    ],
)
def test_a_number_names_the_user_of_that_text(entry: StreamEntry):
    assert command(entry).user_id == "123"


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"userId": None},
        {"userId": ""},
        {"userId": True},
        {"userId": []},
        {"userId": ["u-1"]},
        {"userId": {"not": ""}},
        {"userId": {"not": ""}, "message": "u-1"},
        {"userId": float("nan")},
        {"message": ""},
        {"message": False},
        {"message": {"not": ""}},
        {"message": {"userId": {"not": ""}}},
        {"message": {"userId": ""}},
        {"message": {"message": "u-1"}},
        {"message": ["u-1"]},
    ],
)
def test_without_a_usable_user_id_the_question_has_an_error(keys: dict[str, Any]):
    assert ask(**keys, requestId="r-1") == HistoryQuestion(None, HISTORY_LIMIT, None, False, "r-1", "missing_user_id")


@pytest.mark.parametrize(
    "fields", [{}, {"userId": ""}, {"message": '{"not":""}'}, {"message": "null"}, {"message": "[]"}]
)
def test_a_flat_question_without_a_user_is_an_error(fields: dict[str, str]):
    assert ask_flat(**fields).error == "missing_user_id"


@pytest.mark.parametrize("user_id", ["x" * 256, "a\0b", "\ud800"])
def test_a_user_that_cannot_exist_is_an_unknown_one(user_id: str):
    assert ask(userId=user_id) == PLAIN._replace(user_id=None)


@pytest.mark.parametrize(
    ("limit", "orders"),
    [
        (1, 1),
        (10, 10),
        (10.0, 10),
        ("10", 10),
        (" 10 ", 10),
        ("1e2", 100),
        (1000, 1000),
        (1001, 1000),
        (10**30, 1000),
        (None, HISTORY_LIMIT),
        ("", HISTORY_LIMIT),
    ],
)
def test_the_limit_is_a_whole_number_and_1000_at_most(limit: Any, orders: int):
    assert ask(userId="u-1", limit=limit) == PLAIN._replace(limit=orders)
    assert ask(message={"userId": "u-1", "limit": limit}) == PLAIN._replace(limit=orders)


@pytest.mark.parametrize(
    "limit", [0, -1, 0.5, 10.5, "0", "abc", "10 orders", "1_0", True, [], {}, float("inf"), float("nan")]
)
def test_a_limit_that_is_none_is_an_error(limit: Any):
    assert ask(userId="u-1", limit=limit, requestId="r-1") == PLAIN._replace(
        user_id=None, request_id="r-1", error="invalid_limit"
    )


@pytest.mark.parametrize("detail", [True, "true"])
def test_detail_is_asked_for_with_true(detail: Any):
    assert ask(userId="u-1", detail=detail) == PLAIN._replace(detail=True)
    assert ask(message={"userId": "u-1", "detail": detail}) == PLAIN._replace(detail=True)


@pytest.mark.parametrize("detail", [False, "false", None, ""])
def test_an_answer_is_without_detail_unless_it_is_asked_for(detail: Any):
    assert ask(userId="u-1", detail=detail) == PLAIN


@pytest.mark.parametrize("detail", [0, 1, "yes", "TRUE", [], {}])
def test_a_detail_that_is_neither_is_an_error(detail: Any):
    assert ask(userId="u-1", detail=detail) == PLAIN._replace(user_id=None, error="invalid_detail")


def test_a_cursor_given_back_is_understood():
    cursor = encode_cursor(CURSOR)

    assert ask(userId="u-1", cursor=cursor) == PLAIN._replace(cursor=CURSOR)
    assert ask(message={"userId": "u-1", "cursor": cursor}) == PLAIN._replace(cursor=CURSOR)
    assert ask_flat(userId="u-1", cursor=cursor) == PLAIN._replace(cursor=CURSOR)


@pytest.mark.parametrize("cursor", [None, ""])
def test_no_cursor_begins_at_the_newest(cursor: Any):
    assert ask(userId="u-1", cursor=cursor) == PLAIN


@pytest.mark.parametrize("cursor", ["garbage", "\ud800", "2", 2, True, [], {"id": 2}])
def test_a_cursor_that_was_never_given_out_is_an_error(cursor: Any):
    assert ask(userId="u-1", cursor=cursor) == PLAIN._replace(user_id=None, error="invalid_cursor")


def test_options_at_the_top_level_go_before_those_in_the_message():
    message = {"userId": "u-1", "limit": 5, "detail": False}

    assert ask(message=message, limit=7, detail=True) == PLAIN._replace(limit=7, detail=True)
    assert ask(message=message, limit="", detail=None) == PLAIN._replace(limit=5)


def test_a_flat_question_says_the_same_as_an_envelope():
    cursor = encode_cursor(CURSOR)

    assert ask_flat(userId="u-1", limit="5", detail="true", cursor=cursor, requestId="r") == ask(
        userId="u-1", limit=5, detail=True, cursor=cursor, requestId="r"
    )
    message = {"userId": "u-1", "limit": 5, "detail": True, "cursor": cursor}
    assert ask_flat(message=json.dumps(message)) == ask(message=message)


@pytest.mark.parametrize(
    ("keys", "echoed"),
    [
        ({"requestId": "r-1", "correlationId": "c-1"}, "r-1"),
        ({"correlationId": "c-1"}, "c-1"),
        ({"requestId": 7}, 7),
        ({"requestId": 0}, 0),
        ({"requestId": 1.5}, 1.5),
        ({"requestId": "x" * 1000}, "x" * 1000),
        ({"message": {"userId": "u-1", "requestId": "inner"}}, None),
        ({}, None),
    ],
)
def test_the_request_id_else_the_correlation_id_is_echoed_as_it_came(keys: dict[str, Any], echoed: Any):
    request_id = ask(**{"userId": "u-1"} | keys).request_id

    assert request_id == echoed
    assert type(request_id) is type(echoed)


@pytest.mark.parametrize("value", [None, "", True, False, {}, [], ["r"], "\ud800", float("nan"), float("inf")])
def test_what_cannot_be_echoed_counts_as_absent(value: Any):
    assert ask(userId="u-1", requestId=value, correlationId="c-1").request_id == "c-1"
    assert ask(userId="u-1", requestId=value).request_id is None


def test_a_flat_request_id_is_text():
    assert ask_flat(userId="u-1", requestId="7").request_id == "7"
    assert ask_flat(userId="u-1", requestId="", correlationId="c-1").request_id == "c-1"
