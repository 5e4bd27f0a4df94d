"""createUser: the rules of a user."""

from typing import Any, NamedTuple

from dbstorage.commands.rejections import shown
from dbstorage.commands.text import required_email, required_id
from dbstorage.errors import RejectedEntry


class CreateUser(NamedTuple):
    """A person to be stored, or to be brought up to date."""

    user_id: str
    email: str


def create_user(body: dict[str, Any]) -> CreateUser:
    """The user that a createUser describes; raises RejectedEntry."""
    user_id, email = user_fields(body)
    return CreateUser(required_id("userId", user_id), required_email(email))


def user_fields(body: dict[str, Any]) -> tuple[Any, Any]:
    """userId and userEmail as written, each from the message, else from the top level.

    Raises RejectedEntry (`invalid_entry`) where a message that is not an object is all there is.
    """
    message = body.get("message")
    user_id, email = body.get("userId"), body.get("userEmail")
    if isinstance(message, dict):
        return _first(message.get("userId"), user_id), _first(message.get("userEmail"), email)
    if message not in (None, "") and user_id in (None, "") and email in (None, ""):
        raise RejectedEntry(
            "invalid_entry",
            f"The message of createUser is {shown(message)}; expected userId and userEmail in an object.",
        )
    return user_id, email


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None or value == "" else value
