import pytest

from dbstorage.dashboard.hosts import is_expected, is_loopback


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:5555", "localhost.", "flower.localhost:1", "127.0.0.1:5555", "10.0.0.7", "[::1]:5555",
        "[fe80::1]", "flower.internal", "Flower.Internal:80",
    ],
)  # fmt: skip
def test_names_that_no_page_of_a_stranger_has(host: str):
    assert is_expected(host, {"flower.internal"})


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:5555", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost",
        "flower.internal.evil.example", "[evil", "::1.evil.example", "127.0.0.1@evil.example", "127.1",
    ],
)  # fmt: skip
def test_names_that_may_be_a_strangers(host: str):
    assert not is_expected(host, {"flower.internal"})


def test_all_names_can_be_allowed():
    assert is_expected("anything.example", {"*"})


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("", False), ("0.0.0.0", False), ("::", False), ("192.168.0.1", False), ("flower.internal", False),
    ],
)  # fmt: skip
def test_loopback_addresses_are_told_from_those_that_others_reach(address: str, loopback: bool):
    assert is_loopback(address) is loopback
