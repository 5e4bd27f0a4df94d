"""The options of a Redis URL: those of TLS, which redis-py and Celery's broker are to take alike."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
VERIFICATIONS = ("required", "optional", "none")


def with_tls_options(url: str) -> str:
    """The URL with its options as both read them; raises ValueError for one that either does not know.

    A server's certificate is verified unless `ssl_cert_reqs` says otherwise: left to itself, the broker would not.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if parts.scheme != "rediss" or name not in OPTIONS:
            raise ValueError(f"its option {name!r} is not known; expected none, or with rediss:// {', '.join(OPTIONS)}")
    if parts.scheme != "rediss":
        return url
    # Celery's documentation writes CERT_NONE, redis-py's none.
    verification = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if verification not in VERIFICATIONS:
        raise ValueError(f"ssl_cert_reqs is {options['ssl_cert_reqs']!r}; expected one of {', '.join(VERIFICATIONS)}")
    return urlunsplit(parts._replace(query=urlencode({**options, "ssl_cert_reqs": verification}, safe="/")))
