import re
from urllib.parse import quote, urlencode

import psycopg2
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from dbstorage.database import url as database_url
from dbstorage.database.url import CHOICES, SSL_MODES, WHOLE_NUMBERS, parse_database_url

# What people put into passwords, and what has a meaning of its own in a URL.
PASSWORDS = st.text(st.sampled_from("aZ09@:/?#%&=+[]!$ .,;~é"), min_size=1, max_size=12)

NO_DATABASE = "it names no database; expected one after the host, as in postgresql://user@host/database"


def parts(text: str) -> tuple[object, ...]:
    url = parse_database_url(text).url
    return url.username, url.password, url.host, url.port, url.database


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://ann:pw@db.example.com:5433/trading", ("ann", "pw", "db.example.com", 5433, "trading")),
        ("postgresql://ann:pw@localhost/trading", ("ann", "pw", "localhost", None, "trading")),
        ("POSTGRESQL://ann@localhost/trading", ("ann", None, "localhost", None, "trading")),
        ("postgresql://postgres:@localhost/trading", ("postgres", None, "localhost", None, "trading")),
        ("postgresql://localhost/trading", (None, None, "localhost", None, "trading")),
        ("postgresql:///trading", (None, None, None, None, "trading")),
        ("postgresql://ann:pw@[::1]:5433/trading", ("ann", "pw", "::1", 5433, "trading")),
        ("postgresql://ann%40home:p%40s%2F@localhost/tra%20ding", ("ann@home", "p@s/", "localhost", None, "tra ding")),
        ("postgresql://db?user=ann&password=pw&dbname=trading&port=5433", ("ann", "pw", "db", 5433, "trading")),
        ("postgresql://ann:pw@one/trading?host=other", ("ann", "pw", "other", None, "trading")),
        ("postgresql://db:5432/trading?port=65535", (None, None, "db", 65_535, "trading")),
        ("postgresql://ann:p@w@db/trading?sslrootcert=/etc/a@b/ca.pem", ("ann", "p@w", "db", None, "trading")),
        ("postgresql://ann:pw@db?dbname=trading&sslrootcert=/a@b/c", ("ann", "pw", "db", None, "trading")),
        ("  postgresql://ann:pw@db_1/trading\n", ("ann", "pw", "db_1", None, "trading")),
    ],
)  # fmt: skip
def test_the_parts_of_a_url_are_found(text, expected):
    assert parts(text) == expected


@pytest.mark.parametrize(
    "password",
    [
        "p@ss:w/rd#",
        "a?b",
        "a/b",
        "12/34",
        "100%",
        "50%25x%zz",
        "#",
        "a@b@c",
        "?",
        "/",
        "a&b=c",
        "p?w/x@y:z",
        "1?a=2",
        "a://b",
    ],
)
def test_a_password_that_is_not_encoded_is_found_where_that_can_be_decided(password):
    address = parse_database_url(f"postgresql://ann:{password}@db:5433/trading?application_name=a@b&schema=x")
    expected = "50%x%zz" if password.startswith("50") else password
    assert (address.url.password, address.url.host, address.url.database) == (expected, "db", "trading")
    assert (address.search_path, address.url.query) == ("x", {"application_name": "a@b"})


@given(PASSWORDS)
@example("%2F")
def test_every_encoded_password_comes_back(password):
    assert parts(f"postgresql://ann:{quote(password, safe='')}@db:5433/trading") == (
        "ann",
        password,
        "db",
        5433,
        "trading",
    )


@given(
    PASSWORDS,
    st.booleans(),
    st.sampled_from(["@db/trading", "@db:x/trading", "@db", "", "@/", "@db/trading?sslmode=q"]),
)
def test_a_password_is_never_shown(password, encoded, rest):
    # With nothing after it, `secret@/secret` is a URL in itself: nobody can tell that its database is half a password.
    assume(encoded or rest)
    secret = f"secret{password}secret"
    text = f"postgresql://ann:{quote(secret, safe='') if encoded else secret}{rest}"
    try:
        address = parse_database_url(text)
    except ValueError as error:
        shown = str(error)
    else:
        shown = f"{address} {address!r} {address.display} {[address]}"
    assert "secret" not in shown


