"""PostgreSQL reads our arrays as what they were made of."""

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.storage.array_text import number_array, text_array

storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
tricky = st.text(st.sampled_from("\\\"{},; \n\t'%N"), max_size=6) | st.sampled_from(["NULL", "null", "", "\\N", "{}"])
numbers = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def cursor(postgres_server: EmbeddedPostgres) -> Iterator[Any]:
    connection = psycopg2.connect(postgres_server.url)
    yield connection.cursor()
    connection.close()


@given(values=st.lists(storable | tricky | st.none(), min_size=1))
def test_postgresql_reads_an_array_of_any_texts_as_it_was(cursor: Any, values: list[str | None]) -> None:
    cursor.execute("SELECT %s::text[]", (text_array(values),))
    assert cursor.fetchone() == (values,)


@given(values=st.lists(numbers | st.none(), min_size=1))
def test_postgresql_reads_an_array_of_any_numbers_to_the_last_digit(cursor: Any, values: list[float | None]) -> None:
    cursor.execute("SELECT %s::double precision[]", (number_array(values),))
    [read] = cursor.fetchone()
    assert list(map(repr, read)) == list(map(repr, values))


@given(values=st.lists(st.integers(-(2**31), 2**31 - 1) | st.none(), min_size=1))
def test_postgresql_reads_an_array_of_any_whole_numbers_as_it_was(cursor: Any, values: list[int | None]) -> None:
    cursor.execute("SELECT %s::integer[]", (number_array(values),))
    assert cursor.fetchone() == (values,)
