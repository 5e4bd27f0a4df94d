"""Settings as they are written in the environment: what each takes, and the sentence for a wrong one."""

from datetime import timedelta
from typing import Any

import pytest

from dbstorage.database.url import parse_database_url
from dbstorage.errors import SettingsError
from dbstorage.settings import (
    VARIABLES,
    Ordering,
    Settings,
    TaskEvents,
    load_database_address,
    load_settings,
    slips,
    without_password,
)

REQUIRED = {"REDIS_URL": "redis://cache", "DATABASE_URL": "postgresql://ann@db/trading"}
FIELD = {"CELERY_BROKER_URL": "broker_url", "DBSTORAGE_STREAM": "command_stream"}  # else the name in lower case


def read(name: str, text: str) -> Any:
    return getattr(load_settings({**REQUIRED, name: text}), FIELD.get(name, name.lower()))


def sentences(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings({**REQUIRED, **environment})
    assert str(raised.value) == "\n".join(raised.value.sentences)
    return raised.value.sentences


def test_what_is_not_set_has_its_default():
    database = parse_database_url(REQUIRED["DATABASE_URL"])
    expected = Settings(redis_url="redis://cache", broker_url="redis://cache", database=database)

    assert load_settings(REQUIRED) == expected
    assert load_settings({**REQUIRED, "ORDERING": "", "METRICS_PORT": " "}) == expected


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("REDIS_URL", " redis://cache:6380/1\n", "redis://cache:6380/1"),
        ("REDIS_URL", "redis://[::1]/", "redis://[::1]/"),
        ("CELERY_BROKER_URL", "redis://other/2", "redis://other/2"),
        ("CELERY_BROKER_URL", "amqp://ann:pw@broker//shop", "amqp://ann:pw@broker//shop"),
        ("CELERY_BROKER_URL", "amqps://broker?heartbeat=5", "amqps://broker?heartbeat=5"),
        ("CELERY_BROKER_URL", "pyamqp://broker", "pyamqp://broker"),
        ("DBSTORAGE_STREAM", "shop:commands", "shop:commands"),
        ("RESPONSE_STREAM", "shop answers", "shop answers"),
        ("CONSUMER_GROUP", "shop", "shop"),
        ("BATCH_SIZE", "1", 1),
        ("BATCH_SIZE", " 10000 ", 10_000),
        ("ORDERING", "Parallel", Ordering.PARALLEL),
        ("CLAIM_IDLE", "1", 1.0),
        ("CLAIM_IDLE", "86400", 86_400.0),
        ("USER_WAIT", "0", 0.0),
        ("USER_WAIT", "86400", 86_400.0),
        ("QUERY_TTL", "0.1", 0.1),
        ("QUERY_TTL", "3600", 3_600.0),
        ("HISTORY_LIMIT", "1", 1),
        ("HISTORY_LIMIT", "1000", 1_000),
        ("RESPONSE_MAXLEN", "1", 1),
        ("RESPONSE_MAXLEN", "1000000", 1_000_000),
        ("RESPONSE_MAXBYTES", "1024", 1_024),
        ("RESPONSE_MAXBYTES", "100000000000", 100_000_000_000),
        ("STREAM_KEEP", "0", 0),
        ("MAX_ENTRY_BYTES", "1024", 1_024),
        ("MAX_ENTRY_BYTES", "67108864", 67_108_864),
        ("STREAM_KEEP", "1000000000", 1_000_000_000),
        ("STREAM_KEEP", "7d", timedelta(days=7)),
        ("STREAM_KEEP", "90m", timedelta(minutes=90)),
        ("TASK_EVENTS", "FAILURES", TaskEvents.FAILURES),
        ("METRICS_PORT", "Off", None),
        ("METRICS_PORT", "1", 1),
        ("METRICS_PORT", "65535", 65_535),
        ("LOG_LEVEL", "critical", "CRITICAL"),
        ("LOG_FORMAT", "JSON", "json"),
    ],
)
def test_a_setting_is_read_as_it_is_written(name: str, text: str, value: Any):
    assert read(name, text) == value


