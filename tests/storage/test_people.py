"""Whose an order is, where people change their userIDs within the batch."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dbstorage.commands.users import CreateUser
from dbstorage.storage.outcome import Status
from dbstorage.storage.people import People
from dbstorage.storage.users import KnownUsers, UserWrite, identities, rows_after
from tests.wire.entries import steady


@dataclass(eq=False)
class Someone:
    """A person of the model."""

    user_id: str
    email: str


@dataclass
class Step:
    """The rules, one command after the other (contract 2.1 and 2.2)."""

    people: list[Someone]
    orders: list[tuple[str, Someone | None]] = field(default_factory=list)

    def has(self, user_id: str) -> Someone | None:
        return next((person for person in self.people if person.user_id == user_id), None)

    def order(self, user_id: str) -> None:
        self.orders.append((user_id, self.has(user_id)))

    def create(self, user_id: str, email: str) -> None:
        by_email = next((person for person in self.people if person.email == email), None)
        by_id = self.has(user_id)
        if by_email is not None and by_id is not None and by_email is not by_id:
            return
        person = by_email or by_id or Someone(user_id, email)
        if person not in self.people:
            self.people.append(person)
        person.user_id, person.email = user_id, email
        # Orders that wait for this userID are this person's.
        self.orders = [(asked, person if owner is None and asked == user_id else owner) for asked, owner in self.orders]


ids = st.sampled_from(["a", "b", "c", "d"])
emails = st.sampled_from(["a@x", "b@x", "c@x", "d@x"])
commands = st.lists(st.one_of(st.tuples(ids, emails), ids), max_size=12)
there = st.dictionaries(ids, emails, max_size=3).filter(lambda rows: len(set(rows.values())) == len(rows))


@settings(steady, max_examples=20 * steady.max_examples)
@given(there, commands)
def test_a_batch_as_a_set_comes_to_what_its_commands_come_to_one_by_one(
    rows: dict[str, str], batch: list[tuple[str, str] | str]
) -> None:
    step = Step([Someone(*row) for row in rows.items()])
    known = KnownUsers(list(rows.items()), {})
    people = People()
    owners, writes, decisions = [], [], []
    for number, command in enumerate(batch):
        if isinstance(command, str):
            step.order(command)
            owners.append(people.owner(command))
            continue
        step.create(*command)
        writes.append(UserWrite(CreateUser(*command), number))
        decision = known.decide(writes[-1])
        decisions.append(decision)
        if decision.moves_from is not None:
            people.moves(decision.moves_from, command[0], number)
        elif decision.status is Status.CREATED:
            people.comes(command[0], number)
        elif decision.status is not None:
            people.stays(command[0], number)
    assert [people.user_id(owner) for owner in owners] == [
        asked if owner is None else owner.user_id for asked, owner in step.orders
    ]
    changed = rows_after(list(rows.items()), writes, decisions)
    left = {CreateUser(*row) for row in rows.items()} - {row.old for row in changed if row.old}
    assert left | {row.new for row in changed} == {CreateUser(each.user_id, each.email) for each in step.people}
    assert len({value for row in changed for value in identities(row.new)}) == 2 * len(changed)


def test_those_who_move_are_told_with_where_they_were_before_the_batch() -> None:
    people = People()
    people.moves("a", "b", 0)
    people.moves("b", "c", 1)
    people.comes("a", 2)
    people.moves("a", "d", 3)
    assert people.moved == {"a": "c"}
    assert people.arrived == {"b": "c", "c": "c", "a": "d", "d": "d"}


def test_who_is_waited_for_is_whoever_comes_next_and_wherever_that_person_goes() -> None:
    people = People()
    people.moves("a", "b", 0)
    first = people.owner("a")
    people.comes("a", 2)
    people.moves("a", "c", 3)
    second = people.owner("a")
    assert (people.user_id(first), people.user_id(second)) == ("c", "a")
    assert (people.came_at(first), people.came_at(second)) == (2, None)
    assert people.arrived_at == {"b": 0, "a": 2, "c": 3}


def test_who_stays_has_arrived_too_for_orders_that_wait() -> None:
    people = People()
    people.stays("a", 0)
    assert people.arrived == {"a": "a"}
    assert people.moved == {}
