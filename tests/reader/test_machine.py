"""Slow: the reader's core in thousands of states that nobody listed."""

import pytest
from hypothesis import HealthCheck, settings

from tests.length import FULL, scaled
from tests.reader.machine import ReaderMachine

pytestmark = pytest.mark.timeout(scaled(300, 1_800))

TestReader = ReaderMachine.TestCase
TestReader.settings = settings(
    max_examples=scaled(300, 3_000),
    stateful_step_count=50,
    derandomize=not FULL,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