def test_a_schema_becomes_the_search_path():
    assert parse_database_url("postgresql://db/trading?schema=my%20schema").search_path == "my schema"


def test_the_schema_is_public_unless_named_as_with_prisma():
    assert parse_database_url("postgresql://db/trading").search_path == "public"
    assert parse_database_url("postgresql://db/trading?schema=").search_path == "public"
    assert parse_database_url("postgresql://db/trading?options=-c%20search_path%3Dmine").search_path is None
    assert parse_database_url("postgresql://db/trading?options=-csearch_path=mine").search_path is None


def test_parameters_of_libpq_are_kept_and_all_others_dropped_by_name():
    address = parse_database_url(
        "postgresql://db/trading?schema=x&connection_limit=5&sslmode=require&pool_timeout=2&pgbouncer=true"
        "&sslaccept=strict&sslrootcert=/ca.pem&statement_cache_size=0&connect_timeout=10&application_name=shop"
        "&options=-c%20work_mem%3D8MB&socket_timeout=3"
    )
    assert address.url.query == {
        "sslmode": "require",
        "sslrootcert": "/ca.pem",
        "connect_timeout": "10",
        "application_name": "shop",
        "options": "-c work_mem=8MB",
    }
    assert address.dropped == (
        "connection_limit", "pool_timeout", "pgbouncer", "sslaccept", "statement_cache_size", "socket_timeout",
    )  # fmt: skip
    assert address.behind_pgbouncer
    plain = parse_database_url("postgresql://db/trading?connect_timeout=99999")
    assert (plain.parameters, plain.dropped, plain.behind_pgbouncer) == ((("connect_timeout", "99999"),), (), False)
    assert parse_database_url("postgresql://db/trading").dropped == ()


def test_a_certificate_without_a_key_is_prismas_and_dropped():
    # For Prisma `sslcert` is the server's, for libpq the client's, which is of no use without its key.
    assert parse_database_url("postgresql://db/trading?sslcert=ca.pem&sslpassword=x").dropped == (
        "sslcert",
        "sslpassword",
    )
    assert parse_database_url("postgresql://db/trading?sslcert=me.pem&sslkey=me.key").dropped == ()


