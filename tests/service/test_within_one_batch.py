"""Commands that meet in one batch, where they are written as a set, and entries that come again."""

from tests.service.platform import GROUP, STREAM, Platform, order, user


def test_the_stored_order_is_told_from_one_whose_user_is_unknown(service: Platform) -> None:
    unknown, stored = service.send(
        user("known"), order("one-id", "unknown", quantity=1), order("one-id", "known", quantity=2)
    )[1:]
    service.wait_until_finished()
    assert service.query('SELECT "userId", quantity FROM "Orders" WHERE "orderId" = %s', "one-id") == [("known", 2.0)]
    assert stored not in service.failed_codes()
    assert service.failed_codes()[unknown] == ("failed", "order_conflict")


def test_a_conflict_between_users_does_not_hide_a_later_move(service: Platform) -> None:
    service.send(user("move-a", "move-a@x"), user("move-b", "move-b@x"))
    service.wait_until_finished()
    conflict, *_ = service.send(
        user("move-b", "move-a@x"),
        user("move-c", "move-b@x"),
        order("before-the-move", "move-a"),
        user("move-b", "move-a@x"),
    )
    service.wait_until_finished()
    assert service.orders()["before-the-move"] == "move-b"
    assert service.failed_codes()[conflict] == ("failed", "user_conflict")
    assert service.failed_with_order("before-the-move") == []


def test_a_conflict_that_is_delivered_again_stays_one(service: Platform) -> None:
    before, *_ = service.send(user("kept-a", "kept-a@x"), user("kept-b", "kept-b@x"), user("kept-b", "kept-a@x"))
    service.send(user("kept-c", "kept-b@x"))
    service.wait_until_finished()
    service.redis.xgroup_setid(STREAM, GROUP, before)
    service.wait_until_finished()
    assert {name for name in service.users() if name.startswith("kept-")} == {"kept-a", "kept-c"}


def test_people_who_change_places_within_a_batch_keep_their_orders(service: Platform) -> None:
    service.send(user("swap-a", "swap-a@x"), user("swap-b", "swap-b@x"))
    service.wait_until_finished()
    service.send(
        order("swap-1", "swap-a"),
        user("swap-aside", "swap-a@x"),
        order("swap-2", "swap-a"),
        user("swap-a", "swap-b@x"),
        order("swap-3", "swap-a"),
        order("swap-4", "swap-b"),
        user("swap-b", "swap-a@x"),
        order("swap-5", "swap-b"),
    )
    service.wait_until_finished()
    owners = {name: owner for name, owner in service.orders().items() if name.startswith("swap-")}
    # At "swap-2" and "swap-4" nobody had the userID: these orders waited for who came next.
    assert owners == {
        "swap-1": "swap-b",
        "swap-2": "swap-a",
        "swap-3": "swap-a",
        "swap-4": "swap-b",
        "swap-5": "swap-b",
    }
    assert {name: service.users()[name] for name in ("swap-a", "swap-b")} == {
        "swap-a": "swap-b@x",
        "swap-b": "swap-a@x",
    }


def test_a_person_who_moves_many_times_within_a_batch_is_moved_once(service: Platform) -> None:
    service.send(user("far-0", "far@x"), order("far-before", "far-0"))
    service.wait_until_finished()
    service.query(
        "CREATE TABLE far_moves (id text); CREATE FUNCTION note_far() RETURNS trigger LANGUAGE plpgsql AS "
        '$$ BEGIN INSERT INTO far_moves VALUES (NEW."userID"); RETURN NULL; END $$; '
        'CREATE TRIGGER note_far AFTER UPDATE ON "User" FOR EACH ROW EXECUTE FUNCTION note_far()'
    )
    batch = [
        command
        for number in range(1, 40)
        for command in (user(f"far-{number}", "far@x"), order(f"far-o{number}", f"far-{number}"))
    ]
    service.send(*batch)
    service.wait_until_finished()
    owners = {owner for name, owner in service.orders().items() if name.startswith("far-")}
    assert owners == {"far-39"}
    [(moves,)] = service.query("SELECT count(*) FROM far_moves")
    service.query('DROP TRIGGER note_far ON "User"; DROP FUNCTION note_far; DROP TABLE far_moves')
    assert moves < 10
