"""What the audit makes of a stream and tables that were brought into a state by hand."""

import pytest
import redis

from dbstorage.audit import audit, report
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError, RedisUnavailableError
from dbstorage.settings import Settings, load_settings
from tests.service.platform import GROUP, STREAM, Platform, order, question, user


def acknowledge(platform: Platform, *entry_ids: str) -> None:
    """Let the group have read and acknowledged these entries, given in stream order from the beginning on."""
    platform.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    if entry_ids:
        platform.redis.xreadgroup(GROUP, "worker@test", {STREAM: ">"}, count=len(entry_ids))
        platform.redis.xack(STREAM, GROUP, *entry_ids)


def test_without_a_stream_there_is_nothing_to_prove(platform: Platform, settings: Settings) -> None:
    found = audit(settings)
    assert (found.entries, found.counts, found.first, found.last) == (0, {}, None, None)


def test_without_a_group_everything_is_pending(platform: Platform, settings: Settings) -> None:
    platform.send(user("u"), order("o", "u"), question("u"))
    assert audit(settings).counts == {
        "createUser": {"pending": 1},
        "createCloseOrder": {"pending": 1},
        "getCloseOrders": {"pending": 1},
    }


def test_what_nobody_has_read_is_pending(platform: Platform, settings: Settings) -> None:
    ids = platform.send(order("o-1"), order("o-2"), order("o-3"))
    acknowledge(platform, *ids[:2])
    assert audit(settings).counts == {"createCloseOrder": {"missing": 2, "pending": 1}}


def test_more_pending_entries_than_one_answer_of_redis_lists(platform: Platform, settings: Settings) -> None:
    ids = platform.send(*(order(f"o-{number}") for number in range(2500)))
    platform.redis.xgroup_create(STREAM, GROUP, "0")
    platform.redis.xreadgroup(GROUP, "worker@test", {STREAM: ">"}, count=2500)
    # Deleted entries stay in the pending list: more of it than entries lies between the first and the last of a chunk.
    platform.redis.xdel(STREAM, *ids[100:1900])
    assert audit(settings).counts == {"createCloseOrder": {"pending": 700}}


def test_a_range_holds_its_first_and_its_last_entry(platform: Platform, settings: Settings) -> None:
    for number in range(1, 6):
        platform.redis.xadd(STREAM, {"message": "{}"}, id=f"{number}000-1")
    assert audit(settings, "2000-1", "4000-1").entries == 3
    assert audit(settings, "2000-2", "4000-0").entries == 1
    assert audit(settings, "2000", "4000").entries == 3
    assert audit(settings, "2000", "99999999999999").entries == 4
    assert audit(settings, last="1000").last == "1000-1"


@pytest.mark.parametrize("entry_id", ["", "yesterday", "1-2-3", "+", "(1-0"])
def test_a_range_that_is_none_is_refused(entry_id: str, platform: Platform, settings: Settings) -> None:
    with pytest.raises(ValueError, match="expected an entry id such as"):
        audit(settings, entry_id)


def test_tables_that_lack_a_label_are_told_apart_from_lost_orders(platform: Platform, settings: Settings) -> None:
    platform.query("CREATE TYPE \"Symbol\" AS ENUM ('btc', 'eth')")
    platform.query('ALTER TABLE "Orders" ALTER COLUMN symbol TYPE "Symbol" USING symbol::"Symbol"')
    with pytest.raises(DatabaseNotReadyError, match="lacks a label for sol"):
        audit(settings)


def test_a_field_that_stands_twice_is_read_as_the_service_reads_it(platform: Platform, settings: Settings) -> None:
    platform.redis.eval(
        "return redis.call('XADD', KEYS[1], '*', unpack(ARGV))", 1, STREAM, "a", '{"function":', "a", '"createUser"}'
    )
    assert set(audit(settings).counts) == {"createUser"}


def test_an_entry_that_is_no_command_is_acknowledged(platform: Platform, settings: Settings) -> None:
    acknowledge(platform, *platform.send_raw({"message": "not JSON"}, {"message": '{"function":"sell"}'}))
    assert audit(settings).counts == {"invalidEntry": {"acknowledged": 2}}


def test_no_more_missing_entries_are_kept_than_memory_likes(
    platform: Platform, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_NAMED", 2)
    acknowledge(platform, *platform.send(order("o-1"), order("o-2"), order("o-3")))
    found = audit(settings)
    assert [one.task_id for one in found.missing] == ["createCloseOrder:o-1", "createCloseOrder:o-2"]
    assert found.missing_count == 3


def test_progress_is_told_chunk_by_chunk(platform: Platform, settings: Settings) -> None:
    platform.send(*(order(f"o-{number}") for number in range(1200)))
    told: list[tuple[int, int]] = []
    audit(settings, progress=lambda done, length: told.append((done, length)))
    assert told == [(1000, 1200), (1200, 1200)]


def test_servers_that_are_away_are_told_in_a_sentence(environment: dict[str, str], empty_database_url: str) -> None:
    def settings(**changed: str) -> Settings:
        return load_settings({**environment, **changed})

    with pytest.raises(RedisUnavailableError, match=r"^Redis cannot be used: "):
        audit(settings(REDIS_URL="redis://localhost:1"))
    with pytest.raises(DatabaseUnavailableError, match=r"^The database cannot be used: "):
        audit(settings(DATABASE_URL="postgresql://localhost:1/nowhere"))
    with pytest.raises(DatabaseNotReadyError, match="dbstorage migrate"):
        audit(settings(DATABASE_URL=empty_database_url))


def test_another_kind_of_key_in_the_streams_place_is_said(redis_url: str, settings: Settings) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(STREAM, "text")
    with pytest.raises(RedisUnavailableError, match="WRONGTYPE"):
        audit(settings)
