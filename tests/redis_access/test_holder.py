"""Whose a key is, and when its holder counts as dead."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.redis_access.holder import KeyHolder, Place

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
        KeyHolder,
        st.text(),
        st.builds(Place, st.text(), st.text(), st.text()),
        st.integers(min_value=1, max_value=2**31 - 1),
        st.text(),
    )
)
def test_a_holder_is_read_back_from_its_token(holder: KeyHolder) -> None:
    assert KeyHolder.parse(holder.token) == KeyHolder.parse(holder.token.encode("ascii")) == holder


def test_a_token_of_a_newer_version_is_read() -> None:
    assert KeyHolder.parse(token(since="2026-11-26")) == KeyHolder("a@host", Place("host", "boot", "pid:[1]"), 17, "n")


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
def test_what_is_no_token_of_ours_has_no_holder(text: bytes | str | None) -> None:
    assert KeyHolder.parse(text) is None


@given(st.binary() | st.text())
def test_reading_a_token_never_raises(text: bytes | str) -> None:
    KeyHolder.parse(text)


@pytest.mark.skipif(not HERE.known, reason="only Linux tells where a process runs")
@pytest.mark.parametrize(
    ("holder", "dead"),
    [
        (KeyHolder("n", HERE, finished_process(), "x"), True),
        (KeyHolder("n", HERE, os.getppid(), "x"), False),
        (KeyHolder("n", HERE, os.getpid(), "x"), False),
        (KeyHolder("n", HERE._replace(host="another"), finished_process(), "x"), False),
        (KeyHolder("n", HERE._replace(boot="another"), finished_process(), "x"), False),
        (KeyHolder("n", HERE._replace(process_namespace="pid:[1]"), finished_process(), "x"), False),
        (KeyHolder("n", Place(HERE.host, "", ""), finished_process(), "x"), False),
    ],
    ids=["gone", "alive", "ourselves", "another host", "before a restart", "another container", "nothing is known"],
)  # fmt: skip
def test_only_a_process_of_this_very_place_is_known_to_be_dead(holder: KeyHolder, dead: bool) -> None:
    assert holder.is_dead_neighbour() is dead


def test_nobody_is_dead_where_the_system_does_not_tell_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Place(HERE.host, "", "")
    monkeypatch.setattr(Place, "here", lambda: nowhere)
    assert not KeyHolder("n", nowhere, finished_process(), "x").is_dead_neighbour()
