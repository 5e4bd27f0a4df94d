"""CONTRIBUTING's example: a command `renameUser`, as its author would add it, and an application that knows it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dbstorage.application import create_app
from dbstorage.audit.outcomes import STORED, AuditFinding, missing
from dbstorage.commands.kinds import CommandKind, Identity
from dbstorage.commands.registry import FAILURES, register, summary_of_user
from dbstorage.commands.text import required_email, required_id, usable_id
from dbstorage.database.shape import TableShape
from dbstorage.settings import load_settings
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.service import Service
from dbstorage.storage.work import Work

NAME = "renameUser"


class RenameUser(NamedTuple):
    """A user's new e-mail address."""

    user_id: str
    email: str


def interpret(body: dict[str, Any], _history_limit: int) -> RenameUser:
    """The command in a body; raises RejectedEntry."""
    return RenameUser(required_id("userId", body.get("userId")), required_email(body.get("userEmail")))


def identify(entry_id: str, body: dict[str, Any]) -> Identity:
    """How its task is called."""
    user_id = usable_id(body.get("userId"))
    return Identity(NAME, f"{NAME}:{entry_id}", summary_of_user(user_id), user_id, None)


def write(connection: Connection, shape: TableShape, service: Service, works: Sequence[Work]) -> list[Outcome]:
    """Rename users, one statement for all."""
    commands: list[Any] = [work.command for work in works]
    changed = connection.exec_driver_sql(
        'UPDATE "User" SET "email" = given.email FROM unnest(%s::text[], %s::text[]) AS given(user_id, email) '
        'WHERE "userID" = given.user_id RETURNING "userID"',
        ([command.user_id for command in commands], [command.email for command in commands]),
    )
    known = set(changed.scalars())
    unknown = Outcome(Status.FAILED, "user_unknown", "There is no such user.")
    return [Outcome(Status.UPDATED) if command.user_id in known else unknown for command in commands]


def look(connection: Connection, shape: TableShape, service: Service, works: Sequence[Work]) -> list[AuditFinding]:
    """Whether users have the addresses that they were given."""
    commands: list[Any] = [work.command for work in works]
    rows = connection.exec_driver_sql(
        'SELECT "userID", "email" FROM "User" WHERE "userID" = ANY(%s)', ([command.user_id for command in commands],)
    )
    emails = {user_id: email for user_id, email in rows}
    other = missing("its user has another address")
    return [STORED if emails.get(command.user_id) == command.email else other for command in commands]


RENAME_USER = CommandKind(
    name=NAME,
    summary="Give a user another e-mail address.",
    flat_fields=("userId", "userEmail"),
    call_fields=("userId", "userEmail"),
    command=RenameUser,
    interpret=interpret,
    identify=identify,
    outcomes=("updated", *FAILURES),
    is_kept=True,
    writer="tests.service.renaming:write",
    look="tests.service.renaming:look",
)


def renaming_app() -> Any:
    """The application with the command."""
    register(RENAME_USER)
    return create_app(load_settings())
