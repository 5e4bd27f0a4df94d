"""createUser: what is accepted, what is stored for it, what is rejected with which code."""

import json
from typing import Any

import pytest

from dbstorage.commands.users import CreateUser
from tests.wire.entries import command, envelope, flat, rejection_of

JOE = CreateUser("u-1", "Joe@example.com")


@pytest.mark.parametrize(
    "entry",
    [
        envelope("createUser", message={"userId": "u-1", "userEmail": "Joe@example.com", "requestId": "r"}),
        envelope("createUser", userId="u-1", userEmail="Joe@example.com"),
        envelope("createUser", message=None, userId="u-1", userEmail="Joe@example.com"),
        envelope("createUser", message="hello", userId="u-1", userEmail="Joe@example.com"),
        envelope("createUser", message={"userId": "u-1"}, userEmail="Joe@example.com"),
        envelope("createUser", message={"userId": "", "userEmail": "Joe@example.com"}, userId="u-1", userEmail="other"),
        flat(function="createUser", message='{"userId":"u-1","userEmail":"Joe@example.com"}'),
        flat(function="createUser", userId="u-1", userEmail="Joe@example.com"),
        flat(function="createUser", message="", userId="u-1", userEmail="Joe@example.com"),
        flat(function="createUser", message='{"userEmail":"Joe@example.com"}', userId="u-1"),
    ],
)
def test_user_id_and_email_stand_in_the_message_or_at_the_top_level(entry: Any):
    assert command(entry) == JOE


def test_a_number_is_taken_as_its_text():
    assert command(envelope("createUser", message={"userId": 12.0, "userEmail": "a"})) == CreateUser("12", "a")


@pytest.mark.parametrize("email", ["a", "no at sign", "😀" * 320, "JOE@Example.COM"])
def test_an_email_is_any_text_of_up_to_320_characters_as_written(email: str):
    assert command(envelope("createUser", message={"userId": "u-1", "userEmail": email})).email == email


@pytest.mark.parametrize(
    "user_id", [None, "", "x" * 256, "a\0b", "\ud800", True, [], ["u-1"], {"not": ""}, float("nan")]
)
def test_an_unusable_user_id_is_rejected(user_id: Any):
    rejection = rejection_of(command, envelope("createUser", message={"userId": user_id, "userEmail": "a@b.c"}))

    assert rejection
    assert rejection.code == "invalid_user_id"


@pytest.mark.parametrize("email", [None, "", "x" * 321, "a\0@b", "\udfff@b", 7, 1.5, True, [], {}])
def test_an_unusable_email_is_rejected(email: Any):
    rejection = rejection_of(command, envelope("createUser", message={"userId": "u-1", "userEmail": email}))

    assert rejection
    assert rejection.code == "invalid_user_email"


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({}, "invalid_user_id"),
        ({"message": None}, "invalid_user_id"),
        ({"message": ""}, "invalid_user_id"),
        ({"message": {}}, "invalid_user_id"),
        ({"message": {"userId": "u-1"}}, "invalid_user_email"),
        ({"message": {"userEmail": "a@b.c"}}, "invalid_user_id"),
        ({"userId": "u-1"}, "invalid_user_email"),
        ({"message": ["u-1"], "userEmail": "a@b.c"}, "invalid_user_id"),
        # A wrong value is not passed over for a right one elsewhere.
        ({"message": {"userId": [], "userEmail": "a@b.c"}, "userId": "u-1"}, "invalid_user_id"),
        ({"message": {"userId": "u-1", "userEmail": 0}, "userEmail": "a@b.c"}, "invalid_user_email"),
        ({"message": "text"}, "invalid_entry"),
        ({"message": "text", "userId": "", "userEmail": ""}, "invalid_entry"),
        ({"message": 7}, "invalid_entry"),
        ({"message": True}, "invalid_entry"),
        ({"message": ["u-1"]}, "invalid_entry"),
    ],
)
def test_a_missing_or_misplaced_field_has_its_code(keys: dict[str, Any], code: str):
    rejection = rejection_of(command, envelope("createUser", **keys))

    assert rejection
    assert rejection.code == code


@pytest.mark.parametrize("key", ["userId", "userEmail"])
def test_a_sentence_never_shows_an_email_in_full(key: str):
    message = {"userId": "u-1", "userEmail": "a@b.c", key: "joe.average@example.com" + "\0" * 400}

    rejection = rejection_of(command, envelope("createUser", message=message))

    assert str(rejection).startswith(f'{key} is "***@example.com')
    assert "joe" not in str(rejection)


def test_both_layouts_say_the_same():
    message = {"userId": "ü", "userEmail": "ü@b.c"}

    assert command(flat(function="createUser", message=json.dumps(message))) == command(
        envelope("createUser", message=message)
    )
