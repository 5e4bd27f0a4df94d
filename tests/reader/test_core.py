"""The rules of the reader's core: which events it gets at which moment, and which actions it returns.

Each test is one rule. `Story` tells a core events and compares what it asks for; `tests/reader/test_machine.py` and
`test_orders.py` look for what no rule here says.
"""

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from dbstorage.reader import core as rules
from dbstorage.reader.core import Core, Hold, Stage
from dbstorage.reader.messages import (
    Accepted,
    Acknowledge,
    Acknowledged,
    Action,
    AskLease,
    Begin,
    Claim,
    Claimed,
    EntriesRead,
    Entry,
    Event,
    FetchPending,
    Finish,
    Forgotten,
    Job,
    Kill,
    Kind,
    LeaseAnswered,
    Left,
    LinkDown,
    LinkUp,
    Listed,
    ListPending,
    Paused,
    PendingEntry,
    PoolSized,
    ProcessLost,
    Read,
    ReadTooLarge,
    Receiving,
    Release,
    Reported,
    SetAside,
    Stop,
    Submit,
    Tell,
    Tick,
    Took,
    Withdraw,
)
from dbstorage.storage.outcome import ANSWERED, DUPLICATE, STORED, Outage, Outcome, Report, Retried

WRITE = [b"message", b'{"function":"createUser"}']
QUESTION = [b"message", b'{"function":"getCloseOrders"}']
FAILED = Report([None], [False], Outage.DATABASE, "The database does not answer")


def write(place: int, deliveries: int = 1, size: int = 100) -> Entry:
    return Entry(f"{place}-0", WRITE, size, deliveries)


def question(place: int, deliveries: int = 1) -> Entry:
    return Entry(f"{place}-0", QUESTION, 100, deliveries)


def pending(*places: int, deliveries: int = 1) -> list[PendingEntry]:
    return [PendingEntry(f"{place}-0", deliveries) for place in places]


def said(action: Action) -> tuple[Any, ...]:
    """An action in short: its name, and what matters of it. Numbers of questions are left to the machine."""
    match action:
        case Submit(job):
            return ("ahead" if job.ahead else job.kind.value, *(entry.id[:-2] for entry in job.entries))
        case Took(entries) | Left(entries) | Tell(entries):
            return (type(action).__name__, *(entry.id[:-2] for entry in entries))
        case Acknowledge(ids) | Release(ids):
            return (type(action).__name__, *(entry_id[:-2] for entry_id in ids))
        case Read(_, most):
            return ("Read", most)
        case ListPending(_, after):
            return ("ListPending", after)
        case FetchPending(_, wanted, brief):
            return ("FetchPending", *(entry.id[:-2] for entry in wanted), *(["brief"] if brief else []))
        case Begin() | Withdraw() | Kill():
            return (type(action).__name__,)
        case _:
            return (type(action).__name__,)


class Story:
    """A core, told one event after the other.

    Retries of failed tasks are left out and the lease is renewed by itself, unless a test is about them.
    """

    def __init__(self, *, retries: bool = False, renews: bool = True, **options: Any) -> None:
        self.renews = renews
        self.core = Core(**{"batch_size": 4, **options})
        self.now = 100.0
        if not retries:
            self.core.retry_at = inf
        self.actions: list[Action] = []

    def tell(self, event: Event) -> list[tuple[Any, ...]]:
        self.actions = self.core.on(event, self.now)
        for action in self.actions:
            self._is_awaited(action)
        return [said(action) for action in self.actions]

    def _is_awaited(self, action: Action) -> None:
        """What asks for an answer carries the number under which the core awaits it."""
        match action:
            case AskLease(number):
                assert self.core.lease is not None
                assert number == self.core.lease.number
            case Claim(number):
                assert self.core.claim is not None
                assert number == self.core.claim.number
            case Read(number) | ListPending(number) | FetchPending(number):
                assert number == self.read
            case Begin(number) | Kill(number):
                assert number in self.core.jobs

    def wait(self, seconds: float) -> list[tuple[Any, ...]]:
        """Time passes, with a tick every quarter of a second."""
        acts: list[tuple[Any, ...]] = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.25)
            said = self.tell(Tick())
            if self.renews and ("AskLease",) in said and self.core.leads:
                said.remove(("AskLease",))
                said += self.lease(True)
            acts += said
        return acts

    def look_again(self, *own: int, full: bool = False) -> list[tuple[Any, ...]]:
        """A claim is due, and what is pending for us is listed again."""
        while self.core.claim is None:
            self.wait(0.25)
        self.claimed()
        if self.core.read is not None and self.core.read.after is None:
            self.come()
        return self.listed(*own, full=full)

    def begin(self, *own: int, deliveries: int = 1) -> list[tuple[Any, ...]]:
        """The link comes up, the lease is ours, and these entries are pending for us."""
        self.tell(LinkUp())
        if self.core.strict:
            self.lease(True)
        self.claimed()
        return self.listed(*own, deliveries=deliveries)

    # Answers to what was asked last

    def lease(self, mine: bool) -> list[tuple[Any, ...]]:
        assert self.core.lease is not None
        return self.tell(LeaseAnswered(self.core.lease.number, mine))

    def claimed(self, mine: bool = True, more: bool = False) -> list[tuple[Any, ...]]:
        assert self.core.claim is not None
        return self.tell(Claimed(self.core.claim.number, mine, more))

    def listed(self, *own: int, deliveries: int = 1, full: bool = False) -> list[tuple[Any, ...]]:
        return self.tell(Listed(self.read, pending(*own, deliveries=deliveries), full))

    def come(self, *entries: Entry, size: int | None = None) -> list[tuple[Any, ...]]:
        return self.tell(
            EntriesRead(self.read, list(entries), sum(entry.size for entry in entries) if size is None else size)
        )

    def too_large(self) -> list[tuple[Any, ...]]:
        return self.tell(ReadTooLarge(self.read))

    @property
    def read(self) -> int:
        assert self.core.read is not None
        return self.core.read.number

    # Jobs

    def job(self, kind: Kind = Kind.RUN) -> Job:
        [job] = [job for job in self.core.jobs.values() if job.kind is kind and not job.ahead]
        return job

    def report(
        self,
        *outcomes: Outcome | None,
        kind: Kind = Kind.RUN,
        acknowledged: bool = True,
        outage: Outage | None = None,
        crash: str = "",
        more: bool = False,
        refusal: str = "",
        lost: bool = False,
    ) -> list[tuple[Any, ...]]:
        """A job comes back; without outcomes nothing is decided."""
        job = self.job(kind)
        decided = list(outcomes) or [None] * len(job.entries)
        flags = [outcome is not None and acknowledged for outcome in decided]
        report = Report(
            decided, flags, outage, f"{outage} is away" if outage else "", crash, more=more, refusal=refusal, lost=lost
        )
        return self.tell(Reported(job.number, report))

    def fails(self, outage: Outage = Outage.DATABASE, kind: Kind = Kind.RUN) -> list[tuple[Any, ...]]:
        return self.report(outage=outage, kind=kind)


