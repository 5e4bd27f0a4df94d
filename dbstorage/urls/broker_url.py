"""CELERY_BROKER_URL as Celery takes it: what kombu does not read from a URL becomes settings of its own."""

import re
import ssl
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from dbstorage.urls.redis_url import (
    OPTIONS,
    checked_redis_url,
    is_redis,
    is_sentinel,
    parse_sentinel_url,
    sentinels_for_kombu,
    socket_for_kombu,
    tls_options,
)
from dbstorage.urls.tls_files import check_tls_files

AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")
#: Of the URL of an AMQP broker, in seconds or as a word; those of TLS come on top with amqps://.
AMQP_OPTIONS = ("heartbeat", "connect_timeout", "login_method")
LOGIN_METHODS = ("PLAIN", "AMQPLAIN", "EXTERNAL", "GSSAPI")
_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
#: Celery's own, in seconds.
CONNECT_TIMEOUT = 4.0


class BrokerAddress(NamedTuple):
    """kombu's URL, its `ssl` (None: as the URL says), its options of the transport, and seconds for connecting."""

    url: str
    ssl: dict[str, Any] | None
    transport_options: dict[str, Any]
    connect_timeout: float = CONNECT_TIMEOUT


def checked_broker_url(text: str) -> str:
    """The URL as everything here reads it; raises ValueError with what is expected."""
    scheme = text.partition("://")[0]
    if scheme not in AMQP_SCHEMES:
        return checked_redis_url(text)
    options = dict(parse_qsl(urlsplit(text).query, keep_blank_values=True))
    known = (*AMQP_OPTIONS, *OPTIONS) if scheme == "amqps" else AMQP_OPTIONS
    for name in options:
        if name not in known:
            raise ValueError(
                f"its option {name!r} is not known; expected {', '.join(AMQP_OPTIONS)}, "
                f"or with amqps:// {', '.join(OPTIONS)}"
            )
    for name in ("heartbeat", "connect_timeout"):
        if name in options and not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", options[name], re.ASCII):
            raise ValueError(f"{name} is {options[name]!r}; expected seconds, such as 10")
    if options.get("login_method", LOGIN_METHODS[0]) not in LOGIN_METHODS:
        raise ValueError(f"login_method is {options['login_method']!r}; expected one of {', '.join(LOGIN_METHODS)}")
    check_tls_files(tls_options(options))
    return text


def broker_address(url: str) -> BrokerAddress:
    """What kombu is told of a broker whose URL was checked."""
    if is_sentinel(url):
        address = parse_sentinel_url(url)
        # Without a limit of its own each sentinel that is away would cost seconds.
        asking: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        if address.sentinel_username is not None:
            asking["username"] = address.sentinel_username
        if address.sentinel_password is not None:
            asking["password"] = address.sentinel_password
        tls = None
        if address.tls is not None:
            tls = {**address.tls, "ssl_cert_reqs": _VERIFY[address.tls["ssl_cert_reqs"]]}
            asking |= {"ssl": True, **tls}
        return BrokerAddress(
            sentinels_for_kombu(address), tls, {"master_name": address.service, "sentinel_kwargs": asking}
        )
    if url.startswith("unix://"):
        return BrokerAddress(socket_for_kombu(url), None, {})
    if is_redis(url):
        return BrokerAddress(url, None, {})
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    # kombu would hand the text on, and a socket wants a number.
    seconds = float(options.pop("connect_timeout", "") or CONNECT_TIMEOUT)
    left = {name: value for name, value in options.items() if name not in OPTIONS}
    tls = _amqp_tls(tls_options(options)) if parts.scheme == "amqps" else None
    plain = urlunsplit(parts._replace(query=urlencode(left)))
    return BrokerAddress(plain, tls, {}, seconds)


def _amqp_tls(options: dict[str, str]) -> dict[str, Any]:
    """The options as py-amqp names them."""
    named = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
    tls: dict[str, Any] = {named[name]: value for name, value in options.items() if name in named}
    tls["cert_reqs"] = _VERIFY[options["ssl_cert_reqs"]]
    if options.get("ssl_check_hostname") != "false" and tls["cert_reqs"] is not ssl.CERT_NONE:
        # kombu puts the host of the URL in its place, which is then compared with the certificate.
        tls["server_hostname"] = None
    return tls
