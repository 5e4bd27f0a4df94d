import pytest

from dbstorage.commands.decode import decode
from dbstorage.wire.command import encode_command
from dbstorage.wire.entry import Layout, StreamEntry
from tests.wire.entries import ENTRY_ID

COMMAND = {"function": "getCloseOrders", "message": {"userId": "ü"}, "limit": 5, "requestId": "r"}


def test_an_envelope_is_one_field_with_the_whole_command():
    text = '{"function":"getCloseOrders","message":{"userId":"ü"},"limit":5,"requestId":"r","cursor":null}'

    assert encode_command({**COMMAND, "cursor": None}) == {b"message": text.encode()}


def test_a_flat_entry_has_a_field_for_each_key_that_has_a_value():
    assert encode_command({**COMMAND, "cursor": None}, Layout.FLAT) == {
        b"function": b"getCloseOrders",
        b"message": '{"userId":"ü"}'.encode(),
        b"limit": b"5",
        b"requestId": b"r",
    }


@pytest.mark.parametrize("layout", Layout)
def test_a_command_is_decoded_as_what_it_was(layout: Layout):
    fields = [part for field in encode_command(COMMAND, layout).items() for part in field]
    request = decode(StreamEntry(ENTRY_ID, fields))

    assert (request.layout, request.function) == (layout, "getCloseOrders")
    assert request.body == COMMAND | ({"limit": "5"} if layout is Layout.FLAT else {})


def test_a_lone_surrogate_becomes_bytes_that_the_service_refuses():
    assert encode_command({"function": "createUser", "\udfff": "\ud800"}, Layout.FLAT) == {
        b"function": b"createUser",
        b"\xed\xbf\xbf": b"\xed\xa0\x80",
    }


@pytest.mark.parametrize("layout", Layout)
def test_a_command_without_json_for_a_value_is_refused(layout: Layout):
    with pytest.raises(ValueError, match="not JSON serializable"):
        encode_command({"function": object()}, layout)