@pytest.fixture
def story() -> Story:
    """A leader with nothing in hand that waits for new entries."""
    story = Story()
    story.begin()
    return story


@pytest.fixture
def held_up() -> Story:
    """The same; whether the lease is renewed is up to the test."""
    story = Story(renews=False)
    story.begin()
    return story


def test_an_entry_that_nothing_is_said_of_is_delivered_once_and_not_suspected():
    entry = Entry("1-0", WRITE, 100)
    assert (entry.deliveries, entry.received, entry.alone, entry.company) == (1, 0.0, False, None)


# How a worker begins


def test_a_leader_takes_over_then_looks_at_what_is_pending_then_reads_on():
    story = Story()
    assert story.tell(LinkUp()) == [("AskLease",)]
    assert story.lease(True) == [("Claim",)]
    assert story.claimed() == [("ListPending", "")]
    assert story.listed() == [("Read", 4)]


def test_in_parallel_order_there_is_no_lease():
    story = Story(strict=False)
    assert story.tell(LinkUp()) == [("Claim",)]
    assert story.claimed() == [("ListPending", "")]


def test_who_has_no_lease_reads_nothing_and_asks_again():
    story = Story()
    story.tell(LinkUp())
    assert story.lease(False) == []
    assert story.wait(rules.STANDBY_SECONDS / 2) == []
    assert story.wait(rules.STANDBY_SECONDS / 2) == [("AskLease",)]


def test_taking_over_goes_on_while_there_is_more():
    story = Story()
    story.tell(LinkUp())
    story.lease(True)
    assert story.claimed(more=True) == [("Claim",)]
    assert story.claimed() == [("ListPending", "")]


def test_a_claim_that_finds_the_lease_gone_ends_the_leading():
    story = Story()
    story.tell(LinkUp())
    story.lease(True)
    assert story.claimed(mine=False) == [("AskLease",)]
    assert not story.core.leads


def test_pending_entries_are_listed_page_by_page():
    story = Story()
    story.tell(LinkUp())
    story.lease(True)
    story.claimed()
    assert story.listed(1, full=True) == [("FetchPending", "1")]
    assert story.come(write(1, 2)) == [("Took", "1"), ("run", "1"), ("ListPending", "1-0")]
    assert story.listed(2) == [("FetchPending", "2")]


def test_a_page_that_ends_with_what_is_decoded_ahead_lets_it_begin(story: Story):
    story.come(write(1))
    story.come(write(2))
    assert story.look_again(1, 2, full=True) == [("ListPending", "2-0")]
    assert story.report(STORED)[0] == ("Begin",)


def test_what_is_pending_is_fetched_in_growing_numbers_and_before_anything_new():
    story = Story(batch_size=100, processes=1)
    assert story.begin(*range(1, 31)) == [("FetchPending", "1")]
    fetched = [1]
    while story.core.stage is Stage.PENDING:
        assert story.core.read is not None
        assert story.core.read.fetched is not None
        entries = [Entry(entry.id, WRITE, 100, 1) for entry in story.core.read.fetched]
        story.come(*entries)
        story.report(*[STORED] * len(entries))
        if story.core.read is not None and story.core.read.fetched:
            fetched.append(len(story.core.read.fetched))
    assert fetched == [1, 4, 16, 9]


# Running


def test_what_comes_in_runs_and_the_next_is_decoded_meanwhile(story: Story):
    assert story.come(write(1), write(2)) == [("Took", "1", "2"), ("run", "1", "2"), ("Read", 4)]
    assert story.come(write(3)) == [("Took", "3"), ("ahead", "3")]
    assert story.report(STORED, STORED) == [("Begin",), ("Read", 4), ("Tell", "1", "2"), ("Left", "1", "2")]
    assert story.report(STORED) == [("Tell", "3"), ("Left", "3")]


def test_writes_and_questions_run_together_in_stream_order(story: Story):
    assert story.come(write(1), question(2), write(3))[1] == ("run", "1", "2", "3")


def test_what_became_of_entries_is_told_with_the_job_and_its_report(story: Story):
    story.come(write(1), write(2), write(3))
    job = story.job()
    report = Report([STORED, None, DUPLICATE], [True, False, True])
    story.tell(Reported(job.number, report))
    [told] = [action for action in story.actions if isinstance(action, Tell)]
    assert ([entry.id for entry in told.entries], told.outcomes) == (["1-0", "3-0"], [STORED, DUPLICATE])
    assert (told.job, told.report) == (job, report)


def test_with_one_process_nothing_is_decoded_ahead():
    story = Story(processes=1)
    story.begin()
    story.come(write(1))
    assert story.come(write(2)) == [("Took", "2")]
    assert story.report(STORED) == [("run", "2"), ("Read", 4), ("Tell", "1"), ("Left", "1")]


def test_what_a_job_left_undone_runs_before_what_was_decoded_ahead(story: Story):
    story.come(write(1), write(2))
    story.come(write(3))
    assert story.report(STORED, None) == [("Withdraw",), ("run", "2", "3"), ("Read", 4), ("Tell", "1"), ("Left", "1")]


