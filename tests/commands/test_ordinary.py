"""The quick way for ordinary entries says what the rules say, or nothing."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import interpret
from dbstorage.commands.ordinary import ordinary_command
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import StreamEntry
from tests.commands.closed_orders import ORDER
from tests.wire.entries import any_entry, envelope, flat, of_text, steady

USER = {"userId": "81e74ef5-e8e2-4d94-8ed9-04759531985d", "userEmail": "trader7.0@example.com"}
ORDINARY = [
    envelope("createCloseOrder", message=ORDER, requestId="1012f037-b64c-4422-8c38-fb2918f135d2"),
    envelope("createCloseOrder", message={**ORDER, "requestId": 7, "extra": {"deep": [1]}}),
    envelope("createCloseOrder", message={key: ORDER[key] for key in [*list(ORDER)[:4], "openTime", "closeTime"]}),
    envelope("createUser", message={"function": "createUser", **USER}, requestId="6f03675a"),
    flat(function="createCloseOrder", message=json.dumps(ORDER), userId="another"),
    flat(function="createUser", message=json.dumps(USER)),
]


def by_the_rules(entry: StreamEntry) -> Any:
    try:
        return interpret(decode(entry), 100)
    except RejectedEntry as rejection:
        return rejection


def assert_same_or_declined(entry: StreamEntry) -> None:
    quick = ordinary_command(entry)
    if quick is not None:
        # As text, too: 1 and 1.0, or 0.0 and -0.0, are equal.
        assert (type(quick), repr(quick)) == (type(by_the_rules(entry)), repr(by_the_rules(entry)))


@pytest.mark.parametrize("entry", ORDINARY, ids=range(len(ORDINARY)))
def test_an_ordinary_entry_is_not_declined(entry: StreamEntry) -> None:
    quick = ordinary_command(entry)
    assert quick is not None
    assert repr(quick) == repr(by_the_rules(entry))


@steady
@given(any_entry)
def test_the_quick_way_and_the_rules_agree_on_any_entry(entry: StreamEntry) -> None:
    assert_same_or_declined(entry)


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from([
        "", "0", "5", "1e3", "BTC", "btc", "sell", "manual", -0.0, 0, 1e999, 2**31 - 1, 2**31, -(2**31), 2**63, 2**64,
        10**400,
        5.0, 5.5, 1e16, 9007199254740993, "2025-02-30T00:00:00.000Z", "2025-02-28T24:00:00.000Z",
        "2025-02-28T12:00:00.000+00:00", "2025-02-28T12:00:60.000Z", "x" * 255, "x" * 256, "a\0b", "\ud800", "é",
    ]), st.just([]), st.just({}),
)  # fmt: skip


@settings(steady, max_examples=10 * steady.max_examples)
@given(
    st.dictionaries(st.sampled_from([*ORDER, "slippage", "other"]), values, max_size=4), st.booleans(), st.booleans()
)
@example({"quantity": 10**400}, False, False)
@example({"stippage": 0, "slippage": 3.5}, False, False)
@example({"stippage": None, "slippage": 3.5}, False, False)
@example({"openTime": "2024-02-29T12:00:00.000Z", "closeTime": "2023-02-29T12:00:00.000Z"}, False, False)
@example({"openTime": "", "closeTime": "2025-01-31T12:00:00.000Z 2025-01-31T12:00:00.000Z"}, False, False)
@example({"openTime": "2025-04-31T12:00:00.000Z"}, False, False)
@example({"closeTime": "0000-01-01T12:00:00.000Z"}, False, False)
def test_the_quick_way_and_the_rules_agree_on_any_value_of_a_field(
    changes: dict[str, Any], as_flat: bool, escapes: bool
) -> None:
    message = json.dumps({**ORDER, **changes}, ensure_ascii=escapes)
    if as_flat:
        entry = flat(function="createCloseOrder", message=message.encode(errors="surrogatepass"))
    else:
        text = f'{{"function": "createCloseOrder", "message": {message}}}'
        entry = StreamEntry("1-0", [b"message", text.encode(errors="surrogatepass")])
    assert_same_or_declined(entry)


@settings(steady, max_examples=10 * steady.max_examples)
@given(
    st.sampled_from(ORDINARY), st.integers(0, 600), st.integers(0, 3),
    st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b",", b"{", b"}", b"0", b"-", b"e9", b"\\u0000", b"null"])),
)  # fmt: skip
def test_the_quick_way_and_the_rules_agree_on_any_change_of_the_bytes(
    entry: StreamEntry, at: int, removed: int, inserted: bytes
) -> None:
    fields = entry.fields
    assert isinstance(fields, list)
    text = fields[-1] if fields[0] != b"function" else fields[3]
    at %= len(text) + 1
    changed = text[:at] + inserted + text[at + removed :]
    assert_same_or_declined(StreamEntry(entry.id, [changed if part is text else part for part in fields]))


@pytest.mark.parametrize(
    "text",
    [
        '{"function":"createUser","function":"createUser","message":{"userId":"a","userEmail":"b"}}',
        '{"function":"createUser","message":{"userId":"a","userEmail":"b"},"message":{"userId":"c","userEmail":"d"}}',
        '{"function":"createUser","message":{"userId":"a","userEmail":"b","userId":"c"}}',
        '{"function":"createUser","message":{"userId":"a","userEmail":"b"},"deep":' + "[" * 5_000 + "]" * 5_000 + "}",
    ],
    ids=["a function twice", "a message twice", "a field twice", "nested deeply"],
)
def test_the_quick_way_and_the_rules_agree_on_odd_json(text: str) -> None:
    assert_same_or_declined(of_text(text))


def test_a_user_whose_fields_stand_at_the_top_is_left_to_the_rules() -> None:
    assert ordinary_command(envelope("createUser", **USER)) is None
    assert ordinary_command(flat(function="createUser", message=json.dumps(USER), userId="another")) is None
