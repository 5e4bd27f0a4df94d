"""What the reader has in hand and what it does next: `core.on(event, now)` changes the state and returns actions.

No I/O, no timer, no clock, no Celery. Rule 1: everything that affects what the reader does is in here and nowhere else.

An event only notes what happened. Then `_go_on` looks at the whole state and does whatever is possible, so no
particular event is needed to go on. What ends by itself is kept as a time and not as a flag: the lease is valid *until*
a moment, an outage is waited out *until* a moment. Every wait keeps the moment *since* which it lasts. So no state
depends on one certain event to end it. tests/reader/ checks that in every state that a model of the world reaches.

    a leader:  CLAIM (take over others' pending entries) → PENDING (read again what is pending for us) → NEW
    an entry:  waiting → in a job → acknowledged, or decided → acknowledged; whatever a job leaves undone waits again
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from math import inf
from typing import NamedTuple

from dbstorage.codes import PAUSED, UNAVAILABLE
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
    GiveLease,
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
    Stopped,
    Submit,
    Tell,
    Took,
    Withdraw,
)
from dbstorage.storage.outcome import Outage, Report
from dbstorage.wire.entry_id import parse_entry_id

#: From this delivery on an entry is suspected of killing the process that runs it.
SUSPECT_DELIVERIES = 3
#: Seconds for which the lease is ours, from the moment in which it was asked for. Longer than the event loop is ever
#: blocked, shorter than the 10 s in which a standby has to take over.
LEASE_SECONDS = 6.0
RENEW_SECONDS = 1.5
#: How often a worker that stands by asks for the lease.
STANDBY_SECONDS = 0.4
#: How often a leader looks for pending entries: first those of other consumers, which an earlier leader may have left,
#: then its own that it does not have in hand, for whatever reason.
CLAIM_SECONDS = 3.0
RETRY_SECONDS = 1.0
#: Back-off while the reader holds: seconds between two attempts. They double; each is cut at random ("full jitter").
FIRST_PAUSE, LONGEST_PAUSE, SHORTEST_PAUSE = 0.5, 5.0, 0.05
#: How often a question is tried again whose answer Redis has refused.
REFUSED_SECONDS = 1.0
#: A job that runs for longer is killed: what it waits for has a shorter limit of its own.
JOB_SECONDS = 30.0
#: By what the size of a job is divided that came to nothing. Each such job costs the time limit of a statement, so a
#: single culprit among 500 entries should be alone after a few.
SMALLER = 8
#: After so long `/readyz` reports a job that no process has begun, or that has not ended.
LATE_SECONDS = 15.0
#: A worker that waits for longer gives the lease up, so that another one can try, and `/livez` reports it.
STALL_SECONDS = 60.0
#: Entries of the first read, when nothing is known of their size.
FIRST_COUNT = 16
#: How much larger than the one before a read may be.
GROWTH = 4
#: Bytes that a read, and so a job, should have at most.
READ_BYTES = 16 * 1024 * 1024
#: How many entries, and bytes, may be in hand while nothing can be stored: reading goes on to answer the questions.
LOOK_AHEAD = 10_000
LOOK_AHEAD_BYTES = 16 * 1024 * 1024


class Stage(StrEnum):
    """How far a reader is since it got the link or the lease."""

    CLAIM = "claim"
    PENDING = "pending"
    NEW = "new"


class Hold(NamedTuple):
    """Why nothing is written at the moment: which outage (None: an operator's pause), a sentence, since when.

    `Core.refused` is one, too. It says why no question is answered, although commands are stored.
    """

    outage: Outage | None
    reason: str
    since: float


@dataclass(slots=True)
class Asked:
    """A request to Redis whose reply is awaited."""

    number: int
    since: float
    #: Set by ListPending: the entry behind which it lists. `fetched`, set by FetchPending: the entries asked for.
    #: Both are None for a Read, a Claim and an AskLease.
    after: str | None = None
    fetched: tuple[PendingEntry, ...] | None = None


@dataclass(slots=True)
class Core:
    """The state of one worker's reader; `processes` is how many the pool has."""

    strict: bool = True
    batch_size: int = 500
    processes: int = 2
    look_ahead: int = LOOK_AHEAD
    #: Gives numbers from 0 to 1 by which pauses are cut: random ones in a worker, fixed ones in tests.
    jitter: Callable[[], float] = lambda: 1.0

    now: float = 0.0
    #: When the reader last made progress: it read, got a job back, or tried whether a hold is over. Standing by and
    #: being paused count as progress, too.
    progress_at: float | None = None
    link: bool = False
    stopping: bool = False
    stopped: bool = False
    #: An operator has told this worker to leave the stream to others. In parallel order it reads nothing.
    set_aside: bool = False

    # What is in hand: each entry is in exactly one of the three.
    waiting: list[Entry] = field(default_factory=list)
    jobs: dict[int, Job] = field(default_factory=dict)
    decided: dict[str, Entry] = field(default_factory=dict)
    #: The ids of all three.
    in_hand: set[str] = field(default_factory=set)
    bytes_in_hand: int = 0

    lease_until: float = -inf
    lease: Asked | None = None
    lease_at: float = -inf

    stage: Stage = Stage.CLAIM
    claim: Asked | None = None
    claim_at: float = -inf
    listed_to: str = ""
    listed_all: bool = False
    to_fetch: list[PendingEntry] = field(default_factory=list)
    #: Entries that did not even fit alone: only their beginning is read.
    oversized: set[str] = field(default_factory=set)
    read: Asked | None = None
    read_count: int = FIRST_COUNT
    fetch_count: int = 1

    paused: Hold | None = None
    away: Hold | None = None
    hold_until: float = -inf
    pause: float = 0.0
    retry_at: float = -inf
    #: Set while Redis refuses answers. Questions wait until `answer_at`, so that their order is kept.
    refused: Hold | None = None
    answer_at: float = -inf

    _numbers: int = 0
    _actions: list[Action] = field(default_factory=list)
    #: Actions that are carried out after all others: the database should not wait while outcomes are published.
    _last: list[Action] = field(default_factory=list)

    def on(self, event: Event, now: float) -> list[Action]:
        """Note what happened at `now` (seconds, never falling); return what is to be done, in this order."""
        self.now = max(now, self.now)
        self._actions, self._last = [], []
        self._note(event)
        self._go_on()
        return self._actions + self._last

    # What the state means

    @property
    def leads(self) -> bool:
        """Whether this worker may read: in strict order while it holds the lease, in parallel unless it has stalled."""
        return self.now < self.lease_until if self.strict else not self.stalled

    @property
    def may_begin(self) -> bool:
        """Whether jobs may begin. A leader claims first, and the claim's reply confirms that the lease is ours."""
        return self.link and self.leads and not self.stopping and not self.set_aside and self.stage is not Stage.CLAIM

    @property
    def holding(self) -> Hold | None:
        """Why nothing is written at the moment; None where no reason is known."""
        return self.paused or self.away

    @property
    def rests(self) -> bool:
        """Whether it is paused, and nothing of it is being stored any more."""
        return self.paused is not None and all(job.ahead or job.kind is Kind.ANSWER for job in self.jobs.values())

    @property
    def held(self) -> bool:
        """Whether the next attempt has to wait."""
        return self.paused is not None or self.now < self.hold_until

    @property
    def looks_ahead(self) -> bool:
        """Whether entries are read only to answer the questions among them, because nothing can be stored now."""
        if self.paused is not None:
            return True
        away = self.away is not None and self.away.outage not in (Outage.REDIS, Outage.REFUSED)
        return away and (self.held or bool(self.running))

    @property
    def running(self) -> list[Job]:
        """The jobs that run entries."""
        return [job for job in self.jobs.values() if job.kind is Kind.RUN and not job.ahead]

    @property
    def lanes(self) -> int:
        """How many jobs may run entries at one time: in parallel order one less than the pool has processes.

        While the reader holds it is one: it tries whether the reason is over.
        """
        return 1 if self.strict or self.holding is not None else max(1, self.processes - 1)

    @property
    def ahead(self) -> Job | None:
        """The job that is decoded while the one before it runs."""
        return next((job for job in self.jobs.values() if job.ahead), None)

    @property
    def stalled_for(self) -> float:
        """Seconds since the last progress, or for which the oldest reply or job has been awaited, if that is longer."""
        waits = [job.since for job in self.jobs.values() if not job.ahead]
        waits += [asked.since for asked in (self.read, self.claim) if asked is not None]
        # Without a link nothing can be done, and nobody else could do better.
        waits += [self.progress_at] if self.link and self.progress_at is not None else []
        return self.now - min(waits, default=self.now)

    @property
    def stalled(self) -> bool:
        """Whether there was no progress for so long that another worker should take over."""
        return self.stalled_for > STALL_SECONDS

    @property
    def delay(self) -> str | None:
        """What of the pool is late, in a sentence; None where nothing is."""
        job = min((job for job in self.jobs.values() if not job.ahead), key=lambda job: job.since, default=None)
        if job is None or self.now - job.since <= LATE_SECONDS:
            return None
        late = f"for {self.now - job.since:.0f} s"
        if job.accepted:
            return f"a batch has not come back {late}"
        return f"no process of the pool has begun a batch {late}: are they stopped, or busy with calls?"

    @property
    def busy(self) -> bool:
        """Whether the pool has a job that may change something."""
        return any(not job.ahead for job in self.jobs.values())

    # Events

    def _is_progress(self, event: Event) -> bool:
        match event:
            case LinkUp() | LinkDown() | Receiving() | ProcessLost():
                return True
            case EntriesRead(number) | Listed(number):
                return self.read is not None and self.read.number == number
            case LeaseAnswered(_, mine):
                return not mine
            case Reported(number) if number in self.jobs:
                # A sweep says nothing about entries that are stuck. With none in hand it is the attempt that counts.
                return self.jobs[number].kind is not Kind.RETRY or not self.in_hand
            case _:
                return self.paused is not None or self.set_aside or self.progress_at is None

    def _note(self, event: Event) -> None:
        if self._is_progress(event):
            self.progress_at = self.now
        # A tick has no case below, and events that come late or twice match none either.
        match event:
            case LinkUp():
                self.link = True
                self.lease_at = self.now
                self._begin_with_pending()
                self._acknowledge(self.decided)
            case LinkDown():
                self.link = False
                self.read = self.claim = self.lease = None
            case LeaseAnswered(number, mine) if self.lease is not None and self.lease.number == number:
                self._lease_answered(self.lease, mine)
            case Claimed(number) if self.claim is not None and self.claim.number == number:
                self._claimed(event)
            case Listed(number) if self.read is not None and self.read.number == number:
                self._listed(self.read, event)
            case EntriesRead():
                self._entries_read(event)
            case Receiving(number) if self.read is not None and self.read.number == number:
                self.read.since = self.now
            case ReadTooLarge(number) if self.read is not None and self.read.number == number:
                self._read_too_large(self.read)
            case Acknowledged(ids):
                self._leave([self.decided.pop(entry_id) for entry_id in ids if entry_id in self.decided])
            case Accepted(number) if number in self.jobs:
                job = self.jobs[number]
                job.accepted, job.since = True, self.now
            case Reported(number) if number in self.jobs:
                self._reported(self.jobs.pop(number), event)
            case ProcessLost(number) if number in self.jobs:
                self._process_lost(self.jobs.pop(number))
            case Forgotten(number) if number in self.jobs:
                self._wait_again(self.jobs.pop(number).entries)
            case PoolSized(processes):
                self.processes = processes
            case SetAside(aside):
                self.set_aside, self.lease_at = aside, self.now
                self._begin_with_pending()
            case Paused(reason):
                self.paused = None if reason is None else Hold(None, reason, self.now)
            case Stop():
                self.stopping = True
            case Finish():
                self.stopping = True
                for job in self.jobs.values():
                    self._wait_again(job.entries)
                self.jobs.clear()

    def _begin_with_pending(self) -> None:
        self.stage, self.claim = Stage.CLAIM, None
        self.fetch_count = 1

    def _lease_answered(self, asked: Asked, mine: bool) -> None:
        self.lease = None
        if mine and not self.leads:
            self._begin_with_pending()
        self.lease_until = asked.since + LEASE_SECONDS if mine else -inf
        self.lease_at = asked.since + RENEW_SECONDS if mine else self.now + STANDBY_SECONDS

    def _claimed(self, event: Claimed) -> None:
        self.claim = None
        if not event.mine:
            self.lease_until, self.lease_at = -inf, self.now
            return
        self.claim_at = self.now + CLAIM_SECONDS
        self.stage = Stage.CLAIM if event.more else Stage.PENDING
        self.listed_to, self.listed_all, self.to_fetch = "", False, []

    def _listed(self, asked: Asked, event: Listed) -> None:
        self.read = None
        if self.stage is not Stage.PENDING or asked.after != self.listed_to:
            return
        self.to_fetch = [pending for pending in event.pending if pending.id not in self.in_hand]
        self.listed_all = not event.full
        if event.pending:
            self.listed_to = event.pending[-1].id
        self._take_up_new()

    def _entries_read(self, event: EntriesRead) -> None:
        if self.read is None or self.read.number != event.number:
            # A late reply to a request that was given up. The entries are pending for us: release and list them anew.
            strays = [entry for entry in event.entries if entry.id not in self.in_hand]
            if strays:
                self._release(strays)
                self._begin_with_pending()
            return
        asked, self.read = self.read, None
        entries = [entry for entry in event.entries if entry.id not in self.in_hand]
        for entry in entries:
            entry.alone = entry.deliveries >= SUSPECT_DELIVERIES
        if event.entries:
            fitting = max(1, min(self.batch_size, READ_BYTES * len(event.entries) // max(1, event.size)))
            self.read_count = min(fitting, GROWTH * self.read_count)
            if asked.fetched is not None:
                self.fetch_count = min(fitting, GROWTH * self.fetch_count)
        if entries:
            self.in_hand.update([entry.id for entry in entries])
            self.bytes_in_hand += sum([entry.size for entry in entries])
            self.waiting += entries
            if asked.fetched is not None:
                self._sort_waiting()
            self._actions.append(Took(entries))
        if asked.fetched is not None and self.stage is Stage.PENDING:
            fetched = {pending.id for pending in asked.fetched}
            self.to_fetch = [pending for pending in self.to_fetch if pending.id not in fetched]
            self.oversized -= fetched
            self._take_up_new()

    def _take_up_new(self) -> None:
        """Read what is new from now on, if nothing is pending any more."""
        if self.listed_all and not self.to_fetch:
            self.stage = Stage.NEW

    def _read_too_large(self, asked: Asked) -> None:
        """Read one entry at a time from now on; of an entry that is too large by itself only the beginning."""
        self.read = None
        self.read_count = 1
        if asked.fetched is not None and len(asked.fetched) == 1:
            self.oversized.add(asked.fetched[0].id)
        self._begin_with_pending()

    def _reported(self, job: Job, event: Reported) -> None:
        report = event.report
        if job.kind is Kind.RETRY and report.outage in (Outage.FAULT, Outage.REPLAY):
            # The fault may be in the table of failed tasks. It does not hold entries: they find faults by themselves.
            self.retry_at = self.now + LONGEST_PAUSE
            return
        rows = [*zip(job.entries, report.outcomes, report.acknowledged, strict=True)]
        told = [entry for entry, outcome, _ in rows if outcome is not None]
        outcomes = [outcome for outcome in report.outcomes if outcome is not None]
        finished = [entry for entry, _, acknowledged in rows if acknowledged]
        unacknowledged = {
            entry.id: entry for entry, outcome, acknowledged in rows if outcome is not None and not acknowledged
        }
        left = [entry for entry, outcome, acknowledged in rows if outcome is None and not acknowledged]
        self.decided |= unacknowledged
        self._wait_again(left)
        self._refused(report, finished)
        if told or report.retried or report.crash:
            self._last.append(Tell(told, outcomes, job, report))
        self._leave(finished)
        self._acknowledge(unacknowledged)
        if report.outage is not None:
            if report.lost:
                self._suspect(left)
            self._hold(report.outage, report.reason)
        elif report.crash:
            for entry in left:
                entry.alone = True
            if job.alone and left:
                self._hold(Outage.DATABASE, f"the entry {left[0].id} meets a bug, and its failure cannot be recorded")
        elif not job.ahead:
            if not report.refusal:
                self._try_smaller(job, left)
            came_through = told or report.refusal
            if (job.kind is Kind.RUN and came_through) or (job.kind is Kind.RETRY and not self.in_hand):
                self.away, self.pause, self.hold_until = None, 0.0, -inf
        if job.kind is Kind.ANSWER and left:
            self.answer_at = self.now + FIRST_PAUSE
        if report.more:
            self.retry_at = self.now

    def _refused(self, report: Report, finished: list[Entry]) -> None:
        """Note whether Redis takes answers. A question whose answer it refused is tried again, until it is too old."""
        if report.refusal:
            self.refused = Hold(Outage.REFUSED, report.refusal, self.refused.since if self.refused else self.now)
            self.answer_at = self.now + REFUSED_SECONDS
        elif self.refused is not None and any(entry.question for entry in finished):
            self.refused = None

    def _try_smaller(self, job: Job, left: list[Entry]) -> None:
        """If a job decided none of its entries in time, run them in much smaller jobs.

        A single entry holds the reader, as an outage does.
        """
        if not left or len(left) < len(job.entries):
            return
        for entry in left:
            entry.company = max(1, len(left) // SMALLER)
        if len(left) == 1:
            self._hold(Outage.DATABASE, f"the entry {left[0].id} does not come to an end")

    def _suspect(self, left: list[Entry]) -> None:
        """The database went away while it ran these. One of them may be the reason, so they run in smaller jobs.

        In the end each is alone; then it is counted how often that happens.
        """
        most = max(1, len(left) // SMALLER)
        for entry in left:
            entry.company = most
            entry.alone = entry.alone or most == 1

    def _process_lost(self, job: Job) -> None:
        if job.killed:
            self._hold(Outage.DATABASE, f"a job did not come back within {JOB_SECONDS:.0f} s and was killed")
        else:
            for entry in job.entries:
                entry.deliveries += 1
                entry.alone = entry.alone or entry.deliveries >= SUSPECT_DELIVERIES
        self._wait_again(job.entries)

    def _hold(self, outage: Outage, reason: str) -> None:
        """Wait before the next attempt; pauses grow until one succeeds."""
        same = self.away is not None and self.away.outage is outage
        self.away = Hold(outage, reason, self.away.since if same and self.away else self.now)
        if self.now >= self.hold_until:
            self.pause = min(LONGEST_PAUSE, self.pause * 2 or FIRST_PAUSE)
            self.hold_until = self.now + max(SHORTEST_PAUSE, self.pause * self.jitter())

    def _wait_again(self, entries: list[Entry]) -> None:
        if entries:
            self.waiting = entries + self.waiting
            self._sort_waiting()

    def _sort_waiting(self) -> None:
        self.waiting.sort(key=lambda entry: entry.position)

    def _leave(self, entries: list[Entry]) -> None:
        if entries:
            self.in_hand.difference_update([entry.id for entry in entries])
            self.bytes_in_hand -= sum([entry.size for entry in entries])
            self._last.append(Left(entries))

    def _acknowledge(self, ids: Iterable[str]) -> None:
        if self.link and (chosen := tuple(ids)):
            self._actions.append(Acknowledge(chosen))

    def _release(self, entries: list[Entry]) -> None:
        if self.link and entries:
            self._actions.append(Release(tuple(entry.id for entry in entries)))

    # What is to be done

    def _go_on(self) -> None:
        self._kill_what_hangs()
        self._keep_lease()
        if self.stopping or self.set_aside or (self.link and not self.leads):
            self._let_go()
        if self.stopping:
            if not self.busy and not self.stopped:
                self.stopped = True
                self._give_lease()
                self._last.append(Stopped())
            return
        self._run()
        self._answer()
        self._retry()
        self._claim()
        self._read()

    def _kill_what_hangs(self) -> None:
        for job in self.jobs.values():
            if job.accepted and not job.ahead and self.now - job.since > JOB_SECONDS:
                job.killed = True
                self._actions.append(Kill(job.number))

    def _keep_lease(self) -> None:
        if not self.strict or not self.link or self.stopped:
            return
        runs_entries = any(job.entries and not job.ahead for job in self.jobs.values())
        if self.stalled or (self.set_aside and not runs_entries):
            self._give_lease()
            self.lease = None
        elif self.lease is None and self.now >= self.lease_at and (self.leads or not self.set_aside):
            self.lease = self._asked()
            self._actions.append(AskLease(self.lease.number))

    def _give_lease(self) -> None:
        if self.strict and self.link and self.leads:
            self._actions.append(GiveLease())
        self.lease_until = -inf

    def _let_go(self) -> None:
        """Another worker reads, or will soon: release what does not run yet, so that it can take it over."""
        self._withdraw()
        released, self.waiting = self.waiting, []
        self.refused = None
        self._release(released)
        self._leave(released)

    def _withdraw(self) -> None:
        if (ahead := self.ahead) is not None:
            del self.jobs[ahead.number]
            self._wait_again(ahead.entries)
            self._actions.append(Withdraw(ahead.number))

    def _run(self) -> None:
        """Run the entries that come first; meanwhile the next batch is decoded by another pool process."""
        if (ahead := self.ahead) is not None and (len(self.running) < self.lanes or self.holding is not None):
            if self.may_begin and self.holding is None and self._comes_next(ahead):
                ahead.ahead, ahead.since = False, self.now
                self._actions.append(Begin(ahead.number))
            else:
                self._withdraw()
        if not self.may_begin or self.held:
            return
        while len(self.running) < self.lanes:
            if not self._submit(Kind.RUN, self._together(self._next())):
                return
        if self.lanes == 1 and self.processes > 1 and not self.ahead and not self.holding and not self.refused:
            chosen = self._together(self._next())
            if chosen and not chosen[0].alone and not self.running[0].alone:
                self._submit(Kind.RUN, chosen, ahead=True)

    def _comes_next(self, ahead: Job) -> bool:
        """Whether nothing waits that is older than this job."""
        last = ahead.entries[-1].position
        older = not self.waiting or last < self.waiting[0].position
        return older and last <= self._frontier()

    def _frontier(self) -> tuple[float, float]:
        """The position in the stream up to which everything that is pending for us is in hand."""
        if not self.strict or self.stage is Stage.NEW:
            return (inf, inf)
        if self.to_fetch:
            return parse_entry_id(self.to_fetch[0].id)
        return parse_entry_id(self.listed_to or "0-0")

    def _ready(self) -> Iterator[Entry]:
        """The waiting entries that may run: no older one is still to be fetched. In stream order."""
        frontier = self._frontier()
        if frontier == (inf, inf):
            return iter(self.waiting)
        return takewhile(lambda entry: entry.position <= frontier, self.waiting)

    def _next(self) -> Iterator[Entry]:
        """The entries that run next.

        While nothing can be stored, an attempt takes writes only: a question in it would have to wait for the outcome.
        """
        ready = self._ready()
        if not self.waiting:
            return ready
        if self.refused is not None and self.now < self.answer_at:
            # Questions wait until Redis takes answers; commands that write need not.
            return (entry for entry in ready if not entry.question)
        answering = any(job.kind is Kind.ANSWER for job in self.jobs.values())
        if answering or (self.holding is not None and not self.waiting[0].question):
            return takewhile(lambda entry: not entry.question, ready)
        return ready

    def _together(self, entries: Iterable[Entry]) -> list[Entry]:
        """The first of these entries, as many as may be in one job."""
        chosen: list[Entry] = []
        most, size = self.batch_size, 0
        for entry in entries:
            if entry.alone:
                most = 1
            elif entry.company is not None:
                most = min(most, entry.company)
            size += entry.size
            if len(chosen) >= most or (chosen and size > READ_BYTES):
                break
            chosen.append(entry)
        return chosen

    def _answer(self) -> None:
        """Answer questions with an error while nothing can be stored, in the order in which they were asked."""
        if not self.may_begin or not self.looks_ahead or self.now < self.answer_at:
            return
        if any(job.kind is Kind.ANSWER for job in self.jobs.values()):
            return
        if any(entry.question for job in self.running for entry in job.entries):
            return
        self._submit(Kind.ANSWER, self._together(entry for entry in self._ready() if entry.question))

    def _retry(self) -> None:
        """Run failed tasks that are due: a sweep.

        While the reader holds with nothing in hand, the sweep is the attempt that shows whether the reason is over.
        """
        if not self.link or self.held or self.now < self.retry_at or (self.away is not None and self.in_hand):
            return
        if not any(job.kind is Kind.RETRY for job in self.jobs.values()):
            self.retry_at = self.now + RETRY_SECONDS
            self._submit(Kind.RETRY, [])

    def _submit(self, kind: Kind, entries: list[Entry], *, ahead: bool = False) -> bool:
        """Give the pool a job with these entries; False where there are none."""
        if not entries and kind is not Kind.RETRY:
            return False
        self._numbers += 1
        job = Job(self._numbers, kind, entries, ahead, self.now)
        if kind is Kind.ANSWER:
            job.error = PAUSED if self.paused is not None else UNAVAILABLE
        elif self.away is not None and self.away.outage is Outage.FAULT:
            job.held_seconds = self.now - self.away.since
        if entries == self.waiting[: len(entries)]:
            del self.waiting[: len(entries)]
        else:
            chosen = {entry.id for entry in entries}
            self.waiting = [entry for entry in self.waiting if entry.id not in chosen]
        self.jobs[job.number] = job
        self._actions.append(Submit(job))
        return True

    def _claim(self) -> None:
        due = self.stage is Stage.CLAIM or (self.stage is Stage.NEW and self.now >= self.claim_at)
        if self.link and self.leads and not self.set_aside and self.claim is None and due:
            self.claim = self._asked()
            self._actions.append(Claim(self.claim.number))

    def _read(self) -> None:
        """Ask Redis for the next entries, unless a reply is awaited or there is no room."""
        if not self.may_begin or self.read is not None:
            return
        if self.stage is Stage.NEW:
            if self._has_room:
                self.read = self._asked()
                self._actions.append(Read(self.read.number, min(self.read_count, self.batch_size)))
        elif not self.to_fetch:
            self.read = self._asked(after=self.listed_to)
            self._actions.append(ListPending(self.read.number, self.listed_to))
        elif self._has_room or self.looks_ahead or self._older_missing:
            # In an outage there is always room for pending entries: they are older than those in hand.
            brief = self.to_fetch[0].id in self.oversized
            whole = takewhile(lambda pending: pending.id not in self.oversized, self.to_fetch[: self.fetch_count])
            chosen = (self.to_fetch[0],) if brief else tuple(whole)
            self.read = self._asked(fetched=chosen)
            self._actions.append(FetchPending(self.read.number, chosen, brief))

    @property
    def _has_room(self) -> bool:
        if self.looks_ahead or self.refused is not None:
            return len(self.in_hand) < self.look_ahead and self.bytes_in_hand < LOOK_AHEAD_BYTES
        return self.ahead is None and not self.waiting

    @property
    def _older_missing(self) -> bool:
        """Whether waiting entries may not run because an older one is still to be fetched."""
        return bool(self.waiting) and self._frontier() < self.waiting[0].position

    def _asked(self, after: str | None = None, fetched: tuple[PendingEntry, ...] | None = None) -> Asked:
        self._numbers += 1
        return Asked(self._numbers, self.now, after, fetched)