def test_a_withdrawn_job_says_nothing_any_more(story: Story):
    story.come(write(1), write(2))
    story.come(write(3))
    ahead = story.core.ahead
    assert ahead is not None
    story.report(STORED, None)
    assert Withdraw(ahead.number) in story.actions
    assert story.tell(Reported(ahead.number, Report([STORED], [True]))) == []


def test_a_batch_has_so_many_entries_and_bytes_at_most():
    story = Story(batch_size=3)
    story.begin()
    half = rules.READ_BYTES // 2
    assert story.come(*(write(place, size=half) for place in (1, 2, 3)))[1:3] == [("run", "1", "2"), ("ahead", "3")]
    assert story.report(STORED, STORED)[0] == ("Begin",)


def test_a_batch_of_small_entries_is_a_whole_one():
    story = Story(batch_size=500)
    story.begin()
    assert len(story.come(*(write(place, size=32_000) for place in range(1, 501)))[1]) == 501


def test_an_entry_larger_than_a_batch_runs_by_itself(story: Story):
    acts = story.come(write(1, size=2 * rules.READ_BYTES), write(2))
    assert acts[1:3] == [("run", "1"), ("ahead", "2")]


def test_an_outcome_that_redis_does_not_know_of_is_told_once_and_acknowledged(story: Story):
    story.come(write(1))
    acts = story.report(STORED, acknowledged=False, outage=Outage.REDIS)
    assert acts == [("Acknowledge", "1"), ("Tell", "1")]
    assert story.core.in_hand == {"1-0"}
    # It does not run again.
    assert story.core.waiting == []
    assert story.tell(Acknowledged(("1-0",))) == [("Left", "1")]
    assert story.tell(Acknowledged(("1-0",))) == []


def test_what_is_decided_is_acknowledged_when_the_link_is_back(story: Story):
    story.come(write(1))
    story.tell(LinkDown())
    assert story.report(STORED, acknowledged=False, outage=Outage.REDIS) == [("Tell", "1")]
    assert story.tell(LinkUp())[0] == ("Acknowledge", "1")


def test_all_that_is_decided_is_acknowledged_when_the_link_is_back():
    story = Story(strict=False, processes=3)
    story.begin()
    story.come(write(1))
    story.come(write(2))
    jobs = [*story.core.jobs.values()]
    story.tell(LinkDown())
    for job in jobs:
        story.tell(Reported(job.number, Report([STORED], [False], Outage.REDIS, "Redis is away")))
    assert story.tell(LinkUp())[0] == ("Acknowledge", "1", "2")


def test_jobs_that_the_pool_forgot_run_again(story: Story):
    story.come(write(1))
    assert story.tell(Forgotten(story.job().number)) == [("run", "1")]


# Holding: the database is away or wrong, an operator pauses


def test_a_lone_question_does_not_end_the_reading(story: Story):
    """It was answered, and nothing in hand was left to end the outage."""
    story.core.retry_at = story.now
    story.tell(Tick())
    story.come(question(1))
    assert story.fails() == [("answer", "1")]
    assert story.report(ANSWERED, kind=Kind.ANSWER)[-2:] == [("Tell", "1"), ("Left", "1")]
    # That it was told so does not show that the database is back.
    assert story.core.away is not None
    story.report(kind=Kind.RETRY)
    assert story.core.away is None
    assert story.come(write(2))[:2] == [("Took", "2"), ("run", "2")]


def test_with_nothing_in_hand_the_retries_are_what_is_tried():
    story = Story(retries=True)
    story.begin()
    story.fails(kind=Kind.RETRY)
    assert story.core.away is not None
    assert ("retry",) in story.wait(rules.LONGEST_PAUSE)
    story.report(kind=Kind.RETRY)
    assert story.core.away is None


def test_retries_that_succeed_end_no_outage_that_entries_wait_for():
    story = Story(retries=True)
    story.begin()
    story.come(write(1))
    story.fails()
    assert story.report(kind=Kind.RETRY) == []
    assert story.core.away is not None
    # Nor are others tried: entries are what is tried.
    assert ("retry",) not in story.wait(10)


def test_an_outage_does_not_outlive_the_lease(held_up: Story):
    """A leader that met one and lost the lease held on to it, with nothing in hand that could end it."""
    held_up.come(write(1))
    held_up.fails()
    while held_up.core.leads:
        held_up.wait(0.25)
        if held_up.core.running:
            held_up.fails()
    assert held_up.core.in_hand == set()
    held_up.lease(False)
    held_up.core.retry_at = held_up.now
    assert ("retry",) in held_up.wait(rules.LONGEST_PAUSE)
    held_up.report(kind=Kind.RETRY)
    assert held_up.core.away is None
    assert ("Claim",) in held_up.lease(True)
    held_up.claimed()
    held_up.come()
    assert held_up.listed()[-1] == ("Read", 4)


def test_pauses_between_attempts_double_up_to_the_longest(story: Story):
    story.come(write(1))
    pauses = []
    for _ in range(6):
        story.fails()
        pauses.append(story.core.hold_until - story.now)
        assert story.wait(pauses[-1])[-1] == ("run", "1")
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 4.0, 5.0, 5.0])


def test_pauses_are_cut_at_random_and_never_to_nothing():
    cuts = iter([0.5, 0.0])
    story = Story(jitter=lambda: next(cuts))
    story.begin()
    story.come(write(1))
    story.fails()
    assert story.core.hold_until - story.now == rules.FIRST_PAUSE / 2
    story.wait(rules.FIRST_PAUSE)
    story.fails()
    assert story.core.hold_until - story.now == pytest.approx(rules.SHORTEST_PAUSE)


def test_a_success_ends_the_outage_and_its_pauses(story: Story):
    story.come(write(1))
    story.fails()
    story.wait(rules.FIRST_PAUSE)
    assert story.report(STORED) == [("Tell", "1"), ("Left", "1")]
    assert (story.core.away, story.core.pause) == (None, 0.0)