@pytest.mark.parametrize(
    ("text", "port", "query"),
    [
        ("postgresql://ann@localhost/trading?host=/var/run/postgresql", None, {"host": "/var/run/postgresql"}),
        ("postgresql://ann@localhost:5433/trading?host=/var/run", 5433, {"host": "/var/run"}),
        ("postgresql://%2Fvar%2Frun/trading", None, {"host": "/var/run"}),
        ("postgresql://one:5432,two:5433/trading", None, {"host": "one,two", "port": "5432,5433"}),
        ("postgresql:///trading?host=one,two&port=5432,5433", None, {"host": "one,two", "port": "5432,5433"}),
        ("postgresql://[::1],[::2]:5433/trading", None, {"host": "::1,::2", "port": ",5433"}),
        ("postgresql://one,two/trading", None, {"host": "one,two"}),
    ],
)
def test_sockets_and_several_hosts_stay_libpqs_business(text, port, query):
    url = parse_database_url(text).url
    assert (url.host, url.port, url.query) == (None, port, query)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a URL that begins with postgresql:// or postgres://"),
        ("localhost/trading", "expected a URL that begins with postgresql:// or postgres://"),
        ("mysql://db/trading", "expected a URL that begins with postgresql:// or postgres://"),
        ("postgresql://ann:pw@db", NO_DATABASE),
        ("postgresql://ann:pw@db/", NO_DATABASE),
        ("postgresql://ann:pw@db:0/trading", "expected a port from 1 to 65535"),
        ("postgresql://ann:pw@db:65536/trading", "expected a port from 1 to 65535"),
        ("postgresql://db/trading?sslmode=yes", f"sslmode is 'yes'; expected one of {', '.join(SSL_MODES)}"),
        ("postgresql://db/t?connect_timeout=soon", "connect_timeout is 'soon'; expected a whole number, of seconds"),
        ("postgresql://db/trading?connect_timeout=", "connect_timeout is ''; expected a whole number, of seconds"),
        ("postgresql://db/t?tcp_user_timeout=-1", "tcp_user_timeout is '-1'; expected a whole number, of milliseconds"),
        ("postgresql://db/trading?keepalives=maybe", "keepalives is 'maybe'; expected a whole number, 1 for yes or 0"),
        ("postgresql://db/t?gssencmode=maybe", "gssencmode is 'maybe'; expected one of disable, prefer, require"),
        ("postgresql://db/trading?application_name=a%00b", "expected no control characters"),
        ("postgresql://ann:%ff@db/trading", "expected percent-encoded text to be UTF-8"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_says_what_is_expected(text, message):
    with pytest.raises(ValueError) as error:
        parse_database_url(text)
    assert str(error.value) == message


def refusal(**parameters: str) -> str:
    """What libpq says of these parameters where no server is."""
    with pytest.raises(psycopg2.OperationalError) as raised:
        psycopg2.connect("postgresql://127.0.0.1:1/trading?" + urlencode({"sslmode": "require", **parameters}))
    return str(raised.value)


def knows(name: str) -> bool:
    """Whether the libpq that is installed has this parameter: 16 and older lack `sslnegotiation`."""
    try:
        parse_dsn(f"postgresql://db/trading?{name}=1")
    except psycopg2.ProgrammingError:
        return False
    return True


# It reads `connect_timeout` only while it waits, and a port where nobody listens may refuse at once.
@pytest.mark.parametrize("name", sorted(filter(knows, {*CHOICES, *WHOLE_NUMBERS} - {"connect_timeout"})))
def test_values_that_are_refused_are_those_that_libpq_refuses(name):
    refused = re.compile("invalid .*value|must be an integer")
    assert refused.search(refusal(**{name: "maybe"}))
    for value in CHOICES.get(name, ("1", "12345678")):
        assert not refused.search(refusal(**{name: value}))


def test_a_parameter_that_only_a_newer_libpq_knows_is_refused_before_any_server_is_asked(monkeypatch):
    """As 16 and older refuse `sslnegotiation`; no libpq knows this one."""
    monkeypatch.setattr(database_url, "LIBPQ_PARAMETERS", database_url.LIBPQ_PARAMETERS | {"sslfuture"})
    with pytest.raises(ValueError, match=r"sslfuture is not known to the libpq \d+\.\d+ .* install a newer psycopg2"):
        parse_database_url("postgresql://db/trading?sslfuture=1")


def test_a_password_that_cannot_be_told_from_the_host_asks_for_encoding():
    with pytest.raises(ValueError, match=r"percent-encoded \(@ as %40, / as %2F\)$"):
        parse_database_url("postgresql://ann:secret/trading")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://ann:pw@db:5433/trading?schema=x", "postgresql://ann@db:5433/trading"),
        ("postgresql://ann:pw@[::1]/trading", "postgresql://ann@[::1]/trading"),
        ("postgresql:///trading?host=/var/run", "postgresql:///var/run/trading"),
    ],
)
def test_an_address_is_shown_without_password_and_parameters(text, shown):
    address = parse_database_url(text)
    assert (address.display, str(address)) == (shown, shown)


@pytest.mark.parametrize(
    ("hosts", "shown"),
    [
        ("one:5432,two:5433", "one:5432,two:5433"),
        ("one,two:5433", "one,two:5433"),
        ("one,[::1]:5433", "one,[::1]:5433"),
        ("one,two", "one,two"),
    ],
)
def test_several_hosts_are_shown_with_their_ports(hosts, shown):
    address = parse_database_url(f"postgresql://ann:secret@{hosts}/trading?target_session_attrs=read-write")
    assert str(address) == f"postgresql://ann@{shown}/trading"


def test_one_port_for_several_hosts_is_shown_at_each():
    address = parse_database_url("postgresql:///trading?host=one,two&port=6000")
    assert str(address) == "postgresql://one:6000,two:6000/trading"
