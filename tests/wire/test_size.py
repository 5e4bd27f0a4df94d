import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.codes import TOO_LARGE
from dbstorage.commands.decode import decode
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import Layout, StreamEntry, Truncated
from dbstorage.wire.payload import pack, unpack
from dbstorage.wire.size import KEPT_BYTES, beginning, fitting, held_bytes, is_too_large, size_of, truncate
from tests.wire.entries import ENTRY_ID, steady

#: An entry of any layout, small and large.
ANY_FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"message", b"function", b"", b"n" * 70_000]),
        st.binary(max_size=20) | st.sampled_from([b"v" * 40_000, b"v" * 70_000]),
    ),
    max_size=6,
).map(lambda pairs: [part for pair in pairs for part in pair])


@pytest.mark.parametrize(
    ("fields", "too_large"),
    [
        ([], False),
        ([b"message", b"x" * 1000], False),
        ([b"message", b"x" * 1001], True),
        ([b"a", b"x" * 500, b"b", b"x" * 500], False),
        ([b"a", b"x" * 500, b"b", b"x" * 501], True),
        ([b"n" * 1000, b"x" * 1000], False),
        ([b"n" * 1001, b""], True),
        ([b"function", b"createUser", b"other", b"x" * 991], True),
        (Truncated(Layout.FLAT, b"", 5_000, None), True),
    ],
)
def test_an_entry_is_too_large_when_its_values_are_together(fields: list[bytes] | Truncated, too_large: bool) -> None:
    assert is_too_large(fields, 1000) is too_large


def test_of_a_large_envelope_its_beginning_its_length_and_its_hash_are_kept() -> None:
    text = b'{"function": "' + b"x" * 200_000 + b'"}'
    kept = truncate([b"message", text[:100], b"more", text[100:]])
    assert kept.layout is Layout.ENVELOPE
    assert kept.start == text[:KEPT_BYTES]
    assert kept.length == len("messagemore") + len(text)
    assert kept.sha256 == hashlib.sha256(text).hexdigest()


def test_of_a_large_flat_entry_the_beginning_of_its_fields_is_kept() -> None:
    kept = truncate([b"function", b"createUser", b"message", b"x" * 200_000])
    assert kept.layout is Layout.FLAT
    assert kept.start.startswith(b"*4\r\n$8\r\nfunction\r\n$10\r\ncreateUser\r\n$7\r\nmessage\r\n$200000\r\nxxx")
    assert len(kept.start) == KEPT_BYTES


def test_of_an_entry_that_nobody_had_whole_there_is_no_hash() -> None:
    cut = [b"message", b"x" * KEPT_BYTES]
    kept = beginning(cut, 560_000_000)
    assert kept == Truncated(Layout.ENVELOPE, b"x" * KEPT_BYTES, 560_000_000, None)
    assert held_bytes(kept) == KEPT_BYTES
    assert held_bytes(cut) == size_of(cut)


@given(ANY_FIELDS)
@steady
def test_what_is_kept_is_the_beginning_of_the_payload(fields: list[bytes]) -> None:
    entry = StreamEntry(ENTRY_ID, fields)
    layout, payload = pack(entry)
    kept = truncate(fields)
    assert (kept.layout, kept.start) == (layout, payload[:KEPT_BYTES])
    assert kept.length == size_of(fields) == size_of(kept)
    assert truncate(kept) == kept


@given(ANY_FIELDS, st.integers(min_value=0, max_value=200_000))
@steady
def test_what_fits_stays_as_it_is(fields: list[bytes], limit: int) -> None:
    fitted = fitting(fields, limit)
    assert fitted == (truncate(fields) if is_too_large(fields, limit) else fields)
    assert fitting(fitted, limit) == fitted


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("sha256", ["ab12", None])
def test_what_is_kept_comes_back_from_a_record_and_is_rejected(layout: Layout, sha256: str | None) -> None:
    entry = StreamEntry(ENTRY_ID, Truncated(layout, b"*2\r\n$7\r\nmess", 52_428_800, sha256))
    assert unpack(*pack(entry), ENTRY_ID, 52_428_800, sha256) == entry
    with pytest.raises(RejectedEntry, match=r"The entry has 52,428,800 bytes, .* MAX_ENTRY_BYTES") as rejection:
        decode(entry)
    assert rejection.value.code == TOO_LARGE
