"""Who has which userID at each place of a batch: several people may have the same one, one after the other.

A batch is written as a set, as if all of it happened at once. So an order is written for the person who had its userID
at its place in the stream, under the userID that this person has at the end of the batch.
"""

from itertools import count

Person = int


class People:
    """Follows the people of a batch, in stream order; pure."""

    def __init__(self) -> None:
        self._new = count()
        #: userID -> who has it now, None where it was given up. A userID that no command has named yet is not in here.
        self._holder: dict[str, Person | None] = {}
        #: userID that nobody has -> a placeholder for the person who gets it next, because an order names it.
        self._expected: dict[str, Person] = {}
        self._user_id: dict[Person, str] = {}
        #: Placeholder -> the person who came.
        self._is: dict[Person, Person] = {}
        #: People who were created, or have moved, within the batch.
        self._under_way: set[Person] = set()
        #: userID -> the first who has it by a command of the batch, and the place of that command.
        self._first: dict[str, tuple[Person, int]] = {}
        #: Placeholder -> the place of the command by which its person came.
        self._came_at: dict[Person, int] = {}
        self._left: dict[str, Person] = {}

    def owner(self, user_id: str) -> Person:
        """Who has this userID, or, where nobody has it, who comes next."""
        if user_id not in self._holder:
            # Somebody who was there before the batch, or a placeholder for whoever comes.
            self._holder[user_id] = self._somebody(user_id)
        holder = self._holder[user_id]
        if holder is not None:
            return holder
        if user_id not in self._expected:
            self._expected[user_id] = self._somebody(user_id)
        return self._expected[user_id]

    def stays(self, user_id: str, place: int) -> None:
        """The createUser at this place of the batch found the person there."""
        self._first.setdefault(user_id, (self.owner(user_id), place))

    def comes(self, user_id: str, place: int) -> None:
        """The createUser at this place made a new person."""
        person = self._somebody(user_id)
        self._under_way.add(person)
        self._arrives(user_id, person, place)

    def moves(self, old: str, new: str, place: int) -> None:
        """The createUser at this place gave a person another userID, which nobody had."""
        person = self.owner(old)
        if person not in self._under_way:
            self._under_way.add(person)
            self._left[old] = person
        self._holder[old] = None
        self._arrives(new, person, place)

    def user_id(self, person: Person) -> str:
        """The userID that a person has at the end."""
        while person in self._is:
            person = self._is[person]
        return self._user_id[person]

    def came_at(self, person: Person) -> int | None:
        """The place of the command by which a person came whom an order had named before; None for all others."""
        return self._came_at.get(person)

    @property
    def arrived(self) -> dict[str, str]:
        """For each userID that somebody has by one of the commands, where the first who had it is at the end."""
        return {user_id: self.user_id(person) for user_id, (person, _) in self._first.items()}

    @property
    def arrived_at(self) -> dict[str, int]:
        """For the same userIDs, the place of the first such command."""
        return {user_id: place for user_id, (_, place) in self._first.items()}

    @property
    def moved(self) -> dict[str, str]:
        """For each userID that somebody gave up who had it before the batch, where that person is at the end."""
        return {user_id: self.user_id(person) for user_id, person in self._left.items()}

    def _somebody(self, user_id: str) -> Person:
        person = next(self._new)
        self._user_id[person] = user_id
        return person

    def _arrives(self, user_id: str, person: Person, place: int) -> None:
        # Nobody had it, so the person who comes now is the one whom an earlier order named.
        for waiting in (self._holder.get(user_id), self._expected.pop(user_id, None)):
            if waiting is not None:
                self._is[waiting] = person
                self._came_at[waiting] = place
        self._holder[user_id] = person
        self._user_id[person] = user_id
        self._first.setdefault(user_id, (person, place))
