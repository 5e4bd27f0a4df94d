"""Certificates and keys that URLs name: what is wrong with one is said at the start, and not when a server is asked.

Without this a missing file looks like a server that does not answer, and libpq goes on without verifying anything.
"""

import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AUTHORITIES = "a PEM file with the certificates of the authorities to trust"
CERTIFICATE = "a PEM file with the client's certificate"
KEY = "a PEM file with the private key of the client's certificate, without a passphrase"
#: Everything that libpq takes for the key of a user or of root.
_OTHERS, _OTHERS_OF_ROOT = stat.S_IRWXG | stat.S_IRWXO, stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
#: libpq's name for the authorities that the system knows, and where it looks for none at all.
_OF_THE_SYSTEM, _WITHOUT_TLS = "system", "disable"


def check_tls_files(options: Mapping[str, Any] | None) -> None:
    """Look into the files that a URL of Redis or AMQP names; raises ValueError with what is wrong and expected."""
    options = options or {}
    _check_authorities("ssl_ca_certs", options.get("ssl_ca_certs"))
    _check_client("ssl_certfile", options.get("ssl_certfile"), "ssl_keyfile", options.get("ssl_keyfile"))


def check_files_of_libpq(parameters: Mapping[str, str]) -> None:
    """The same for those of DATABASE_URL, which libpq reads by rules of its own."""
    if parameters.get("sslmode") == _WITHOUT_TLS:
        return
    if parameters.get("sslrootcert") != _OF_THE_SYSTEM:
        _check_authorities("sslrootcert", parameters.get("sslrootcert"))
    certificate, key = parameters.get("sslcert"), parameters.get("sslkey")
    if key is not None:
        _check_permissions("sslkey", key)
    _check_client("sslcert", certificate, "sslkey", key, parameters.get("sslpassword", ""))


def _check_authorities(option: str, path: str | None) -> None:
    if path is None:
        return
    _content(option, path, AUTHORITIES)
    _check_certificates(option, path, AUTHORITIES)


def _check_client(option: str, path: str | None, key_option: str, key: str | None, passphrase: str = "") -> None:
    """A certificate of the client, whose key may stand in the same file."""
    if path is None:
        if key is not None:
            raise ValueError(f"{key_option} is {key!r}, without {option}; expected both")
        return
    _content(option, path, CERTIFICATE)
    _check_certificates(option, path, CERTIFICATE)
    if key is not None:
        _content(key_option, key, KEY)

    def asked() -> str:
        if not passphrase:
            raise ValueError(_wrong(key_option, key or path, "it is encrypted", KEY))
        return passphrase

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(path, key, asked)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"it is not the key of {path!r}"
        else:
            problem = "no private key can be read from it"
        raise ValueError(_wrong(key_option, key or path, problem, KEY)) from None


def _check_certificates(option: str, path: str, expected: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
        found = context.cert_store_stats()["x509"]
    except ssl.SSLError:
        found = 0
    if not found:
        raise ValueError(_wrong(option, path, "no certificate can be read from it", expected))


def _content(option: str, path: str, expected: str) -> None:
    """Raise ValueError unless it is a file that can be read."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError(_wrong(option, path, "it is not a file", expected))
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(_wrong(option, path, (error.strerror or str(error)).lower(), expected)) from None


def _check_permissions(option: str, path: str) -> None:
    try:
        found = Path(path).stat()
    except OSError:
        return  # what comes next says so
    if stat.S_ISREG(found.st_mode) and found.st_mode & (_OTHERS if found.st_uid else _OTHERS_OF_ROOT):
        allowed = "0600" if found.st_uid else "0600, or 0640 as it is root's"
        raise ValueError(
            f"{option} is {path!r}, whose permissions are {stat.S_IMODE(found.st_mode):04o}; expected {allowed}"
        )


def _wrong(option: str, path: str, problem: str, expected: str) -> str:
    return f"{option} is {path!r}: {problem}; expected {expected}"