REDIS = "expected a URL that begins with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://"
BROKER = f"{REDIS}, amqp://, amqps://, pyamqp://"
PLAIN_NAME = "expected a name without control characters"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("REDIS_URL", "http://cache", f"is 'http://cache': {REDIS}."),
        ("REDIS_URL", "cache", f"is '***': {REDIS}."),
        ("REDIS_URL", "redis://", f"is 'redis://': it names no host; {REDIS} and a host."),
        ("REDIS_URL", "redis://:secret@cache:x", f"is 'redis://:***@cache:x': {REDIS} and a port from 1 to 65535."),
        (
            "REDIS_URL",
            "redis://cache/orders",
            "is 'redis://cache/orders': the part after the host is 'orders'; "
            "expected the number of a Redis database, such as 0.",
        ),
        (
            "REDIS_URL",
            "redis://cache/X0",
            "is 'redis://cache/X0': the part after the host is 'X0'; "
            "expected the number of a Redis database, such as 0.",
        ),
        ("CELERY_BROKER_URL", "sqs://broker", f"is 'sqs://broker': {BROKER}."),
        (
            "DATABASE_URL",
            "mysql://db",
            "is 'mysql://db': expected a URL that begins with postgresql:// or postgres://.",
        ),
        ("DBSTORAGE_STREAM", "a\tb", rf"is 'a\tb': {PLAIN_NAME}."),
        ("RESPONSE_STREAM", "a\x1fb", rf"is 'a\x1fb': {PLAIN_NAME}."),
        ("CONSUMER_GROUP", "a\0b", rf"is 'a\x00b': {PLAIN_NAME}."),
        *(
            ("BATCH_SIZE", text, f"is {text!r}: expected a whole number from 1 to 10000.")
            for text in ("0", "10001", "-1", "1.5", "²", "many", "9" * 5000)
        ),
        ("HISTORY_LIMIT", "0", "is '0': expected a whole number from 1 to 1000."),
        ("HISTORY_LIMIT", "1001", "is '1001': expected a whole number from 1 to 1000."),
        ("RESPONSE_MAXLEN", "0", "is '0': expected a whole number from 1 to 1000000."),
        ("RESPONSE_MAXLEN", "1000001", "is '1000001': expected a whole number from 1 to 1000000."),
        ("RESPONSE_MAXBYTES", "1023", "is '1023': expected a whole number from 1024 to 100000000000."),
        ("RESPONSE_MAXBYTES", "64M", "is '64M': expected a whole number from 1024 to 100000000000."),
        ("MAX_ENTRY_BYTES", "1023", "is '1023': expected a whole number from 1024 to 67108864."),
        ("MAX_ENTRY_BYTES", "67108865", "is '67108865': expected a whole number from 1024 to 67108864."),
        (
            "STREAM_KEEP",
            "4000d",
            "is '4000d': expected a whole number from 0 to 1000000000, or a time such as 7d, 36h or 90m up to 3650d.",
        ),
        (
            "STREAM_KEEP",
            "7w",
            "is '7w': expected a whole number from 0 to 1000000000, or a time such as 7d, 36h or 90m up to 3650d.",
        ),
        (
            "STREAM_KEEP",
            "-1",
            "is '-1': expected a whole number from 0 to 1000000000, or a time such as 7d, 36h or 90m up to 3650d.",
        ),
        (
            "STREAM_KEEP",
            "1000000001",
            "is '1000000001': expected a whole number from 0 to 1000000000, "
            "or a time such as 7d, 36h or 90m up to 3650d.",
        ),
        *(("CLAIM_IDLE", text, f"is {text!r}: expected seconds from 1 to 86400.") for text in ("0.9", "86401")),
        *(("USER_WAIT", text, f"is {text!r}: expected seconds from 0 to 86400.") for text in ("-1", "86401")),
        *(
            ("QUERY_TTL", text, f"is {text!r}: expected seconds from 0.1 to 3600.")
            for text in ("0.09", "3601", "nan", "inf", "5 s")
        ),
        ("ORDERING", "loose", "is 'loose': expected one of strict, parallel."),
        ("TASK_EVENTS", "none", "is 'none': expected one of all, thin, failures."),
        *(
            ("METRICS_PORT", text, f"is {text!r}: expected off or a port from 1 to 65535.")
            for text in ("0", "65536", "on")
        ),
        ("LOG_LEVEL", "loud", "is 'loud': expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL."),
        ("LOG_FORMAT", "xml", "is 'xml': expected one of text, json."),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(name: str, text: str, sentence: str):
    assert sentences(**{name: text}) == [f"{name} {sentence}"]


