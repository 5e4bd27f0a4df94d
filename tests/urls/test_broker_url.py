"""URLs of a broker, and of a Redis behind sentinels or a Unix socket: what is taken, and what kombu is told."""

import ssl
from typing import Any

import pytest
from celery import Celery
from kombu.connection import Connection

from dbstorage.application import configuration
from dbstorage.errors import SettingsError
from dbstorage.settings import Settings, load_settings, without_password
from dbstorage.urls.broker_url import broker_address
from dbstorage.urls.redis_url import SentinelAddress, parse_sentinel_url
from tests.service.tls import Certificate

REQUIRED = {"REDIS_URL": "redis://cache", "DATABASE_URL": "postgresql://ann@db/trading"}
SENTINELS = "redis+sentinel://app:p%40w@one:26380,two,[::1]:26381/trading/3"


def broker(url: str) -> Settings:
    return load_settings({**REQUIRED, "CELERY_BROKER_URL": url})


@pytest.mark.parametrize(
    ("url", "told", "tls"),
    [
        ("amqp://broker//shop", "amqp://broker//shop", None),
        ("amqps://broker/shop", "amqps://broker/shop", {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}),
        (
            "amqps://broker?ssl_ca_certs={certificate}&heartbeat=5&ssl_certfile={certificate}&ssl_keyfile={key}",
            "amqps://broker?heartbeat=5",
            {
                "cert_reqs": ssl.CERT_REQUIRED,
                "ca_certs": "{certificate}",
                "certfile": "{certificate}",
                "keyfile": "{key}",
                "server_hostname": None,
            },
        ),
        ("amqps://broker?ssl_cert_reqs=CERT_NONE", "amqps://broker", {"cert_reqs": ssl.CERT_NONE}),
        ("amqps://broker?ssl_check_hostname=No", "amqps://broker", {"cert_reqs": ssl.CERT_REQUIRED}),
        ("amqp://broker?connect_timeout=2&heartbeat=5", "amqp://broker?heartbeat=5", None),
        ("redis://cache/1", "redis://cache/1", None),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3", None),
        ("unix://:p%40w@/run/redis.sock", "redis+socket://:p%40w@/run/redis.sock?virtual_host=0", None),
        (
            "rediss+sentinel://one/trading?ssl_ca_certs={certificate}&ssl_check_hostname=0",
            "sentinel://one:26379/0",
            {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "{certificate}", "ssl_check_hostname": False},
        ),
    ],
)
def test_what_kombu_does_not_read_from_a_url_becomes_settings(
    url: str, told: str, tls: Any, certificate: Certificate
) -> None:
    files = {name: str(path) for name, path in certificate._asdict().items()}
    address = broker_address(broker(url.format(**files)).broker_url)
    if tls is not None:
        tls = {name: value.format(**files) if isinstance(value, str) else value for name, value in tls.items()}
    assert (address.url, address.ssl) == (told, tls)


def test_seconds_for_connecting_are_a_number_for_celery() -> None:
    assert configuration(broker("amqp://broker?connect_timeout=2.5"))["broker_connection_timeout"] == 2.5
    assert (
        configuration(broker("amqp://broker"))["broker_connection_timeout"] == Celery().conf.broker_connection_timeout
    )


@pytest.mark.parametrize(
    "url",
    [
        "amqps://broker?ssl_cert_reqs=optional&ssl_check_hostname=no",
        "amqp://broker?heartbeat=5&connect_timeout=2&login_method=AMQPLAIN",
        SENTINELS,
    ],
)
def test_kombu_takes_every_url_that_is_taken(url: str) -> None:
    address = broker_address(broker(url).broker_url)
    connect: Any = Connection
    # Raised a TypeError for an option that it does not know.
    connect(address.url, ssl=address.ssl or False, transport_options=address.transport_options)


def test_sentinels_keep_login_database_and_service_apart() -> None:
    hosts = (("one", 26380), ("two", 26379), ("::1", 26381))
    assert parse_sentinel_url(SENTINELS) == SentinelAddress(hosts, "trading", 3, "app", "p@w", None, None, None)
    asked = parse_sentinel_url("rediss+sentinel://one/t?sentinel_username=u&sentinel_password=x%26y")
    assert (asked.sentinel_username, asked.sentinel_password, asked.tls) == ("u", "x&y", {"ssl_cert_reqs": "required"})


def test_sentinels_for_the_broker_are_kombus_own_form() -> None:
    address = broker_address(broker(SENTINELS + "?sentinel_password=s").broker_url)
    one = "sentinel://app:p%40w@"
    assert address.url == f"{one}one:26380/3;{one}two:26379/3;{one}[::1]:26381/3"
    assert address.transport_options["master_name"] == "trading"
    assert address.transport_options["sentinel_kwargs"]["password"] == "s"


def test_the_short_name_of_sentinels_means_the_same() -> None:
    assert broker("sentinel://one,two/trading").broker_url == "redis+sentinel://one,two/trading"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("amqp://broker?heartbeat=maybe", "heartbeat is 'maybe'; expected seconds, such as 10"),
        ("amqp://broker?heartbeat=-1", "heartbeat is '-1'; expected seconds, such as 10"),
        ("amqp://broker?connect_timeout=", "connect_timeout is ''; expected seconds, such as 10"),
        (
            "amqp://broker?login_method=plain",
            "login_method is 'plain'; expected one of PLAIN, AMQPLAIN, EXTERNAL, GSSAPI",
        ),
        ("amqps://broker?ssl_check_hostname=maybe", "ssl_check_hostname is 'maybe'; expected true or false"),
        ("rediss+sentinel://one/t?ssl_check_hostname=", "ssl_check_hostname is ''; expected true or false"),
        ("amqps://broker?ssl_ca_cert=x", "its option 'ssl_ca_cert' is not known; expected heartbeat"),
        ("amqp://broker?ssl_ca_certs=x", "its option 'ssl_ca_certs' is not known; expected heartbeat"),
        ("amqps://broker?ssl_cert_reqs=some", "ssl_cert_reqs is 'some'; expected one of required, optional, none"),
        ("sentinel://one,two", "expected redis+sentinel://user:password@host1:26379,host2:26379/name-of-the-service/0"),
        ("sentinel://one:x/trading", "hosts with commas between them, and ports from 1 to 65535"),
        ("sentinel://one:70000/trading", "hosts with commas between them, and ports from 1 to 65535"),
        ("sentinel://one/trading/x", "the part after the service is 'x'; expected the number of a Redis database"),
        ("sentinel://one/trading?service=x", "its option 'service' is not known; expected sentinel_username"),
        ("redis+sentinel://:secret@w@one/trading", "special characters in a password percent-encoded (@ as %40)"),
        ("unix://host/run/redis.sock", "expected unix:///path/to/redis.sock?db=0"),
        ("unix://", "expected unix:///path/to/redis.sock?db=0"),
        ("unix:///run/redis.sock?db=x", "expected no option but the number of a Redis database"),
        ("redis+socket:///run/redis.sock", "expected a URL that begins with redis://, rediss://, unix://"),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        broker(url)
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis+sentinel://one:26379,two/trading/0", "redis+sentinel://one:26379,two/trading/0"),
        ("redis+sentinel://:secret@one,two/t?sentinel_password=x", "redis+sentinel://:***@one,two/t"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("amqps://ann:secret@broker/shop?ssl_keyfile=k", "amqps://ann:***@broker/shop"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
