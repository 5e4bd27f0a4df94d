import pytest

from dbstorage.errors import SettingsError
from dbstorage.settings import Settings, load_settings
from tests.service.tls import Certificate

DATABASE = {"DATABASE_URL": "postgresql://ann@db/trading"}


def settings(url: str) -> Settings:
    return load_settings({**DATABASE, "REDIS_URL": url})


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("redis://:s%40cret@cache:6379/0", "redis://:s%40cret@cache:6379/0"),
        ("rediss://:s%40cret@cache:6379/0", "rediss://:s%40cret@cache:6379/0?ssl_cert_reqs=required"),
        ("rediss://cache/0?ssl_cert_reqs=CERT_NONE", "rediss://cache/0?ssl_cert_reqs=none"),
        # redis-py takes this for no, the broker for yes.
        ("rediss://cache?ssl_check_hostname=no", "rediss://cache?ssl_check_hostname=false&ssl_cert_reqs=required"),
        (
            "rediss://cache/0?ssl_cert_reqs=optional&ssl_ca_certs={certificate}",
            "rediss://cache/0?ssl_cert_reqs=optional&ssl_ca_certs={certificate}",
        ),
    ],
)
def test_a_certificate_is_verified_unless_the_url_says_otherwise(url: str, read: str, certificate: Certificate) -> None:
    found = settings(url.format(certificate=certificate.certificate))
    assert found.redis_url == found.broker_url == read.format(certificate=certificate.certificate)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://:secret@cache/0?x=1", "REDIS_URL is 'redis://:***@cache/0': its option 'x' is not known"),
        ("redis://cache/0?x=", "its option 'x' is not known"),
        ("redis://cache/0?socket_timeout=abc", "its option 'socket_timeout' is not known"),
        ("redis://cache/0?password=secret", "its option 'password' is not known"),
        ("redis://cache/0?ssl_cert_reqs=none", "or with rediss:// ssl_cert_reqs, ssl_ca_certs"),
        ("rediss://cache/0?ssl_check_hostname=maybe", "ssl_check_hostname is 'maybe'; expected true or false."),
        ("rediss://cache/0?ssl_cert_reqs=some", "ssl_cert_reqs is 'some'; expected one of required, optional, none."),
    ],
)
def test_an_option_that_redis_or_the_broker_does_not_know_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(url)
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)