def test_what_holds_has_a_reason_and_a_beginning(story: Story):
    story.come(write(1))
    story.fails()
    began = story.now
    story.wait(rules.FIRST_PAUSE)
    story.fails()
    assert story.core.holding == Hold(Outage.DATABASE, "database is away", began)
    story.wait(1.0)
    story.fails(Outage.FAULT)
    assert story.core.holding == Hold(Outage.FAULT, "fault is away", story.now)


def test_a_job_knows_how_long_a_fault_has_been_holding(story: Story):
    story.come(write(1))
    assert story.job().held_seconds == 0.0
    story.fails(Outage.FAULT)
    story.wait(0.5)
    assert story.job().held_seconds == 0.5
    story.fails(Outage.FAULT)
    story.wait(1.0)
    assert story.job().held_seconds == 1.5


@pytest.mark.parametrize("outage", [Outage.DATABASE, Outage.FAULT])
def test_questions_behind_a_write_are_answered_while_nothing_can_be_stored(story: Story, outage: Outage):
    story.come(write(1))
    story.fails(outage)
    acts = story.come(question(2), write(3), question(4))
    assert acts == [("Took", "2", "3", "4"), ("answer", "2", "4"), ("Read", 4)]
    assert story.job(Kind.ANSWER).error == "unavailable"
    assert story.report(ANSWERED, ANSWERED, kind=Kind.ANSWER) == [("Tell", "2", "4"), ("Left", "2", "4")]
    assert [entry.id for entry in story.core.waiting] == ["1-0", "3-0"]


def test_while_one_pauses_questions_are_told_so_and_writes_wait(story: Story):
    story.tell(Paused("maintenance"))
    acts = story.come(write(1), question(2))
    assert acts == [("Took", "1", "2"), ("answer", "2"), ("Read", 4)]
    assert story.job(Kind.ANSWER).error == "paused"
    story.report(ANSWERED, kind=Kind.ANSWER)
    assert story.core.holding == Hold(None, "maintenance", story.now)
    assert story.tell(Paused(None)) == [("run", "1")]


def test_while_one_pauses_nothing_is_retried():
    story = Story(retries=True)
    story.begin()
    story.report(kind=Kind.RETRY)
    story.tell(Paused("maintenance"))
    assert ("retry",) not in story.wait(10)
    assert ("retry",) in story.tell(Paused(None))


def test_who_could_not_be_told_is_told_a_moment_later(story: Story):
    story.tell(Paused("maintenance"))
    story.come(question(1))
    story.report(None, kind=Kind.ANSWER)
    assert story.wait(rules.FIRST_PAUSE - 0.25) == []
    assert story.wait(0.25) == [("answer", "1")]


def test_while_all_is_well_nobody_is_told_otherwise():
    story = Story(processes=1)
    story.begin()
    story.come(write(1))
    assert story.come(question(2)) == [("Took", "2")]


def test_a_worker_that_is_set_aside_gives_back_what_waits_and_then_the_lease(story: Story):
    story.come(write(1))
    story.come(write(2), write(3))
    acts = story.tell(SetAside(True))
    assert ("Release", "2", "3") in acts
    # What runs comes to its end first: another leader would commit before it.
    assert ("GiveLease",) not in acts + story.wait(1)
    assert ("GiveLease",) in story.report(STORED)
    assert not story.core.in_hand
    # It asks for nothing, for however long, and that is no stand-still.
    assert {act[0] for act in story.wait(2 * rules.STALL_SECONDS)} <= {"GiveLease"}
    assert story.core.stalled_for < 1


def test_a_worker_that_is_set_aside_gives_the_lease_at_once_while_only_retries_run():
    story = Story(retries=True)
    story.begin()
    assert story.job(Kind.RETRY).entries == []
    assert ("GiveLease",) in story.tell(SetAside(True))


def test_what_still_comes_to_a_worker_that_is_set_aside_is_given_back(story: Story):
    story.tell(SetAside(True))
    assert ("Release", "1") in story.come(write(1))
    assert not story.core.in_hand


def test_a_worker_that_takes_its_turn_again_asks_for_the_lease_and_begins_with_what_is_pending(story: Story):
    story.tell(SetAside(True))
    story.wait(10)
    story.renews = False
    assert ("AskLease",) in story.tell(SetAside(False))
    assert ("Claim",) in story.lease(True)


def test_in_parallel_order_a_worker_that_is_set_aside_reads_nothing():
    story = Story(strict=False)
    story.begin()
    story.tell(SetAside(True))
    assert story.come(write(1))[-2:] == [("Release", "1"), ("Left", "1")]
    assert story.wait(30) == []
    assert ("Claim",) in story.tell(SetAside(False))


def test_a_probe_holds_no_question(story: Story):
    """Once the pause is over, writes go first by themselves, up to the first question's turn."""
    story.come(write(1), write(2))
    story.fails()
    story.come(write(3))
    assert story.wait(rules.FIRST_PAUSE)[0] == ("run", "1", "2", "3")
    assert story.come(question(4))[:2] == [("Took", "4"), ("answer", "4")]


def test_nobody_is_answered_before_one_who_asked_earlier(story: Story):
    story.come(question(1))
    assert story.fails() == [("answer", "1")]
    assert story.come(question(2)) == [("Took", "2"), ("Read", 4)]
    assert story.wait(rules.FIRST_PAUSE) == []
    assert story.report(ANSWERED, kind=Kind.ANSWER)[0] == ("run", "2")
    assert story.come(question(3)) == [("Took", "3"), ("Read", 4)]
    assert story.fails() == [("answer", "2", "3")]


