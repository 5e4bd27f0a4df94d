"""Who had which userID when, as the createUsers of a stream say."""

from dbstorage.audit.people_over_time import PeopleOverTime
from dbstorage.commands.users import CreateUser


def people(*commands: tuple[int, str, str]) -> PeopleOverTime:
    found = PeopleOverTime()
    for position, user_id, email in commands:
        found.feed(CreateUser(user_id, email), position)
    return found


def where(found: PeopleOverTime, user_id: str, position: int, **applied: int) -> str | None:
    person = found.person_of(user_id, position)
    return None if person is None else found.user_id_of(person, position, applied)


def test_a_database_that_is_as_far_has_the_person_under_the_id_of_then():
    found = people((1, "u", "ann"), (5, "v", "ann"))
    assert where(found, "u", 3, ann=1) == "u"
    assert where(found, "v", 7, ann=5) == "v"


def test_one_that_is_further_has_the_person_under_the_newest_id():
    found = people((1, "u", "ann"), (5, "v", "ann"), (6, "u", "bob"))
    assert where(found, "u", 3, ann=5) == "v"
    assert where(found, "u", 3, ann=5, bob=6) == "v"
    assert where(found, "u", 8, ann=5, bob=6) == "u"


def test_an_order_that_waits_belongs_to_who_comes_next():
    found = people((5, "u", "ann"), (6, "v", "ann"))
    assert where(found, "u", 3) is None
    assert where(found, "u", 3, ann=6) == "v"
    assert not found.had("u", 3)
    assert found.had("u", 5)


def test_a_person_that_takes_another_address_stays_the_person():
    found = people((1, "u", "ann"), (4, "u", "anna"), (7, "v", "anna"), (8, "w", "ann"))
    # The address ann is somebody else's at the end.
    assert where(found, "u", 2, ann=8, anna=7) == "v"
    assert where(found, "w", 9, ann=8, anna=7) == "w"


def test_nobody_is_known_of_whom_the_stream_does_not_tell():
    assert where(people((1, "u", "ann")), "other", 5) is None


def test_a_conflict_of_two_users_changes_nobody():
    found = people((1, "u", "ann"), (2, "v", "bob"), (3, "v", "ann"))
    assert where(found, "u", 4) == "u"
    assert where(found, "v", 4) == "v"
