import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import Layout, Request, StreamEntry, decode
from dbstorage.wire.payload import pack, unpack
from tests.wire.entries import ENTRY_ID, any_entry, steady


def test_an_envelope_is_kept_as_its_json_text():
    entry = StreamEntry(ENTRY_ID, [b"message", b'{"function":', b"more", b'"createUser"}'])

    assert pack(entry) == (Layout.ENVELOPE, b'{"function":"createUser"}')
    assert unpack(*pack(entry), ENTRY_ID) == StreamEntry(ENTRY_ID, [b"message", b'{"function":"createUser"}'])


def test_a_flat_entry_is_kept_as_a_resp_array_of_its_fields():
    entry = StreamEntry(ENTRY_ID, [b"function", b"createUser", b"message", b"\r\n\xff"])

    assert pack(entry) == (
        Layout.FLAT,
        b"*4\r\n$8\r\nfunction\r\n$10\r\ncreateUser\r\n$7\r\nmessage\r\n$3\r\n\r\n\xff\r\n",
    )


@steady
@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=20)), max_size=5))
def test_a_flat_entry_comes_back_byte_for_byte(fields: list[tuple[bytes, bytes]]):
    entry = StreamEntry(ENTRY_ID, [b"function", b"createUser", *(part for field in fields for part in field)])

    assert unpack(*pack(entry), ENTRY_ID) == entry


@steady
@given(any_entry)
def test_what_comes_back_says_the_same(entry: StreamEntry):
    assert _said(unpack(*pack(entry), ENTRY_ID)) == _said(entry)


def _said(entry: StreamEntry) -> str:
    # As text, because NaN differs from itself.
    said: Request | RejectedEntry
    try:
        said = decode(entry)
    except RejectedEntry as rejection:
        said = rejection
    return repr(said)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"*",
        b"*x\r\n",
        b"*1\r\n",
        b"*1\r\n$3\r\nab\r\n",
        b"*1\r\n$2\r\nabc\r\n",
        b"*1\r\n$2\r\nab\n\n",
        b"*1\r\n$2\r\nab\r\nc",
        b"*-1\r\n",
    ],
)
def test_a_damaged_flat_payload_is_refused(payload: bytes):
    with pytest.raises(ValueError, match=r"^expected "):
        unpack(Layout.FLAT, payload, ENTRY_ID)
