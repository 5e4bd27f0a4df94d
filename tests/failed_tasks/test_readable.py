import json
import tracemalloc

import pytest

from dbstorage.failed_tasks.lookup import Payload
from dbstorage.failed_tasks.readable import DEEPEST_INDENT, payload_for_json, readable_payload
from dbstorage.printable import printable
from dbstorage.wire.entry import Layout, StreamEntry
from dbstorage.wire.payload import pack


def envelope(content: bytes) -> str:
    return shown(Payload(Layout.ENVELOPE, content))


def shown(payload: Payload) -> str:
    readable = readable_payload(payload, 1_000_000)
    assert not readable.cut
    return readable.text


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
        shown(payload)
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
    assert shown(Payload(Layout.FLAT, b"*2\r\n$1")) == "*2\\r\n$1"
    assert shown(Payload(Layout.FLAT, b"*1\r\n$1\r\na\r\n")) == "*1\\r\n$1\\r\na\\r\n"


def test_nothing_invisible_reaches_the_terminal():
    assert printable("é ok") == "é ok"
    assert printable("a\x1b]0;b\x07\n\u202e\u2028") == "a\\x1b]0;b\\x07\\n\\u202e\\u2028"


def bombs() -> dict[str, Payload]:
    """Half a megabyte each, of which a careless reader makes a gigabyte."""
    deep = b"[" * 250_000 + b"]" * 250_000
    wide = b"[" * 900 + b"1" + b",1" * 250_000 + b"]" * 900
    return {
        "deep": Payload(Layout.ENVELOPE, deep),
        "deep and wide": Payload(Layout.ENVELOPE, wide),
        "in a field": flat(b"function", b"createUser", b"message", wide),
        "in names": flat(*[b"[" * 300] * 1_000),
        "one text": Payload(Layout.ENVELOPE, b'"%s"' % (b"9" * 1_500_000)),
        "escapes": Payload(Layout.ENVELOPE, b'"%s"' % (b'\\"' * 500_000)),
        "invisible characters": Payload(Layout.ENVELOPE, b'"%s"' % (b"\xe2\x80\xae" * 400_000)),
        "many fields": flat(*[b"", b"[[]]"] * 50_000),
        "broken bytes": Payload(Layout.ENVELOPE, b"\xff" * 500_000),
        "lines": Payload(Layout.ENVELOPE, b"\n" * 500_000),
        "beyond what is parsed": Payload(Layout.ENVELOPE, b"[" + b"[]," * 1_000_000 + b"[]]"),
    }


@pytest.mark.parametrize("name", bombs())
def test_no_payload_costs_more_than_what_is_shown_of_it(name: str):
    payload = bombs()[name]
    tracemalloc.start()
    try:
        text, cut = readable_payload(payload, 10_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(text), cut) == (10_000, True)
    # Parsing JSON to see that it is some has its price, too.
    assert most < 40_000_000


def test_deep_levels_begin_no_further_to_the_right():
    lines = envelope(b"[" * 200 + b"]" * 200).splitlines()
    assert max(map(len, lines)) <= 2 * DEEPEST_INDENT + 2


def test_a_cut_is_told_where_there_is_more():
    payload = Payload(Layout.ENVELOPE, b'{"a": "' + b"x" * 50 + b'"}')
    whole = readable_payload(payload, 1_000)
    assert not whole.cut
    assert readable_payload(payload, len(whole.text)) == whole
    assert readable_payload(payload, len(whole.text) - 1) == (whole.text[:-1], True)
