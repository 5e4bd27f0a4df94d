"""Who had which userID at which position, as the createUsers of the stream say; pure.

An old entry names the userID that its person had then. By now that person may have another userID, and somebody else
may have this one.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from dbstorage.commands.users import CreateUser
from dbstorage.storage.users import Decision, KnownUsers, UserWrite

Key = TypeVar("Key")
Value = TypeVar("Value")


class _History(Generic[Key, Value]):
    """The values of a key over time: each with the position from which on it had it."""

    def __init__(self) -> None:
        self._positions: dict[Key, list[int]] = defaultdict(list)
        self._values: dict[Key, list[Value]] = defaultdict(list)

    def add(self, key: Key, position: int, value: Value) -> None:
        self._positions[key].append(position)
        self._values[key].append(value)

    def at(self, key: Key, position: int) -> Value | None:
        """The value at this position; None before the first."""
        index = bisect_right(self._positions.get(key, []), position)
        return self._values[key][index - 1] if index else None

    def after(self, key: Key, position: int) -> Iterable[Value]:
        """The values that it got after this position, in order."""
        return self._values.get(key, [])[bisect_right(self._positions.get(key, []), position) :]

    def all(self, key: Key) -> Iterable[Value]:
        """All values, in order."""
        return self._values.get(key, [])


class PeopleOverTime:
    """The people of a stream; fed with its createUsers in order."""

    def __init__(self) -> None:
        self._known = KnownUsers([], {})
        self._number = 0
        self._person_of: dict[str, int] = {}
        #: userID -> the person who has it, None once that person has moved.
        self._holders: _History[str, int | None] = _History()
        self._ids: _History[int, str] = _History()
        self._emails: dict[int, set[str]] = defaultdict(set)
        self._addressees: _History[str, int] = _History()

    def feed(self, command: CreateUser, position: int) -> Decision:
        """Take in the next createUser of the stream; returns what it does."""
        decision = self._known.decide(UserWrite(command, position))
        if decision.status is None:
            return decision
        old, new = decision.moves_from, command.user_id
        if old is not None:
            person = self._person_of.pop(old)
            self._holders.add(old, position, None)
        elif new in self._person_of:
            person = self._person_of[new]
        else:
            self._number += 1
            person = self._number
        if self._person_of.get(new) != person:
            self._person_of[new] = person
            self._holders.add(new, position, person)
            self._ids.add(person, position, new)
        self._emails[person].add(command.email)
        self._addressees.add(command.email, position, person)
        return decision

    def person_of(self, user_id: str, position: int) -> int | None:
        """The owner of an order for this userID at this position: who had it then, else who got it next, else None."""
        person = self._holders.at(user_id, position)
        if person is not None:
            return person
        return next((later for later in self._holders.after(user_id, position) if later is not None), None)

    def had(self, user_id: str, position: int) -> bool:
        """Whether somebody had this userID at this position, as far as the stream tells."""
        return self._holders.at(user_id, position) is not None

    def holders_since(self, user_id: str, position: int) -> set[int]:
        """All people who had this userID at this position or later."""
        holders = (self._holders.at(user_id, position), *self._holders.after(user_id, position))
        return {person for person in holders if person is not None}

    def identities_of(self, person: int) -> set[str]:
        """All userIDs and e-mail addresses that the person ever had, as they are remembered in `applied_users`."""
        return {f"id:{user_id}" for user_id in self._ids.all(person)} | {
            f"email:{email}" for email in self._emails[person]
        }

    def emails_of(self, person: int) -> set[str]:
        """All e-mail addresses that the person ever had."""
        return self._emails[person]

    def user_id_of(self, person: int, position: int, applied: Mapping[str, int]) -> str | None:
        """The userID under which the person stands in a database; None before there is one.

        The database has applied everything up to `position`, and of the e-mail addresses in `applied` what stands at
        the positions there.
        """
        newest, _email = self._newest(person, applied)
        return self._ids.at(person, max(position, newest))

    def row_of(self, person: int, applied: Mapping[str, int]) -> CreateUser | None:
        """The person's row in a database that has applied, of these e-mail addresses, what stands at the positions."""
        newest, email = self._newest(person, applied)
        user_id = self._ids.at(person, newest)
        return None if user_id is None or email is None else CreateUser(user_id, email)

    def _newest(self, person: int, applied: Mapping[str, int]) -> tuple[int, str | None]:
        """The position of the newest createUser of the person that is applied, and the address in it."""
        return max(
            (
                (applied[email], email)
                for email in self._emails[person]
                if email in applied and self._addressees.at(email, applied[email]) == person
            ),
            default=(0, None),
        )
