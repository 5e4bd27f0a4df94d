"""Slow: the reader's core in thousands of states that nobody listed."""

from hypothesis import HealthCheck, settings

from tests.length import FULL, scaled
from tests.reader.machine import ReaderMachine

TestReader = ReaderMachine.TestCase
TestReader.settings = settings(
    max_examples=scaled(500, 8_000),
    stateful_step_count=50,
    derandomize=not FULL,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