def test_commands_do_not_wait_with_a_question_whose_answer_is_refused(story: Story):
    story.come(write(1), question(2))
    story.come(write(3), question(4), write(5))
    assert ("run", "3", "5") in story.report(STORED, None, refusal="Redis refuses answers")
    assert story.core.refused == Hold(Outage.REFUSED, "Redis refuses answers", story.now)
    began = story.now
    assert story.core.holding is None
    assert story.core.read is not None
    story.report(STORED, STORED)
    assert story.come(write(6)) == [("Took", "6"), ("run", "6"), ("Read", 4)]
    story.report(STORED)
    # In the order in which they were asked, and as one job with what stands between them.
    assert story.wait(rules.REFUSED_SECONDS)[0] == ("run", "2", "4")
    story.report(None, None, refusal="Redis refuses answers")
    assert story.core.refused.since == began
    assert story.wait(rules.REFUSED_SECONDS)[0] == ("run", "2", "4")
    assert story.core.read is not None
    story.report(ANSWERED, ANSWERED)
    assert story.core.refused is None
    assert not story.core.in_hand


def test_a_refused_answer_is_no_outage_and_ends_one(story: Story):
    story.come(question(1))
    story.fails()
    story.report(None, kind=Kind.ANSWER, refusal="Redis refuses answers")
    assert story.core.away is not None
    story.wait(rules.REFUSED_SECONDS)
    story.report(None, refusal="Redis refuses answers")
    assert story.core.away is None
    assert story.core.refused is not None
    assert all(entry.company is None and not entry.alone for entry in story.core.waiting)


def test_reading_on_beside_refused_questions_has_a_bound(story: Story):
    story.core.look_ahead = 2
    story.come(question(1))
    story.report(None, refusal="Redis refuses answers")
    assert story.come(question(2))[:1] == [("Took", "2")]
    assert story.core.read is None


def test_a_suspected_question_is_answered_by_itself(story: Story):
    story.come(write(1))
    story.fails()
    acts = story.come(question(2, deliveries=rules.SUSPECT_DELIVERIES), question(3))
    assert ("answer", "2") in acts


def test_reading_ahead_has_a_bound(story: Story):
    story.core.look_ahead = 3
    story.come(write(1))
    story.fails()
    assert story.come(write(2)) == [("Took", "2"), ("Read", 4)]
    assert story.come(write(3)) == [("Took", "3")]
    story.core.look_ahead = 100
    assert story.wait(0.1) == [("Read", 4)]


def test_reading_ahead_has_a_bound_in_bytes(story: Story):
    story.come(write(1))
    story.fails()
    half = rules.LOOK_AHEAD_BYTES // 2
    assert story.come(Entry("2-0", QUESTION, half)) == [("Took", "2"), ("answer", "2"), ("Read", 2)]
    assert story.come(write(3, size=half)) == [("Took", "3")]
    # What leaves makes room.
    assert story.report(ANSWERED, kind=Kind.ANSWER) == [("Read", 2), ("Tell", "2"), ("Left", "2")]
    assert story.core.bytes_in_hand == half + 100


def test_older_pending_entries_have_room_in_a_full_hand(story: Story):
    """Another's entries are taken over when the hand is full of newer ones: a question among them is answered."""
    story.core.look_ahead = 1
    story.come(write(5))
    story.fails()
    assert story.look_again(2, 5) == [("FetchPending", "2")]
    assert story.come(question(2)) == [("Took", "2"), ("answer", "2")]


def test_when_redis_is_away_nothing_is_read_ahead(story: Story):
    story.come(write(1), write(2))
    acts = story.report(STORED, None, acknowledged=False, outage=Outage.REDIS)
    assert ("Read", 4) not in acts
    assert not story.core.looks_ahead


def test_an_outage_of_the_failed_tasks_does_not_hold_up_entries():
    story = Story(retries=True)
    story.begin()
    story.fails(Outage.FAULT, kind=Kind.RETRY)
    assert story.core.away is None
    assert story.core.retry_at == story.now + rules.LONGEST_PAUSE
    assert story.come(write(1))[:2] == [("Took", "1"), ("run", "1")]


# The lease


def test_the_lease_is_renewed(held_up: Story):
    assert held_up.wait(rules.RENEW_SECONDS - 0.1) == []
    assert held_up.wait(0.1) == [("AskLease",)]
    assert held_up.wait(0.1) == []


def test_the_lease_lasts_from_the_moment_of_asking(held_up: Story):
    asked = held_up.now
    held_up.wait(rules.RENEW_SECONDS)
    held_up.now = asked + rules.RENEW_SECONDS + rules.LEASE_SECONDS - 1
    held_up.lease(True)
    assert held_up.core.leads
    held_up.wait(1.0)
    assert not held_up.core.leads


def test_an_answer_about_the_lease_counts_only_for_its_question(held_up: Story):
    held_up.wait(rules.RENEW_SECONDS)
    assert held_up.core.lease is not None
    held_up.tell(LeaseAnswered(held_up.core.lease.number - 1, False))
    assert held_up.core.leads
    assert held_up.core.lease is not None


def test_without_the_lease_everything_that_does_not_run_is_given_back(held_up: Story):
    held_up.come(write(1))
    held_up.come(write(2))
    held_up.wait(rules.RENEW_SECONDS)
    assert held_up.lease(False) == [("Withdraw",), ("Release", "2"), ("Left", "2")]
    assert held_up.report(None) == [("Release", "1"), ("Left", "1")]


def test_what_a_late_read_brings_is_given_back(held_up: Story):
    """An ex-leader dropped it, and it stayed pending for good."""
    held_up.now += rules.LEASE_SECONDS
    assert ("Release", "1", "2") in held_up.come(write(1), write(2))
    assert held_up.core.in_hand == set()


def test_what_was_asked_for_in_an_earlier_time_of_leading_waits_for_what_is_pending(held_up: Story):
    held_up.wait(rules.RENEW_SECONDS)
    held_up.lease(False)
    held_up.wait(rules.STANDBY_SECONDS)
    assert held_up.lease(True) == [("Claim",)]
    assert held_up.come(write(7)) == [("Took", "7")]
    assert held_up.claimed() == [("ListPending", "")]
    assert held_up.listed(5, 7) == [("FetchPending", "5")]
    assert held_up.come(write(5)) == [("Took", "5"), ("run", "5", "7"), ("Read", 4)]


def lead_again(story: Story) -> list[tuple[Any, ...]]:
    """The lease is lost and had again, before the answer to what was asked last."""
    story.wait(rules.RENEW_SECONDS)
    story.lease(False)
    story.wait(rules.STANDBY_SECONDS)
    return story.lease(True)


