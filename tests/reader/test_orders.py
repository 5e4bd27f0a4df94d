"""Slow: every order of events over a few entries, and liveness from every state that they lead to."""

import pytest

from dbstorage.reader.core import Core
from tests.length import scaled
from tests.reader.search import SCENARIOS, Scenario, search

pytestmark = pytest.mark.timeout(scaled(300, 1_800))

#: States that are looked at; about 3 ms each.
STATES = scaled(1_200, 15_000)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_order_of_events_breaks_a_promise_or_leaves_the_reader_stuck(scenario: Scenario):
    found = search(scenario, Core, STATES)
    assert found.finished or found.states == STATES
