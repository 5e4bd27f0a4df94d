from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from dbstorage.dashboard.failed_view import View, read_filter, read_view
from dbstorage.failed_tasks.filters import OPEN_STATES, Filter, State
from dbstorage.failed_tasks.lookup import NEWEST_FIRST, SortColumn, Sorting


def view(**arguments: str) -> View:
    return read_view({name: [value.encode()] for name, value in arguments.items()})


def parsed(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}


def test_an_address_without_anything_shows_what_is_to_be_done():
    shown = view()
    assert shown.which == Filter(states=OPEN_STATES)
    assert (shown.sorting, shown.page, shown.size, shown.offset) == (NEWEST_FIRST, 1, 50, 0)
    assert parsed(shown.query()) == {"state": "open", "sort": "-last_failed_at", "size": "50", "page": "1"}


def test_every_argument_is_read():
    shown = view(
        state="failed", code="c", function="f", user="u & v", order="o", text="ä", sort="attempts", size="25", page="3"
    )
    assert shown.which == Filter(
        states=(State.FAILED,), code="c", function="f", user_id="u & v", order_id="o", text="ä"
    )
    assert (shown.sorting, shown.offset) == (Sorting(SortColumn.ATTEMPTS, False), 50)


def test_who_names_a_task_sees_it_in_any_state():
    assert view(task_id="createUser:1-0").which == Filter(task_id="createUser:1-0")
    assert view(ids="3,4").which == Filter(ids=(3, 4))
    assert view(ids="3", state="failed").which == Filter(ids=(3,), states=(State.FAILED,))


def test_the_filter_survives_paging_sorting_and_changing():
    shown = view(code="a&b=c", user="<u>", ids="3,4", state="all", sort="-code", page="7", up_to="9")
    shown_later = replace(shown.which, up_to=None)
    for query in (shown.query(page=8), shown.sorted_by(SortColumn.USER), shown.filter_query):
        assert read_filter({name: [value.encode()] for name, value in parsed(query).items()}) == shown_later
    assert parsed(shown.query(page=8))["page"] == "8"
    assert parsed(shown.query(user="x"))["page"] == "1"
    assert "user" not in parse_qs(shown.query(user=""), keep_blank_values=True)
    assert parsed(shown.sorted_by(SortColumn.CODE))["sort"] == "code"
    assert parsed(view(sort="code").sorted_by(SortColumn.CODE))["sort"] == "-code"
    assert parsed(view(sort="code").query())["sort"] == "code"


def test_what_failed_after_somebody_looked_is_left_out():
    assert view(code="c", up_to="17").which == Filter(states=OPEN_STATES, code="c", up_to=17)


def test_a_page_is_a_whole_number():
    assert (view().page, view(page="1").page, view(page="999999999").page) == (1, 1, 999_999_999)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("state", "lost", "state is 'lost': expected one of open, failed, retrying, resolved, discarded, all."),
        ("sort", "payload", "sort is 'payload': expected one of id, function, user_id"),
        ("sort", "id; DROP", "sort is 'id; DROP'"),
        ("page", "0", "page is '0': expected a whole number from 1 on."),
        ("page", "-1", "page is '-1'"),
        ("page", "x", "page is 'x': expected a whole number from 1 on."),
        ("page", "²", "page is '²': expected a whole number from 1 on."),
        ("page", "1000000000", "page is '1000000000': expected a whole number from 1 on."),
        ("page", "9" * 5000, "expected a whole number"),
        ("size", "0", "size is '0': expected a whole number from 1 on."),
        ("size", "51", "size is 51: expected one of 25, 50, 100, 250, 500."),
        ("ids", "1,,2", "'' is not the id of a failed task"),
        ("text", "a\0b", "expected some text"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(name: str, value: str, sentence: str):
    with pytest.raises(ValueError) as raised:
        view(**{name: value})
    assert sentence in str(raised.value)


def test_bytes_that_are_no_text_are_said_too():
    with pytest.raises(ValueError, match=r"^The address holds something that is not UTF-8\.$"):
        read_filter({"text": [b"\xff"]})