def test_a_page_from_an_earlier_time_of_leading_is_no_page_of_this_one():
    story = Story(renews=False)
    story.begin()
    story.wait(rules.CLAIM_SECONDS)
    story.claimed()
    story.come()
    assert lead_again(story) == [("Claim",)]
    # Before the claim has come back, others' entries are not among them.
    assert story.listed(1) == []
    assert story.claimed() == [("ListPending", "")]


def test_a_further_page_from_an_earlier_time_of_leading_is_not_taken_for_the_first():
    story = Story(renews=False)
    story.tell(LinkUp())
    story.lease(True)
    story.claimed()
    story.listed(5, full=True)
    story.come(write(5))
    lead_again(story)
    story.claimed()
    assert story.listed(7) == [("ListPending", "")]
    assert story.listed(2, 5, 7) == [("FetchPending", "2")]


def test_entries_fetched_in_an_earlier_time_of_leading_do_not_stand_for_a_list():
    story = Story(renews=False)
    story.begin(1)
    lead_again(story)
    assert story.claimed() == []
    assert story.come(write(1)) == [("Took", "1"), ("ListPending", "")]
    assert story.listed(1) == [("run", "1"), ("Read", 4)]


def test_what_comes_late_from_an_earlier_link_is_given_back_and_looked_for(story: Story):
    earlier = story.read
    story.tell(LinkDown())
    story.tell(LinkUp())
    story.claimed()
    assert story.tell(EntriesRead(earlier, [write(7)], 100)) == [("Release", "7"), ("Claim",)]
    assert story.core.in_hand == set()


def test_a_leader_looks_again_and_again_for_what_is_pending_and_not_in_hand(story: Story):
    assert story.wait(rules.CLAIM_SECONDS) == [("Claim",)]
    story.claimed()
    assert story.come() == [("ListPending", "")]
    assert story.listed(3) == [("FetchPending", "3")]
    assert story.come(write(3)) == [("Took", "3"), ("run", "3"), ("Read", 4)]


def test_what_is_in_hand_is_not_fetched(story: Story):
    story.come(write(1), write(2))
    assert story.look_again(1, 2) == [("Read", 4)]


def test_what_waits_for_something_older_does_not_keep_it_from_being_fetched():
    story = Story(processes=1)
    story.begin()
    story.come(write(5))
    story.come(write(6))
    story.wait(rules.CLAIM_SECONDS)
    story.claimed()
    story.report(STORED)
    assert story.listed(2, 6) == [("FetchPending", "2")]
    assert story.come(write(2)) == [("Took", "2"), ("run", "2", "6"), ("Read", 4)]


def test_who_makes_no_progress_gives_the_lease_up_and_does_not_ask_for_it(story: Story):
    story.come(write(1))
    story.come(write(2))
    story.tell(Accepted(story.job().number))
    assert ("GiveLease",) not in story.wait(rules.STALL_SECONDS)
    assert ("GiveLease",) in story.wait(0.25)
    assert story.core.in_hand == {"1-0"}
    assert ("AskLease",) not in story.wait(10.0)
    story.claimed(mine=False)
    assert ("AskLease",) in story.tell(ProcessLost(story.job().number))


def test_in_parallel_order_who_makes_no_progress_leaves_the_rest_to_others():
    story = Story(strict=False)
    story.begin()
    story.come(write(1))
    story.come(write(2))
    assert story.wait(rules.STALL_SECONDS + 1)[-2:] == [("Release", "2"), ("Left", "2")]
    assert not story.core.leads


def test_a_long_outage_of_redis_is_no_stall(story: Story):
    story.tell(LinkDown())
    story.wait(10 * rules.STALL_SECONDS)
    assert not story.core.stalled


# Links


def test_a_lost_link_keeps_what_is_in_hand_and_forgets_what_was_asked(story: Story):
    story.come(write(1))
    assert story.tell(LinkDown()) == []
    assert (story.core.read, story.core.claim, story.core.lease) == (None, None, None)
    assert story.core.in_hand == {"1-0"}
    assert story.tell(LinkUp()) == [("AskLease",), ("Claim",)]
    assert story.claimed() == [("ListPending", "")]
    assert story.listed(1, 2) == [("FetchPending", "2")]


LATE = [
    LeaseAnswered(0, False),
    Claimed(0, True, True),
    Listed(0, pending(9), False),
    Receiving(0),
    ReadTooLarge(0),
    EntriesRead(0, [], 0),
    Acknowledged(("9-0",)),
    Accepted(0),
    Reported(0, Report([STORED], [True])),
    ProcessLost(0),
    Forgotten(0),
]


