"""Slow: tests the model check of the reader itself. It has to find each known fault that is put back into the core."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from dbstorage.reader.core import Core
from tests.reader import faults
from tests.reader.machine import ReaderMachine
from tests.reader.search import SCENARIOS, search

#: Which search finds a fault within so many states.
SEARCHED: dict[type[Core], str] = {
    faults.OutageEndsWithABatch: "outage",
    faults.OutageOutlivesTheLease: "stuck for good",
    faults.ExLeaderDropsWhatItRead: "stops",
    faults.NothingIsReadInAnOutage: "outage",
    faults.LeaseIsRenewedForEver: "stuck for good",
    faults.OwnPendingEntriesAreForgotten: "stops",
    faults.AheadBeginsBeforeWhatIsLeftOver: "batches",
    faults.KilledOnce: "hanging jobs",
    faults.AnswerWithoutNumber: "leases",
    faults.NewerRunsBeforeOlder: "stuck for good",
    faults.LookAheadBlocksOlder: "stuck for good",
    faults.SuspectQuestionIsNotAnswered: "deadly questions",
    faults.DecidedIsForgotten: "not acknowledged",
    faults.QuestionsOvertake: "only questions",
    faults.NewBeforePending: "taken over",
    faults.StopKeepsWhatWaits: "stops",
    faults.ProbesWithoutEntries: "stuck for good",
    faults.ReadsWithoutTheLease: "taken over",
    faults.Spins: "stuck for good",
    faults.WaitsForWhatItDoesNotFetch: "stuck for good",
}
STATES = 1_500
#: What takes more entries than a search has is found by chance, always the same, within so many runs.
RUNS = 300
BY_CHANCE = tuple(fault for fault in faults.FAULTS if fault not in SEARCHED)


def runs_of(core: type[Core]) -> Callable[[], None]:
    machine = type("FaultyMachine", (ReaderMachine,), {"core": core})
    options = settings(
        max_examples=RUNS,
        stateful_step_count=50,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda: run_state_machine_as_test(machine, settings=options)


@pytest.mark.parametrize("fault", SEARCHED, ids=lambda fault: fault.__name__)
def test_the_search_finds_a_fault(fault: type[Core]):
    [scenario] = [scenario for scenario in SCENARIOS if scenario.name == SEARCHED[fault]]
    with pytest.raises(AssertionError):
        search(scenario, fault, STATES)


@pytest.mark.parametrize("fault", BY_CHANCE, ids=lambda fault: fault.__name__)
def test_chance_finds_a_fault(fault: type[Core]):
    with pytest.raises(AssertionError):
        runs_of(fault)()
