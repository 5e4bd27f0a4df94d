import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.commands.decode import decode
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import Layout, Request, StreamEntry
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


def test_an_entry_is_flat_wherever_its_function_stands():
    entry = StreamEntry(ENTRY_ID, [b"userId", b"u-1", b"function", b"createUser"])

    assert pack(entry)[0] is Layout.FLAT
    assert pack(StreamEntry(ENTRY_ID, [b"message", b"function"]))[0] is Layout.ENVELOPE


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
    ("payload", "expected"),
    [
        (b"", "* and a number at byte 0 of the payload"),
        (b"*", "* and a number at byte 0 of the payload"),
        (b"*1", "* and a number at byte 0 of the payload"),
        (b"*x\r\n", "* and a number at byte 0 of the payload"),
        (b"*-1\r\n", "* and a number at byte 0 of the payload"),
        (b"$1\r\n", "* and a number at byte 0 of the payload"),
        (b"*1\r\n$2\r\nab\r\n", "names and values in pairs, not 1 fields in the payload"),
        (b"*3\r\n", "names and values in pairs, not 3 fields in the payload"),
        (b"*2\r\n", "$ and a number at byte 4 of the payload"),
        (b"*2\r\n$2\r\nab\r\n", "$ and a number at byte 12 of the payload"),
        (b"*2\r\n*1\r\n", "$ and a number at byte 4 of the payload"),
        (b"*2\r\n$10000000000\r\n", "$ and a number at byte 4 of the payload"),
        (b"*2\r\n$9999999999\r\n", "the end of a field at byte 10000000016 of the payload"),
        (b"*2\r\n$3\r\nab\r\n", "the end of a field at byte 11 of the payload"),
        (b"*2\r\n$2\r\nabc\r\n", "the end of a field at byte 10 of the payload"),
        (b"*2\r\n$2\r\nab\n\n", "the end of a field at byte 10 of the payload"),
        (b"*2\r\n$1\r\na\r\n$1\r\nb\r\nc", "the payload to end at byte 18"),
    ],
)
def test_a_damaged_flat_payload_is_refused(payload: bytes, expected: str):
    with pytest.raises(ValueError) as error:
        unpack(Layout.FLAT, payload, ENTRY_ID)
    assert str(error.value) == f"expected {expected}"