def test_all_that_is_wrong_is_told_at_once():
    assert sentences(REDIS_URL="", DATABASE_URL=" ", BATCH_SIZE="0") == [
        "REDIS_URL is not set: expected a URL such as redis://localhost:6379/0.",
        "DATABASE_URL is not set: expected a URL such as postgresql://user:password@localhost/db.",
        "BATCH_SIZE is '0': expected a whole number from 1 to 10000.",
    ]


def test_commands_and_answers_need_a_stream_each():
    assert sentences(DBSTORAGE_STREAM="one", RESPONSE_STREAM="one") == [
        "DBSTORAGE_STREAM and RESPONSE_STREAM are both 'one': answers would be read as commands; "
        "expected two different names."
    ]


def test_the_migrations_need_the_database_alone():
    assert load_database_address({"DATABASE_URL": REQUIRED["DATABASE_URL"]}).display == REQUIRED["DATABASE_URL"]
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is not set: expected a URL such as postgresql://user:"):
        load_database_address({})


def test_the_environment_of_the_process_is_read_where_no_other_is_given(monkeypatch: pytest.MonkeyPatch):
    for name, text in {**REQUIRED, "BATCH_SIZE": "7"}.items():
        monkeypatch.setenv(name, text)

    assert load_settings().batch_size == 7
    assert str(load_database_address()) == REQUIRED["DATABASE_URL"]


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
@pytest.mark.parametrize("password", ["a@secret/c", "a/secret", "a?secret=1", "a#secret", "a@b?secret", "a@secret#b@c"])
def test_a_password_that_is_not_percent_encoded_is_told_without_any_part_of_it(name: str, password: str):
    with pytest.raises(SettingsError) as raised:
        load_settings({**REQUIRED, name: f"redis://:{password}@cache:6379/0"})
    sentence = str(raised.value)
    assert sentence.startswith(f"{name} is 'redis://:***@cache:6379/0': ")
    assert "secret" not in sentence


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://secret@cache:6379/0",
        "rediss://secret@cache",
        "unix://secret@/run/redis.sock",
        "redis+sentinel://secret@one:26379/trading/0",
        "sentinel://secret@one:26379/trading/0",
    ],
)
def test_a_password_without_a_colon_before_it_is_not_taken_for_a_user(name: str, url: str):
    with pytest.raises(SettingsError, match="no colon before it") as raised:
        load_settings({**REQUIRED, name: url})
    assert "secret" not in str(raised.value)

    assert load_settings({**REQUIRED, name: url.replace("secret@", "ann:@")})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db:5432/trading?schema=x", "postgresql://ann:***@db:5432/trading"),
        ("redis://:secret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("redis://cache:6379/0?password=secret", "redis://cache:6379/0"),
        ("redis://[fe80::A]:6379/0", "redis://[fe80::A]:6379/0"),
        ("postgresql://ann:sec://ret@db/trading", "postgresql://ann:***@db/trading"),
        ("amqp://broker//", "amqp://broker//"),
        ("postgresql://ann:s@cret:w/rd#secret@db/trading", "postgresql://ann:***@db/trading"),
        ("postgresql://ann:sec?ret@db:x/trading", "postgresql://ann:***@db:x/trading"),
        ("postgresql://ann:secret/trading", "postgresql://***"),
        ("redis://:secret", "redis://***"),
        ("redis://secret@cache:6379/0", "redis://***@cache:6379/0"),
        ("postgresql://ann@db/trading", "postgresql://ann@db/trading"),
        ("redis:/ann:sec://ret@cache:6379/0", "***"),
        ("secret", "***"),
        ("", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BATCHSIZE", "BATCH_SIZE"),
        ("batch_size", "BATCH_SIZE"),
        ("QUERYTTL", "QUERY_TTL"),
        ("QUERY_TTLS", "QUERY_TTL"),
        ("DBSTORAGE_BATCH_SIZE", "BATCH_SIZE"),
        ("REDIS_URI", "REDIS_URL"),
        ("RESPONSE_MAX_LEN", "RESPONSE_MAXLEN"),
    ],
)
def test_a_variable_that_looks_like_ours_is_a_slip(name: str, meant: str):
    assert slips({name: "1", "BATCH_SIZE": "5"}) == {name: meant}


def test_ours_and_those_of_others_are_no_slips():
    others = ("PATH", "HOME", "CELERY_BROKER_READ_URL", "FLOWER_PORT", "POSTGRES_URL", "LOGNAME", "DBSTORAGE_HOME")
    assert slips(dict.fromkeys((*VARIABLES, *others), "1")) == {}
