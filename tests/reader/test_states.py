"""The diagrams of the reader, of an entry and of a batch in docs/architecture.md, compared with what the core does."""

from dataclasses import fields
from math import inf
from typing import ClassVar

import pytest

from dbstorage.reader import messages
from dbstorage.reader.core import Core, Stage
from dbstorage.reader.messages import Action, Event, Job, LinkDown, LinkUp, Stop
from tests.diagrams import OUTSIDE, Diagram, diagrams
from tests.reader.search import SCENARIOS, search
from tests.reader.test_core import Story, write

[READER] = diagrams("The reader")
[ENTRY, BATCH] = diagrams("An entry, and the batch that it is in")
#: States of the world that are looked at in each scenario.
STATES = 40


def state_of(core: Core) -> str:
    if core.stopped:
        return "stopped"
    if core.stopping:
        return "stopping"
    if not core.link:
        return "connecting"
    if not core.leads or core.set_aside:
        return "standby"
    return core.stage.value


def state_of_job(job: Job) -> str:
    return "killed" if job.killed else "ahead" if job.ahead else "running"


class Watched(Core):
    """A core that notes which transitions it makes."""

    __slots__ = ()
    seen: ClassVar[set[tuple[str, str]]] = set()
    #: With the event or the action that is the reason.
    seen_of_jobs: ClassVar[set[tuple[str, str, str]]] = set()

    def on(self, event: Event, now: float) -> list[Action]:
        before, jobs = state_of(self), {number: state_of_job(job) for number, job in self.jobs.items()}
        actions = super().on(event, now)
        if state_of(self) != before:
            self.seen.add((before, state_of(self)))
        for number, was in jobs.items():
            if number in self.jobs:
                state = state_of_job(self.jobs[number])
                if state != was:
                    self.seen_of_jobs.add((was, state, "Kill" if state == "killed" else "Begin"))
            else:
                ended = getattr(event, "job", None) == number
                self.seen_of_jobs.add((was, OUTSIDE, type(event).__name__ if ended else "Withdraw"))
        for number in self.jobs.keys() - jobs.keys():
            self.seen_of_jobs.add((OUTSIDE, state_of_job(self.jobs[number]), "Submit"))
        return actions


@pytest.fixture
def watched() -> type[Watched]:
    Watched.seen.clear()
    Watched.seen_of_jobs.clear()
    return Watched


def drawn(before: str, after: str, diagram: Diagram) -> bool:
    """Whether an arrow leads from one state to the other, or from what is drawn around it."""
    arrows = diagram.arrows()
    outer = diagram.seen_from_outside(before), diagram.seen_from_outside(after)
    if outer[0] == outer[1]:
        return (before, after) in arrows
    if after == "stopped" and before != "stopping":
        # With no job in the pool, stopping takes no time.
        return drawn(before, "stopping", diagram) and ("stopping", "stopped") in arrows
    return outer in arrows


def test_a_reader_does_nothing_that_is_not_drawn(watched: type[Watched]):
    for scenario in SCENARIOS:
        search(scenario, watched, STATES)
    assert {seen for seen in watched.seen if not drawn(*seen, READER)} == set()
    arrows = {(before, after, label.partition(",")[0]) for before, after, label in BATCH.transitions}
    assert watched.seen_of_jobs - arrows == set()


def test_a_reader_does_everything_that_is_drawn(watched: type[Watched]):
    for end in ("connecting", "standby", "leading"):
        story = Story()
        story.core = watched(batch_size=4)
        story.core.retry_at = inf
        if end != "connecting":
            story.tell(LinkUp())
            story.tell(LinkDown())
            story.tell(LinkUp())
        if end == "leading":
            story.lease(True)
            story.claimed()
            story.listed()
            story.look_again(1)
            story.too_large()
            story.claimed()
            story.listed()
            story.too_large()
            story.tell(LinkDown())
            story.tell(LinkUp())
            story.lease(False)
            story.wait(1.0)
            story.lease(True)
            story.claimed()
            story.listed()
            story.come(write(1))
        story.tell(Stop())
        if end == "leading":
            story.report()
    outer = {(READER.seen_from_outside(before), READER.seen_from_outside(after)) for before, after in watched.seen}
    seen = watched.seen | {pair for pair in outer if pair[0] != pair[1]}
    seen |= {(before, "stopping") for before, after in seen if after == "stopped"}
    assert READER.arrows() - seen == set()


def test_the_stages_of_a_reader_that_leads_are_those_of_the_code():
    assert {state for state, outer in READER.within.items() if outer == "leading"} == {stage.value for stage in Stage}


def test_the_places_of_an_entry_are_those_of_the_core():
    assert ENTRY.states <= {field.name for field in fields(Core)}


def test_the_events_and_actions_beside_the_arrows_exist():
    for _, _, label in [*ENTRY.transitions, *BATCH.transitions]:
        name = label.partition(",")[0]
        assert not name[0].isupper() or hasattr(messages, name), label
