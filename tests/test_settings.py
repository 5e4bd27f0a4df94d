import pytest

from dbstorage.settings import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db:5432/trading?schema=x", "postgresql://ann:***@db:5432/trading"),
        ("redis://:secret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("redis://cache:6379/0?password=secret", "redis://cache:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("amqp://broker//", "amqp://broker//"),
        ("postgresql://ann:s@cret:w/rd#secret@db/trading", "postgresql://ann:***@db/trading"),
        ("postgresql://ann:sec?ret@db:x/trading", "postgresql://ann:***@db:x/trading"),
        ("postgresql://ann:secret/trading", "postgresql://***"),
        ("redis://:secret", "redis://***"),
        ("secret", "***"),
        ("", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown
