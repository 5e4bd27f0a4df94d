"""TLS with real handshakes: the service verifies the server's certificate, and never talks without TLS."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from dbstorage.cli import main
from dbstorage.redis_access.client import connect_redis
from tests.chaos.sentinels import PASSWORD, SENTINEL_PASSWORD, SERVICE, Server
from tests.service.platform import Platform, order, question, user
from tests.service.rabbitmq import running_rabbitmq
from tests.service.tls import Certificate, TlsFront, make_certificate
from tests.service.worker import StartWorker
from tests.waiting import wait_until


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def secured(url: str, scheme: str, port: int, options: str) -> str:
    """The same server behind its TLS."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return f"{scheme}://{login}@127.0.0.1:{port}{parts.path}?{options}"


def serves(platform: Platform, name: str) -> None:
    """A write and a question, through a worker that runs."""
    platform.send(user(name), order(f"o-{name}", name), question(name, f"r-{name}"))
    assert [each["orderId"] for each in platform.answer_to(f"r-{name}")["orders"]] == [f"o-{name}"]


def test_redis_and_the_broker_through_tls(
    platform: Platform, redis_url: str, certificate: Certificate, start_worker: StartWorker, monkeypatch: Any
) -> None:
    with TlsFront(certificate, port_of(redis_url)) as front:
        url = secured(redis_url, "rediss", front.port, f"ssl_ca_certs={certificate.certificate}")
        start_worker("tls", REDIS_URL=url, QUERY_TTL="3600")
        serves(platform, "ann")
        # Two connections of the reader, those of the pool and of the broker.
        assert front.handshakes > 3
        monkeypatch.setenv("REDIS_URL", url)
        monkeypatch.setenv("DATABASE_URL", platform.database_url)
        assert CliRunner().invoke(main, ["status"]).exit_code == 0


def test_a_certificate_that_nobody_vouches_for_is_refused_with_a_sentence(
    platform: Platform, redis_url: str, certificate: Certificate, monkeypatch: Any
) -> None:
    with TlsFront(certificate, port_of(redis_url)) as front:
        monkeypatch.setenv("REDIS_URL", secured(redis_url, "rediss", front.port, ""))
        monkeypatch.setenv("DATABASE_URL", platform.database_url)
        result = CliRunner().invoke(main, ["status"])
        assert result.exit_code == 3
        assert "certificate verify failed" in result.output
        assert front.handshakes == 0


def test_streams_and_broker_leave_the_name_uncompared_where_the_url_says_so(
    platform: Platform, redis_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    certificate = make_certificate(tmp_path, "DNS:somewhere.else")
    with TlsFront(certificate, port_of(redis_url)) as front:
        url = secured(redis_url, "rediss", front.port, f"ssl_ca_certs={certificate.certificate}")
        monkeypatch.setenv("REDIS_URL", f"{url}&ssl_check_hostname=no")
        monkeypatch.setenv("CELERY_BROKER_URL", f"{url}&ssl_check_hostname=No")
        monkeypatch.setenv("DATABASE_URL", platform.database_url)
        checked = CliRunner().invoke(main, ["check"]).output
        assert re.search(r"fine +Redis ", checked)
        assert re.search(r"fine +Broker ", checked)
        monkeypatch.setenv("REDIS_URL", url)
        result = CliRunner().invoke(main, ["check"])
        assert result.exit_code == 3
        assert "certificate is not valid for '127.0.0.1'" in result.output


@pytest.fixture
def sentinel_url(tmp_path: Path, certificate: Certificate) -> Iterator[str]:
    """A master and one sentinel, both behind TLS; the sentinel itself reaches the master without."""
    data = Server(tmp_path, "data", [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"])
    data.start()
    with TlsFront(certificate, data.port) as front:
        watch = [
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {front.port} 1",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
        ]
        sentinel = Server(tmp_path, "sentinel", watch, sentinel=True)
        sentinel.start()
        try:
            with TlsFront(certificate, sentinel.port) as asked:
                login = f":p%40ss@127.0.0.1:{asked.port}/{SERVICE}/0"
                options = f"sentinel_password=s%26cret&ssl_ca_certs={certificate.certificate}"
                yield f"rediss+sentinel://{login}?{options}"
                assert front.handshakes
                assert asked.handshakes
        finally:
            sentinel.kill()
            data.kill()


def test_the_service_works_with_a_sentinel_and_its_master_through_tls(
    sentinel_url: str, database_url: str, start_worker: StartWorker
) -> None:
    platform = Platform("redis://unused", database_url)
    platform.redis = wait_until(lambda: connected(sentinel_url), "the sentinel to know its master")
    try:
        start_worker("tls", REDIS_URL=sentinel_url, QUERY_TTL="3600")
        serves(platform, "ann")
    finally:
        platform.close()


def connected(url: str) -> Any:
    client = connect_redis(url)
    try:
        client.ping()
    except Exception:  # noqa: BLE001  # it is not up yet, in whatever way
        return None
    return client


def test_the_service_works_with_rabbitmq_through_tls(
    platform: Platform, certificate: Certificate, start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "rabbitmq").mkdir()
    with running_rabbitmq(tmp_path / "rabbitmq") as url, TlsFront(certificate, port_of(url)) as front:
        broker = f"amqps://guest:guest@127.0.0.1:{front.port}//?ssl_ca_certs={certificate.certificate}"
        start_worker("tls", CELERY_BROKER_URL=broker, QUERY_TTL="3600")
        serves(platform, "ann")
        assert front.handshakes


def test_the_service_works_with_postgresql_through_tls_and_verifies_it(
    platform: Platform, certificate: Certificate, start_worker: StartWorker
) -> None:
    with TlsFront(certificate, port_of(platform.database_url)) as front:
        options = f"sslmode=verify-full&sslrootcert={certificate.certificate}"
        start_worker(
            "tls", DATABASE_URL=secured(platform.database_url, "postgresql", front.port, options), QUERY_TTL="3600"
        )
        serves(platform, "ann")
        assert front.handshakes


def test_a_postgresql_of_another_name_is_refused(platform: Platform, tmp_path: Path, monkeypatch: Any) -> None:
    certificate = make_certificate(tmp_path, "DNS:somewhere.else")
    with TlsFront(certificate, port_of(platform.database_url)) as front:
        options = f"sslmode=verify-full&sslrootcert={certificate.certificate}"
        monkeypatch.setenv("DATABASE_URL", secured(platform.database_url, "postgresql", front.port, options))
        monkeypatch.setenv("REDIS_URL", platform.environment["REDIS_URL"])
        result = CliRunner().invoke(main, ["status"])
        assert result.exit_code == 3
        assert "does not match host name" in result.output
