"""CELERY_BROKER_URL as Celery takes it: what kombu does not read from a URL becomes settings of its own."""

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

AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")
#: What kombu itself reads from the URL of an AMQP broker.
AMQP_OPTIONS = ("heartbeat", "connect_timeout", "login_method")
_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_FALSE = ("0", "false", "no", "n")


class BrokerAddress(NamedTuple):
    """kombu's URL, its `ssl` (None: as the URL says), and its options of the transport."""

    url: str
    ssl: dict[str, Any] | None
    transport_options: dict[str, Any]


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
    tls_options(options)
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
        options = {"master_name": address.service, "sentinel_kwargs": asking}
        return BrokerAddress(sentinels_for_kombu(address), tls, options)
    if url.startswith("unix://"):
        return BrokerAddress(socket_for_kombu(url), None, {})
    if is_redis(url) or not url.startswith("amqps://"):
        return BrokerAddress(url, None, {})
    parts = urlsplit(url)
    written = dict(parse_qsl(parts.query, keep_blank_values=True))
    tls = _amqp_tls(tls_options({name: value for name, value in written.items() if name in OPTIONS}))
    left = {name: value for name, value in written.items() if name not in OPTIONS}
    return BrokerAddress(urlunsplit(parts._replace(query=urlencode(left))), tls, {})


def _amqp_tls(options: dict[str, str]) -> dict[str, Any]:
    """The options as py-amqp names them."""
    named = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
    tls: dict[str, Any] = {named[name]: value for name, value in options.items() if name in named}
    tls["cert_reqs"] = _VERIFY[options["ssl_cert_reqs"]]
    compares_names = options.get("ssl_check_hostname", "true").lower() not in _FALSE
    if compares_names and tls["cert_reqs"] is not ssl.CERT_NONE:
        # kombu puts the host of the URL in its place, which is then compared with the certificate.
        tls["server_hostname"] = None
    return tls
