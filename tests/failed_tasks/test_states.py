"""The diagram of a failed task in docs/architecture.md, compared with the words of the code."""

import pytest

from dbstorage.failed_tasks.changes import Change
from dbstorage.failed_tasks.filters import State
from tests.diagrams import diagrams

[DIAGRAM] = diagrams("A failed task")


def test_the_states_are_those_of_the_code():
    assert DIAGRAM.states == {state.value for state in State}


@pytest.mark.parametrize("change", Change)
def test_what_operators_may_do_is_drawn_where_they_may_do_it(change: Change):
    drawn = {before for before, _, label in DIAGRAM.transitions if label == change.value}
    assert drawn == {state.value for state in change.from_states}
