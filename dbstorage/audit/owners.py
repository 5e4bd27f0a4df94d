"""Decides from plain data whether a stored order belongs to the right person.

The right person is the one who had the order's userID at the order's place in the stream, whatever userID that person
has by now. Where the stream and the records do not prove who that is, the answer is `unknown`, never a guess.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from dbstorage.audit.people_over_time import PeopleOverTime
from dbstorage.commands.users import CreateUser
from dbstorage.storage.users import identities


class Owner(StrEnum):
    """Whether a stored order belongs to the right person."""

    RIGHT = "right"
    #: It belongs to another person.
    OTHER = "other"
    #: Trimming, a retry or another program makes it impossible to tell.
    UNKNOWN = "unknown"


class PlacedOrder(NamedTuple):
    """An order's entry: the userID that it names, its position, and the code of its record where it has one."""

    user_id: str
    position: int
    failed_as: str | None = None
    has_record: bool = False


class OwnerRows(NamedTuple):
    """Rows of the database, all of them as of one moment."""

    #: userID -> e-mail address
    people: Mapping[str, str]
    #: Identity -> position of the last createUser that was applied to it.
    applied: Mapping[str, int]


class Owners:
    """Knows who owns an order, once `feed` was given all createUsers of the stream, in order."""

    def __init__(self) -> None:
        self.people = PeopleOverTime()
        #: The position of the last entry that was read.
        self.end = -1
        #: Groups of userIDs and e-mail addresses that createUsers connect; a union-find, identity -> parent.
        self._group: dict[str, str] = {}
        #: Groups (their first identity) for which the stream alone does not tell what happened.
        self._unclear: set[str] = set()

    def feed(self, command: CreateUser, position: int, *, is_conflict: bool, is_clear: bool) -> None:
        """Take in the next createUser.

        `is_conflict`: its record says that it was a conflict and changed nothing. `is_clear` is False where it has
        another record: it was applied at another time, or with other values, than its place in the stream says.
        """
        first, second = (self._group_of(identity) for identity in identities(command))
        if first != second:
            self._group[second] = first
            if second in self._unclear:
                self._unclear.add(first)
        conflicts = self.people.feed(command, position).status is None
        if not is_clear or conflicts != is_conflict:
            self._unclear.add(first)

    def is_clear(self, identity: str) -> bool:
        """Whether the stream tells everything that happened to the people with this identity."""
        return self._group_of(identity) not in self._unclear

    def needed(self, order: PlacedOrder) -> set[str]:
        """The identities whose applied positions, and the userIDs whose rows, decide who should own the order."""
        person = self.people.person_of(order.user_id, order.position)
        return {f"id:{order.user_id}", *(self.people.identities_of(person) if person is not None else ())}

    def find(self, order: PlacedOrder, stands: CreateUser, rows: OwnerRows) -> Owner:
        """Whether an order, whose row belongs to the person `stands`, belongs to the right person.

        OTHER is certain only if no other entry has the same order; the caller checks that.
        """
        named = f"id:{order.user_id}"
        if not self.is_clear(named) or any(rows.applied.get(key, -1) > self.end for key in self.needed(order)):
            return Owner.UNKNOWN
        person = self.people.person_of(order.user_id, order.position)
        if person is None:
            # No createUser of the stream gave this userID to anybody, so its owner has not changed.
            untouched = not self.people.holders_since(order.user_id, 0)
            return Owner.RIGHT if untouched and stands.user_id == order.user_id else Owner.UNKNOWN
        had = self.people.had(order.user_id, order.position)
        if not had and order.failed_as != "user_not_found":
            # Who had it then was created by an entry that has been trimmed, or whose record is gone.
            return Owner.UNKNOWN
        addresses = self.people.emails_of(person)
        applied = {email: rows.applied[key] for email in addresses if (key := f"email:{email}") in rows.applied}
        row = self.people.row_of(person, applied)
        if row is None or rows.people.get(row.user_id) != row.email:
            return Owner.UNKNOWN
        if stands == row:
            return Owner.RIGHT
        if stands.email in addresses:
            # The address may belong to somebody else by now; or another program changed this person's row.
            return Owner.UNKNOWN
        if order.has_record and self.people.holders_since(order.user_id, order.position) != {person}:
            # Its owner depends on when it was retried: one that was discarded during a move did not follow the person.
            return Owner.UNKNOWN
        return Owner.OTHER

    def _group_of(self, identity: str) -> str:
        root = identity
        while (above := self._group.get(root, root)) != root:
            root = above
        while identity != root:
            identity, self._group[identity] = self._group.get(identity, root), root
        return root