@pytest.mark.parametrize("event", LATE, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("connected", [True, False])
def test_what_comes_late_or_twice_means_nothing(story: Story, event: Event, connected: bool):
    if not connected:
        story.tell(LinkDown())
    read = story.core.read
    assert story.tell(event) == []
    assert story.core.read is read
    assert story.core.leads


PROGRESS: dict[str, tuple[Callable[[Story], Any], bool]] = {
    "time passes": (lambda story: story.tell(Tick()), False),
    "the link is lost": (lambda story: story.tell(LinkDown()), True),
    "the link is back": (lambda story: story.tell(LinkUp()), True),
    "bytes come in": (lambda story: story.tell(Receiving(story.read)), True),
    "entries come in": (lambda story: story.come(), True),
    "entries come in late": (lambda story: story.tell(EntriesRead(0, [], 0)), False),
    "a process dies": (lambda story: story.tell(ProcessLost(story.job().number)), True),
    "a job comes back": (lambda story: story.report(STORED), True),
    "a job comes back undone": (lambda story: story.fails(), True),
    "a job comes back twice": (lambda story: story.tell(Reported(0, FAILED)), False),
    "the lease is renewed": (lambda story: story.tell(LeaseAnswered(0, True)), False),
    "the lease is another's": (lambda story: story.tell(LeaseAnswered(0, False)), True),
    "retries come back while entries are in hand": (lambda story: story.report(kind=Kind.RETRY), False),
    "one pauses": (lambda story: story.tell(Paused("maintenance")), False),
    "time passes in a pause": (lambda story: (story.tell(Paused("maintenance")), story.tell(Tick())), True),
    "time passes while it is set aside": (lambda story: (story.tell(SetAside(True)), story.tell(Tick())), True),
}


@pytest.mark.parametrize("what", PROGRESS)
def test_these_events_count_as_progress_and_those_do_not(what: str):
    """Whoever makes none for long gives the lease up."""
    story = Story(retries=True)
    story.begin()
    story.come(write(1))
    happens, counts = PROGRESS[what]
    story.now += 10
    happens(story)
    assert story.core.progress_at == (story.now if counts else story.now - 10)


def test_with_nothing_in_hand_retries_are_progress():
    story = Story(retries=True)
    story.begin()
    story.now += 10
    story.report(kind=Kind.RETRY)
    assert story.core.progress_at == story.now


def test_a_reader_that_reads_an_empty_stream_makes_progress():
    story = Story(strict=False)
    story.begin()
    for _ in range(4):
        story.now += rules.STALL_SECONDS / 2
        story.come()
        assert not story.core.stalled
        story.claimed()
        story.come()
        assert story.listed() == [("Read", 4)]


# Suspects


def test_what_was_delivered_often_runs_alone():
    story = Story()
    story.begin(1, 2)
    often = rules.SUSPECT_DELIVERIES
    acts = story.come(write(1, often), write(2, often))
    assert acts[:2] == [("Took", "1", "2"), ("run", "1")]
    assert story.report(STORED)[0] == ("run", "2")


def test_the_third_death_makes_suspects(story: Story):
    story.come(write(1), write(2))
    assert story.tell(ProcessLost(story.job().number)) == [("run", "1", "2")]
    assert story.tell(ProcessLost(story.job().number)) == [("run", "1")]
    assert [entry.deliveries for entry in story.job().entries] == [3]


def test_a_bug_makes_its_job_run_one_by_one(story: Story):
    story.come(write(1), write(2))
    assert story.report(crash="Traceback") == [("run", "1"), ("Tell",)]


def test_nothing_is_decoded_ahead_of_a_suspect_nor_is_a_suspect(story: Story):
    story.come(write(1, rules.SUSPECT_DELIVERIES))
    assert story.come(write(2)) == [("Took", "2")]
    story.report(STORED)
    assert story.come(write(3, rules.SUSPECT_DELIVERIES)) == [("Took", "3")]


# Smaller jobs


def test_a_job_that_comes_to_nothing_runs_in_smaller_parts(story: Story):
    story.core.batch_size = 500
    story.come(*map(write, range(1, 2 * rules.SMALLER + 1)))
    assert ("run", "1", "2") in story.report()
    assert ("run", "1") in story.report()


def test_a_culprit_among_many_is_alone_after_few_jobs(story: Story):
    story.core.batch_size = 500
    story.come(*map(write, range(1, 501)))
    sizes = []
    while len(story.core.running[0].entries) > 1:
        story.report()
        sizes.append(len(story.core.running[0].entries))
    assert sizes == [62, 7, 1]


def test_what_ran_when_the_database_went_away_runs_in_smaller_jobs_and_in_the_end_alone(story: Story):
    story.core.batch_size = 500
    story.come(*map(write, range(1, 501)))
    sizes = []
    while not (entries := story.core.running[0].entries)[0].alone:
        sizes.append(len(entries))
        story.report(outage=Outage.DATABASE, lost=True)
        assert story.core.holding is not None
        story.wait(rules.LONGEST_PAUSE)
    assert sizes == [500, 62, 7]
    assert len(entries) == 1


def test_what_the_database_was_away_for_all_along_runs_as_before(story: Story):
    story.core.batch_size = 500
    story.come(*map(write, range(1, 501)))
    story.fails()
    story.wait(rules.LONGEST_PAUSE)
    assert len(story.core.running[0].entries) == 500


def test_a_single_entry_that_comes_to_nothing_waits_as_in_an_outage(story: Story):
    story.come(write(1))
    assert story.report() == []
    assert story.core.holding == Hold(Outage.DATABASE, "the entry 1-0 does not come to an end", story.now)


def test_a_job_that_got_somewhere_is_not_halved(story: Story):
    story.come(*map(write, (1, 2, 3, 4)))
    assert story.report(STORED, None, None, None)[0] == ("run", "2", "3", "4")


# Sizes


def test_reads_grow_fourfold_up_to_a_batch():
    story = Story(batch_size=500)
    story.begin()
    counts = [rules.FIRST_COUNT]
    for place in range(1, 6):
        acts = story.come(write(place)) + story.report(STORED)
        counts += [act[1] for act in acts if act[0] == "Read"]
    assert counts[:4] == [16, 64, 256, 500]
    assert set(counts[4:]) <= {500}


def test_reads_shrink_with_the_size_of_entries():
    story = Story(batch_size=500)
    story.begin()
    megabyte = 2**20
    acts = story.come(*(write(place, size=megabyte) for place in range(1, 17)))
    assert acts[-1] == ("Read", 16)
    story.report(*[STORED] * 16)
    assert story.come(write(17, size=8 * megabyte))[-1] == ("Read", 2)


@pytest.mark.parametrize(("megabytes", "count"), [(3, 5), (6, 2), (9, 1), (17, 1)])
def test_a_read_asks_for_as_many_of_that_size_as_fit_and_for_one_at_least(story: Story, megabytes: int, count: int):
    story.core.batch_size = 500
    story.come(write(1, size=megabytes * 2**20))
    assert story.core.read_count == count


def test_a_read_that_is_too_large_is_done_again_one_by_one(story: Story):
    assert story.too_large() == [("Claim",)]
    story.claimed()
    assert story.listed(1, 2, 3) == [("FetchPending", "1")]
    assert story.core.read_count == 1


def test_of_what_is_too_large_by_itself_only_the_beginning_is_read(story: Story):
    story.too_large()
    story.claimed()
    story.listed(1, 2)
    assert story.too_large() == [("Claim",)]
    story.claimed()
    assert story.listed(1, 2) == [("FetchPending", "1", "brief")]
    assert story.come(write(1)) == [("Took", "1"), ("run", "1"), ("FetchPending", "2")]
    assert story.core.oversized == set()


def test_bytes_that_come_in_are_no_standstill(story: Story):
    for _ in range(4):
        story.now += rules.STALL_SECONDS / 2
        story.tell(Receiving(story.read))
        assert not story.core.stalled


# Jobs that hang


def test_a_job_that_hangs_is_killed_again_and_again_and_that_is_no_delivery(story: Story):
    story.come(write(1))
    story.tell(Accepted(story.job().number))
    assert ("Kill",) not in story.wait(rules.JOB_SECONDS)
    assert ("Kill",) in story.wait(0.25)
    assert ("Kill",) in story.wait(0.25)
    story.tell(ProcessLost(story.job().number))
    assert [(entry.id, entry.deliveries) for entry in story.core.waiting] == [("1-0", 1)]
    assert story.core.holding == Hold(Outage.DATABASE, "a job did not come back within 30 s and was killed", story.now)


def test_a_job_that_no_process_has_begun_is_not_killed(story: Story):
    story.come(write(1))
    assert ("Kill",) not in story.wait(rules.JOB_SECONDS + 1)


def test_a_job_that_is_begun_or_ends_late_is_said_to(story: Story):
    story.come(write(1))
    story.wait(15)
    assert story.core.delay is None
    story.wait(1)
    assert (
        story.core.delay == "no process of the pool has begun a batch for 16 s: are they stopped, or busy with calls?"
    )
    story.tell(Accepted(story.job().number))
    assert story.core.delay is None
    story.come(write(2))
    story.wait(20)
    assert story.core.delay == "a batch has not come back for 20 s"
    story.report(STORED)
    assert story.core.delay is None


# Retries


def test_failed_tasks_are_run_every_second_and_at_once_while_more_are_due():
    story = Story(retries=True)
    assert ("retry",) in story.tell(LinkUp())
    assert story.report(kind=Kind.RETRY, more=True) == [("retry",)]
    assert story.report(kind=Kind.RETRY) == []
    assert ("retry",) in story.wait(rules.RETRY_SECONDS)


def test_failed_tasks_are_run_beside_entries():
    story = Story(retries=True)
    story.begin()
    story.come(write(1))
    story.report(kind=Kind.RETRY)
    assert ("retry",) in story.wait(rules.RETRY_SECONDS)


def test_failed_tasks_that_were_run_are_told_of():
    story = Story(retries=True)
    story.begin()
    retried = Retried("createUser", "a task", "a user", None, 2, STORED)
    report = Report([], [], retried=[retried])
    assert story.tell(Reported(story.job(Kind.RETRY).number, report)) == [("Tell",)]


def test_who_stands_by_runs_failed_tasks_too():
    story = Story(retries=True)
    story.tell(LinkUp())
    story.report(kind=Kind.RETRY)
    story.lease(False)
    assert ("retry",) in story.wait(rules.RETRY_SECONDS)


# Stopping


def test_who_stops_finishes_what_runs_and_gives_back_what_waits(story: Story):
    story.come(write(1))
    story.come(write(2))
    assert story.tell(Stop()) == [("Withdraw",), ("Release", "2"), ("Left", "2")]
    assert story.report(STORED) == [("GiveLease",), ("Tell", "1"), ("Left", "1"), ("Stopped",)]
    assert story.wait(10.0) == []


def test_who_stops_with_nothing_in_hand_has_stopped(story: Story):
    assert story.tell(Stop()) == [("GiveLease",), ("Stopped",)]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("leads", [True, False])
def test_who_stops_gives_a_lease_that_it_has(strict: bool, linked: bool, leads: bool):
    story = Story(strict=strict)
    if leads:
        story.begin()
    story.tell(LinkUp() if linked else LinkDown())
    gives = [("GiveLease",)] if strict and linked and leads else []
    assert story.tell(Stop()) == [*gives, ("Stopped",)]


def test_what_the_pool_takes_along_when_it_ends_is_given_back(story: Story):
    story.come(write(1))
    story.tell(Stop())
    assert story.tell(Finish()) == [("Release", "1"), ("GiveLease",), ("Left", "1"), ("Stopped",)]


def test_the_clock_never_goes_back(story: Story):
    story.wait(1.0)
    story.core.on(Tick(), story.now - 50)
    assert story.core.now == story.now


# Parallel order: several jobs run at one time


def test_in_parallel_order_all_processes_but_one_run_entries():
    story = Story(strict=False, processes=3)
    story.begin()
    assert story.come(write(1), write(2)) == [("Took", "1", "2"), ("run", "1", "2"), ("Read", 4)]
    assert story.come(write(3)) == [("Took", "3"), ("run", "3"), ("Read", 4)]
    assert story.come(write(4)) == [("Took", "4")]


def test_in_strict_order_one_process_runs_entries_however_many_there_are():
    story = Story(processes=8)
    story.begin()
    assert story.come(write(1)) == [("Took", "1"), ("run", "1"), ("Read", 4)]
    assert story.come(write(2)) == [("Took", "2"), ("ahead", "2")]


def test_while_something_is_held_one_job_tries_it_in_parallel_order_too():
    story = Story(strict=False, processes=3)
    story.begin()
    story.come(write(1))
    story.come(write(2))
    first, second = story.core.running
    for job in (first, second):
        story.tell(Reported(job.number, FAILED))
    assert [act for act in story.wait(0.75) if act[0] == "run"] == [("run", "1", "2")]


def test_processes_that_an_operator_adds_are_used():
    story = Story(strict=False, processes=2)
    story.begin()
    story.come(write(1))
    story.come(write(2))
    # The one that is ahead begins, instead of waiting for ever behind others.
    assert story.tell(PoolSized(3)) == [("Begin",), ("Read", 4)]
