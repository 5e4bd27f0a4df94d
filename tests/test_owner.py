"""Whose a key is, and when its owner counts as dead."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.owner import Owner, Place

HERE = Place.here()


def finished_process() -> int:
    """The number of a process that ran here and is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def token(**changes: object) -> str:
    fields = {
        "node": "a@host",
        "host": "host",
        "process_id": 17,
        "boot": "boot",
        "process_namespace": "pid:[1]",
        "nonce": "n",
    }
    return json.dumps({**fields, **changes})


@given(
    st.builds(
        Owner,
        st.text(),
        st.builds(Place, st.text(), st.text(), st.text()),
        st.integers(min_value=1, max_value=2**31 - 1),
        st.text(),
    )
)
def test_an_owner_is_read_back_from_its_token(owner: Owner) -> None:
    assert Owner.parse(owner.token) == Owner.parse(owner.token.encode("ascii")) == owner


def test_a_token_of_a_newer_version_is_read() -> None:
    assert Owner.parse(token(since="2026-11-26")) == Owner("a@host", Place("host", "boot", "pid:[1]"), 17, "n")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        b"\xff\xfe\x00broken bytes",
        b'{"node": "\xff"}',
        "another program's",
        "3f2a 17 host worker@host",  # as the first version wrote them
        "[" * 100_000,
        "9" * 10_000,
        "null",
        "[]",
        "{}",
        token(process_id=2**63),
        token(process_id=2**31),
        token(process_id=10**400),
        token(process_id=0),
        token(process_id=-1),
        token(process_id=True),
        token(process_id="17"),
        token(process_id=17.0),
        token(node=None),
        token(host=1),
        token(boot=["b"]),
        token(nonce={}),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_what_is_no_token_of_ours_has_no_owner(text: bytes | str | None) -> None:
    assert Owner.parse(text) is None


@given(st.binary() | st.text())
def test_reading_a_token_never_raises(text: bytes | str) -> None:
    Owner.parse(text)


@pytest.mark.skipif(not HERE.known, reason="only Linux tells where a process runs")
@pytest.mark.parametrize(
    ("owner", "dead"),
    [
        (Owner("n", HERE, finished_process(), "x"), True),
        (Owner("n", HERE, os.getppid(), "x"), False),
        (Owner("n", HERE, os.getpid(), "x"), False),
        (Owner("n", HERE._replace(host="another"), finished_process(), "x"), False),
        (Owner("n", HERE._replace(boot="another"), finished_process(), "x"), False),
        (Owner("n", HERE._replace(process_namespace="pid:[1]"), finished_process(), "x"), False),
        (Owner("n", Place(HERE.host, "", ""), finished_process(), "x"), False),
    ],
    ids=["gone", "alive", "ourselves", "another host", "before a restart", "another container", "nothing is known"],
)  # fmt: skip
def test_only_a_process_of_this_very_place_is_known_to_be_dead(owner: Owner, dead: bool) -> None:
    assert owner.is_dead_neighbour() is dead


def test_nobody_is_dead_where_the_system_does_not_tell_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Place(HERE.host, "", "")
    monkeypatch.setattr(Place, "here", lambda: nowhere)
    assert not Owner("n", nowhere, finished_process(), "x").is_dead_neighbour()
