"""Files of TLS that a URL names: one that cannot be used is named with its option, its path and what is expected."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from dbstorage.errors import SettingsError
from dbstorage.settings import Settings, load_database_address, load_settings
from tests.service.tls import Certificate, make_certificate

NOBODY = 65_534
REQUIRED = {"REDIS_URL": "redis://cache", "DATABASE_URL": "postgresql://ann@db/trading"}


class Family(NamedTuple):
    """URLs that name their files in the same words."""

    variable: str
    url: str
    authorities: str
    certificate: str
    key: str

    def load(self, **options: object) -> Settings:
        """The settings with these options, named by the fields above."""
        written = "&".join(f"{getattr(self, name)}={path}" for name, path in options.items())
        return load_settings({**REQUIRED, self.variable: f"{self.url}?{written}"})

    def refusal(self, **options: object) -> str:
        with pytest.raises(SettingsError) as raised:
            self.load(**options)
        [sentence] = raised.value.sentences
        assert "secret" not in sentence
        return sentence


REDIS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
FAMILIES = [
    Family("REDIS_URL", "rediss://:secret@cache/0", *REDIS),
    Family("REDIS_URL", "rediss+sentinel://:secret@one,two/trading/0", *REDIS),
    Family("CELERY_BROKER_URL", "rediss://:secret@cache/0", *REDIS),
    Family("CELERY_BROKER_URL", "rediss+sentinel://:secret@one/trading", *REDIS),
    Family("CELERY_BROKER_URL", "amqps://ann:secret@broker/shop", *REDIS),
    Family("DATABASE_URL", "postgresql://ann:secret@db/trading", "sslrootcert", "sslcert", "sslkey"),
]
LIBPQ = FAMILIES[-1]
families = pytest.mark.parametrize(
    "family", FAMILIES, ids=lambda family: family.url.partition(":")[0] + family.variable
)

Make = Callable[[Path, Certificate], Path]


def written(text: str) -> Make:
    def make(directory: Path, certificate: Certificate) -> Path:
        path = directory / "file.pem"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return make


UNREADABLE: list[tuple[str, Make]] = [
    ("no such file or directory", lambda directory, certificate: directory / "missing.pem"),
    ("not a directory", lambda directory, certificate: certificate.key / "missing.pem"),
    ("it is not a file", lambda directory, certificate: directory),
]
NO_CERTIFICATE: list[tuple[str, Make]] = [
    *UNREADABLE,
    ("no certificate can be read from it", written("")),
    ("no certificate can be read from it", written("hello")),
    ("no certificate can be read from it", written("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
    ("no certificate can be read from it", lambda directory, certificate: certificate.key),
]
NO_KEY: list[tuple[str, Make]] = [
    *UNREADABLE,
    ("no private key can be read from it", written("hello")),
    ("no private key can be read from it", written("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
]


@families
def test_files_that_can_be_used_are_taken(family: Family, certificate: Certificate) -> None:
    family.load(authorities=certificate.certificate)
    family.load(authorities=certificate.certificate, certificate=certificate.certificate, key=certificate.key)


@families
@pytest.mark.parametrize(("problem", "make"), NO_CERTIFICATE)
def test_a_file_without_a_certificate_is_named_with_its_option(
    family: Family, problem: str, make: Make, certificate: Certificate, tmp_path: Path
) -> None:
    path = make(tmp_path, certificate)
    sentence = family.refusal(authorities=path)
    assert sentence.startswith(f"{family.variable} is ")
    assert f"{family.authorities} is {str(path)!r}: {problem}; expected a PEM file with the certificates" in sentence
    sentence = family.refusal(certificate=path, key=certificate.key)
    assert f"{family.certificate} is {str(path)!r}: {problem}; expected a PEM file with the client's" in sentence


@families
@pytest.mark.parametrize(("problem", "make"), NO_KEY)
def test_a_file_without_a_key_is_named_with_its_option(
    family: Family, problem: str, make: Make, certificate: Certificate, tmp_path: Path
) -> None:
    path = make(tmp_path, certificate)
    sentence = family.refusal(certificate=certificate.certificate, key=path)
    assert f"{family.key} is {str(path)!r}: {problem}; expected a PEM file with the private key" in sentence


@families
def test_the_key_of_another_certificate_is_refused(family: Family, certificate: Certificate, tmp_path: Path) -> None:
    other = make_certificate(tmp_path)
    sentence = family.refusal(certificate=certificate.certificate, key=other.key)
    assert f"{family.key} is {str(other.key)!r}: it is not the key of {str(certificate.certificate)!r}" in sentence


@families
def test_a_key_alone_is_refused(family: Family, certificate: Certificate) -> None:
    sentence = family.refusal(key=certificate.key)
    assert f"{family.key} is {str(certificate.key)!r}, without {family.certificate}; expected both" in sentence


@families
def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(
    family: Family, certificate: Certificate, tmp_path: Path
) -> None:
    key = encrypted(certificate.key, tmp_path)
    sentence = family.refusal(certificate=certificate.certificate, key=key)
    assert f"{family.key} is {str(key)!r}: it is encrypted; expected a PEM file with the private key" in sentence


def encrypted(key: Path, directory: Path) -> Path:
    made = directory / "encrypted.pem"
    words = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(made), "-passout", "pass:phrase"]
    subprocess.run(words, check=True, capture_output=True)
    made.chmod(0o600)
    return made


def test_libpq_is_told_the_passphrase_of_a_key(certificate: Certificate, tmp_path: Path) -> None:
    key = encrypted(certificate.key, tmp_path)
    url = f"{LIBPQ.url}?sslcert={certificate.certificate}&sslkey={key}&sslpassword="
    load_settings({**REQUIRED, "DATABASE_URL": url + "phrase"})
    with pytest.raises(SettingsError, match="no private key can be read from it"):
        load_settings({**REQUIRED, "DATABASE_URL": url + "other"})


def test_a_key_that_others_may_read_is_refused_as_libpq_does(certificate: Certificate, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(certificate.key.read_bytes())
    key.chmod(0o644)
    sentence = LIBPQ.refusal(certificate=certificate.certificate, key=key)
    assert f"sslkey is {str(key)!r}, whose permissions are 0644; expected 0600" in sentence


def test_a_file_that_may_not_be_read_is_named(certificate: Certificate, tmp_path: Path) -> None:
    path = written("hello")(tmp_path, certificate)
    path.chmod(0)
    with as_an_ordinary_user():
        assert f"ssl_ca_certs is {str(path)!r}: permission denied" in FAMILIES[0].refusal(authorities=path)


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Root reads every file."""
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("options", ["sslrootcert=system&sslmode=verify-full", "sslrootcert=/nowhere&sslmode=disable"])
def test_libpq_reads_no_file_of_authorities_that_the_system_knows_or_without_tls(options: str) -> None:
    load_settings({**REQUIRED, "DATABASE_URL": f"{LIBPQ.url}?{options}"})


def test_a_migration_is_told_as_well() -> None:
    with pytest.raises(SettingsError, match="no such file or directory; expected a PEM file"):
        load_database_address({"DATABASE_URL": f"{LIBPQ.url}?sslrootcert=/nowhere/ca.pem"})


def test_a_worker_says_so_and_ends_as_with_other_wrong_settings() -> None:
    environment = {**os.environ, **REQUIRED, "CELERY_BROKER_URL": "amqps://broker?ssl_ca_certs=/nowhere/ca.pem"}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "dbstorage", "worker"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(
        "CELERY_BROKER_URL is 'amqps://broker': ssl_ca_certs is '/nowhere/ca.pem': no such file"
    )
    assert "Traceback" not in done.stderr
