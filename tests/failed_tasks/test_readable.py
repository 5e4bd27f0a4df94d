import json

import pytest

from dbstorage.failed_tasks.readable import payload_for_json, printable, readable_payload
from dbstorage.failed_tasks.store import Payload
from dbstorage.wire.entry import Layout, StreamEntry
from dbstorage.wire.payload import pack


def envelope(content: bytes) -> str:
    return readable_payload(Payload(Layout.ENVELOPE, content))


def flat(*fields: bytes) -> Payload:
    return Payload(*pack(StreamEntry("1-0", list(fields))))


def test_json_is_indented_and_its_parts_stay_as_they_were_written():
    content = b'{"message":{"n":1.10,"n":1e400,"list":[1,2,{}],"empty":[],"text":"a:[b],\\"c\\u0041"}}'
    assert (
        envelope(content)
        == """{
  "message": {
    "n": 1.10,
    "n": 1e400,
    "list": [
      1,
      2,
      {}
    ],
    "empty": [],
    "text": "a:[b],\\"c\\u0041"
  }
}"""
    )


@pytest.mark.parametrize(
    "content", ["{}", "[]", '[[],[{}],"é",null]', '{"a":{"b":[true,false,-0.0]}}', ' { "a" : [ ] } ']
)
def test_indented_json_says_the_same(content: str):
    assert json.loads(envelope(content.encode())) == json.loads(content)


def test_what_is_no_json_is_shown_with_its_broken_bytes_escaped():
    assert envelope(b'{"a": \xff\x00\x1b[31m') == '{"a": \\xff\\x00\\x1b[31m'
    assert envelope(b"") == ""
    assert envelope(b' "\xe2\x80\xae" ') == '"\\u202e"'
    assert envelope(b"[" * 100_000) == "[" * 100_000


def test_a_flat_entry_is_shown_field_by_field():
    payload = flat(b"function", b"createUser", b"message", b'{"userId":"u"}', b"ex\xfftra\n", b"two\nlines\xff")
    assert (
        readable_payload(payload)
        == """function: createUser
message:
  {
    "userId": "u"
  }
ex\\xfftra\\n:
  two
  lines\\xff"""
    )
    assert payload_for_json(payload) == [
        ["function", "createUser"],
        ["message", '{"userId":"u"}'],
        ["ex\\xfftra\n", "two\nlines\\xff"],
    ]


def test_a_flat_payload_that_was_damaged_is_shown_as_it_is():
    assert readable_payload(Payload(Layout.FLAT, b"*2\r\n$1")) == "*2\\r\n$1"
    assert readable_payload(Payload(Layout.FLAT, b"*1\r\n$1\r\na\r\n")) == "*1\\r\n$1\\r\na\\r\n"


def test_nothing_invisible_reaches_the_terminal():
    assert printable("é ok") == "é ok"
    assert printable("a\x1b]0;b\x07\n\u202e\u2028") == "a\\x1b]0;b\\x07\\n\\u202e\\u2028"
