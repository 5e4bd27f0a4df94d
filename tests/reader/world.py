"""A small world for the reader's core: two workers with real cores, a Redis, a database, pools, and time.

Everything happens one small step at a time, and a test decides which: a request is served, its reply comes in, a job
is taken by a process, ends, and its report comes in. `pass_time` runs everything as it would happen by itself. After
each step of a core the promises are checked that hold in every state (`_check`), after each effect those about order.
"""

import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from math import inf
from typing import Any, TypeAlias

from dbstorage.reader import core as rules
from dbstorage.reader.core import Core, Stage
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
    PendingEntry,
    ProcessLost,
    Read,
    ReadTooLarge,
    Release,
    Reported,
    Stop,
    Stopped,
    Submit,
    Tell,
    Tick,
    Took,
    Withdraw,
)
from dbstorage.storage.outcome import ANSWERED, STORED, Outage, Outcome, Report

#: Seconds for which Redis lets a read wait for entries.
BLOCK = 2.0
#: Entries of others that are idle for so long are taken over in parallel order, in seconds.
CLAIM_IDLE = 60.0
#: Entries on a page of pending ones, and entries that one claim takes over; in earnest hundreds.
PAGE, CLAIM_PAGE = 3, 2
#: What a worker takes in with one reply, in bytes.
TAKES_IN = 64 * 2**20
#: The beginning of an entry that is too large.
BRIEF = 64 * 2**10
#: Seconds between two ticks.
STEP = 0.25
#: Seconds after SIGTERM in which Celery ends the pool.
POOL_ENDS = 8.0
#: Rounds in which everything that can happen has happened, without time passing; beyond that something spins.
ROUNDS = 400
#: How many of the last steps a failure shows.
TOLD_STEPS = 60


class Content(StrEnum):
    """What an entry of this world is."""

    WRITE = "write"
    QUESTION = "question"
    #: Two of them are more than one batch may hold.
    LARGE = "large"
    #: More than a worker takes in.
    OVERSIZED = "oversized"


SIZES = {Content.WRITE: 200, Content.QUESTION: 100, Content.LARGE: 9 * 2**20, Content.OVERSIZED: 70 * 2**20}
FIELDS = {
    content: [b"message", b'{"function":"getCloseOrders"}' if content is Content.QUESTION else b"{}"]
    for content in Content
}


def full_pause() -> float:
    """Pauses are not cut."""
    return 1.0


def no_pause() -> float:
    """Pauses are cut to nothing."""
    return 0.0


def id_of(place: int) -> str:
    return f"{place}-0"


def place_of(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


@dataclass
class Pending:
    """An entry in the group's pending list; `since` is when it was last delivered."""

    owner: str
    deliveries: int
    since: float


@dataclass
class Request:
    """What a core asked of Redis, on its way there or, once there is a reply, on its way back."""

    action: Any
    since: float
    served: bool = False
    reply: Event | None = None


@dataclass
class PoolJob:
    """A job as the pool sees it."""

    job: Job
    begun: bool
    accepted: bool = False
    withdrawn: bool = False
    hung: bool = False
    unkillable: bool = False

    @property
    def runs(self) -> bool:
        """Whether a process works on it, and will come to an end."""
        return self.accepted and self.begun and not self.withdrawn and not self.hung


@dataclass
class Worker:
    """A worker: its core, its two connections to Redis, its pool and what the pool has to say."""

    name: str
    core: Core
    connected: bool = False
    #: Requests wait in line: on the connection that reads, and on the one for everything else.
    reading: list[Request] = field(default_factory=list)
    commands: list[Request] = field(default_factory=list)
    pool: list[PoolJob] = field(default_factory=list)
    inbox: list[Event] = field(default_factory=list)
    #: Replies of lost connections that are still to come in, whenever that is.
    late: list[Event] = field(default_factory=list)
    #: What is in hand as the core told it, and of that what was told of.
    hand: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    #: How many processes its pool ever had: what they run goes on when an operator takes some away.
    most_processes: int = 0
    stops_since: float | None = None
    stopped: bool = False

    def pool_job(self, number: int) -> PoolJob | None:
        return next((job for job in self.pool if job.job.number == number), None)


Story: TypeAlias = list[tuple[float, str, Any, list[Action]]]


class World:
    """Two workers of one group, and everything around them."""

    def __init__(self, core: Callable[[], Core], workers: int = 2) -> None:
        self.make = core
        self.strict = core().strict
        self.now = 100.0
        self.stream: list[Content] = []
        #: How many of them were delivered for the first time.
        self.delivered = 0
        self.pending: dict[int, Pending] = {}
        self.deleted: set[int] = set()
        self.lease = ""
        self.lease_until = -inf
        self.redis = True
        #: Whether Redis is full: it refuses SET, with which a lease is taken and a link made, and serves the rest.
        self.full = False
        #: Whether Redis takes answers: the response stream may be another kind of key.
        self.takes_answers = True
        #: What keeps the database from taking writes, and what keeps failed tasks from being swept.
        self.database: Outage | None = None
        self.sweeping: Outage | None = None
        #: How many batches of failed tasks are due.
        self.due = 0
        #: What was written and answered, in that order.
        self.written: list[int] = []
        self.answered: list[int] = []
        #: Delivered to a worker behind the back of the one that leads; only Redis can have them in order.
        self.raced: set[int] = set()
        #: Requests of lost connections, which Redis may serve all the same.
        self.ghosts: list[tuple[str, Request]] = []
        self.workers = [Worker(name, core()) for name in ("a", "b")[:workers]]
        self.story: Story = []
        #: A promise was broken; what follows means nothing.
        self.broken = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "story": []}

    def clone(self) -> "World":
        """A copy that goes a way of its own."""
        copy: World = pickle.loads(pickle.dumps(self, -1))
        copy.story = list(self.story[-TOLD_STEPS:])
        return copy

    # What is so

    def leads(self, worker: Worker) -> bool:
        return not self.strict or (self.lease == worker.name and self.now < self.lease_until)

    def is_question(self, place: int) -> bool:
        return self.stream[place - 1] is Content.QUESTION

    @property
    def unread(self) -> int:
        return len(self.stream) - self.delivered

    @property
    def running(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.stopped]

    @property
    def stuck(self) -> bool:
        """Whether a worker has a job that nothing can end."""
        return any(job.hung and job.unkillable for worker in self.running for job in worker.pool)

    # The core

    def fire(self, worker: Worker, event: Event) -> None:
        """Let a core know, carry out what it asks for, and look at what it is now."""
        actions: list[Action] = []
        self.story.append((self.now, worker.name, event, actions))
        try:
            actions += worker.core.on(event, self.now)
            for action in actions:
                self._carry_out(worker, action)
            self._check(worker, actions)
        except Exception as error:
            self.broken = True
            error.add_note(self.told())
            raise

    def told(self) -> str:
        """The last steps, for a person."""
        lines = []
        for now, name, event, actions in self.story[-TOLD_STEPS:]:
            lines.append(f"{now:8.2f} {name} {event}")
            lines += [f"             -> {action}" for action in actions]
        return "\n".join(lines)

    def _carry_out(self, worker: Worker, action: Action) -> None:
        core = worker.core
        match action:
            case Read() | ListPending() | FetchPending():
                assert self.leads(worker), "reads without the lease"
                assert len(worker.reading) < 4, "reads pile up"
                assert not core.stopping
                self._send(worker, worker.reading, action)
                if isinstance(action, Read):
                    assert 1 <= action.most <= core.batch_size
                    assert core.stage is Stage.NEW, "reads new entries before pending ones"
                if isinstance(action, FetchPending):
                    assert action.pending
                    assert not {pending.id for pending in action.pending} & core.in_hand, "fetches what is in hand"
                    assert len(action.pending) == 1 or not action.brief
            case Claim():
                assert self.leads(worker), "claims without the lease"
                self._send(worker, worker.commands, action)
            case AskLease() | GiveLease() | Release():
                assert self.strict or isinstance(action, Release)
                self._send(worker, worker.commands, action)
            case Acknowledge(ids):
                assert ids
                assert core.decided.keys() >= set(ids), "acknowledges what is not decided"
                self._send(worker, worker.commands, action)
            case Submit(job):
                self._submitted(worker, job)
            case Begin(number):
                assert self.leads(worker), "begins without the lease"
                self._check_order(worker, core.jobs[number])
                if (begun := self._ahead(worker, number)) is not None:
                    begun.begun = True
            case Withdraw(number):
                assert number not in core.jobs
                if (withdrawn := self._ahead(worker, number)) is not None:
                    withdrawn.withdrawn = True
            case Kill(number):
                assert number in core.jobs
                if (killed := worker.pool_job(number)) is not None and killed.accepted and not killed.unkillable:
                    self.end(worker, killed, "killed")
            case Took(entries):
                held = {entry.id for entry in entries}
                assert len(held) == len(entries)
                assert not worker.hand & held, "takes what is in hand"
                worker.hand |= held
            case Tell(entries, outcomes, job, report):
                held = {entry.id for entry in entries}
                assert len(held) == len(outcomes)
                assert worker.hand >= held, "tells of what is not in hand"
                assert not worker.told & held, "tells twice"
                assert [outcome for outcome in report.outcomes if outcome is not None] == outcomes
                assert set(job.entries) >= set(entries)
                worker.told |= held
            case Left(entries):
                held = {entry.id for entry in entries}
                assert worker.hand >= held, "lets go what is not in hand"
                worker.hand -= held
                worker.told -= held
            case Stopped():
                assert not worker.stopped
                assert core.stopping
                worker.stopped = True
                # What it has sent is served. Nobody listens any more.
                worker.reading.clear()
                worker.inbox.clear()
                worker.late.clear()
                worker.pool.clear()

    def _send(self, worker: Worker, line: list[Request], action: Action) -> None:
        assert worker.core.link, "asks Redis without a link"
        if worker.connected:
            line.append(Request(action, self.now))

    def _ahead(self, worker: Worker, number: int) -> PoolJob | None:
        """A job that waits to be told to begin; None where it has come to its end, and that is not known yet."""
        job = worker.pool_job(number)
        assert job is None or not (job.begun or job.withdrawn)
        assert job is not None or any(getattr(event, "job", None) == number for event in worker.inbox)
        return job

    def _submitted(self, worker: Worker, job: Job) -> None:
        core = worker.core
        assert not core.stopping, "submits while it stops"
        assert job.number in core.jobs
        worker.pool.append(PoolJob(job, begun=not job.ahead))
        if job.kind is Kind.RETRY:
            assert not job.entries
            return
        assert self.leads(worker), "submits without the lease"
        assert job.entries
        assert len(job.entries) <= core.batch_size
        assert len(job.entries) == 1 or sum(entry.size for entry in job.entries) <= rules.READ_BYTES
        places = [entry.position for entry in job.entries]
        assert places == sorted(places)
        suspect = any(entry.deliveries >= rules.SUSPECT_DELIVERIES for entry in job.entries)
        assert len(job.entries) == 1 or not suspect, "a suspect is not alone"
        assert job.kind is Kind.RUN or all(entry.question for entry in job.entries)
        assert job.error or job.kind is Kind.RUN
        if job.kind is Kind.RUN and not job.ahead:
            self._check_order(worker, job)

    def _check_order(self, worker: Worker, job: Job) -> None:
        """What begins is the oldest that waits; only questions may be left out."""
        first = job.entries[0].position if job.entries else (0, 0)
        older = [entry for entry in worker.core.waiting if entry.position < first and not entry.question]
        assert not older, f"{older} wait before {job.entries}"

    def _check(self, worker: Worker, actions: list[Action]) -> None:
        """What holds in every state."""
        core = worker.core
        jobs = list(core.jobs.values())
        held = [*core.waiting, *(entry for job in jobs for entry in job.entries), *core.decided.values()]
        ids = [entry.id for entry in held]
        assert len(ids) == len(set(ids)), "an entry in two places"
        assert set(ids) == core.in_hand == worker.hand, "the hand and its index differ"
        assert sum(entry.size for entry in held) == core.bytes_in_hand
        assert worker.told == set(core.decided), "told and decided differ"
        places = [entry.position for entry in core.waiting]
        assert places == sorted(places), "what waits is out of order"
        assert len(held) <= 2 * core.look_ahead + 3 * core.batch_size, "too much in hand"

        kinds = [(job.kind, job.ahead) for job in jobs]
        worker.most_processes = max(worker.most_processes, core.processes)
        lanes = 1 if core.strict else max(1, worker.most_processes - 1)
        assert kinds.count((Kind.RUN, False)) <= lanes, "too many jobs run entries"
        assert all(kinds.count(kind) == 1 for kind in kinds if kind != (Kind.RUN, False)), "two jobs of one kind"
        assert (Kind.ANSWER, True) not in kinds
        assert (Kind.RETRY, True) not in kinds
        live = [job for job in worker.pool if not job.withdrawn]
        assert sum(job.begun and job.job.kind is Kind.RUN for job in live) <= lanes, "two writing jobs at a time"
        assert {job.job.number for job in live} <= core.jobs.keys(), "a job that the core does not know"

        if core.link and (core.stopping or core.set_aside or not core.leads):
            assert not core.waiting, "keeps what another should have"
            assert not core.ahead
        if core.link and core.leads and not core.stopping and not core.set_aside:
            assert self.leads(worker), "takes itself for the leader"
            assert core.stage is not Stage.CLAIM or core.claim, "a leader that waits for nothing"
            refused = core.refused is not None and core.now < core.answer_at
            waits = core.read or core.jobs or core.held or core.claim or refused
            assert waits, "a reader that waits for nothing"
        if self.strict and core.link and not core.stopping and not core.stalled and not core.set_aside:
            assert core.lease or core.lease_at > self.now, "does not ask for the lease"
        last = [isinstance(action, Tell | Left | Stopped) for action in actions]
        assert last == sorted(last), "tells before it acts"
        assert not any(isinstance(action, Stopped) for action in actions[:-1]), "acts after it stopped"
        for asked, line in ((core.read, worker.reading), (core.claim, worker.commands), (core.lease, worker.commands)):
            if asked is not None and worker.connected and not worker.stopped:
                numbers = [getattr(request.action, "number", None) for request in line]
                assert numbers.count(asked.number) == 1, "waits for what nobody will answer"

    # Entries

    def add(self, contents: Iterable[Content]) -> None:
        self.stream += contents

    def delete(self, place: int) -> None:
        """Somebody trims the stream with no regard for what is pending."""
        self.deleted.add(place)

    # Redis

    def take_redis_away(self) -> None:
        self.redis = False
        for worker in self.workers:
            self.cut(worker)

    def bring_redis_back(self) -> None:
        self.redis = True

    def cut(self, worker: Worker, *, ghosts: bool = False) -> None:
        """A worker's connections break; it is told later.

        With `ghosts` Redis may still serve what was asked for, and what it has served may still come in.
        """
        if ghosts:
            asked = [*worker.reading, *worker.commands]
            lost = [request for request in asked if not request.served and not isinstance(request.action, GiveLease)]
            self.ghosts += [(worker.name, request) for request in lost]
            worker.late += [request.reply for request in asked if request.served and request.reply is not None]
        if worker.connected:
            worker.inbox.append(LinkDown())
        worker.connected = False
        worker.reading.clear()
        worker.commands.clear()

    def may_connect(self, worker: Worker) -> bool:
        return self.redis and not self.full and not worker.connected and not worker.core.link and not worker.stopped

    def connect(self, worker: Worker) -> None:
        worker.connected = True
        self.fire(worker, LinkUp())

    def serve(self, worker: Worker, request: Request) -> bool:
        """Let Redis carry out a request; False where it waits for entries."""
        reply = self._serve(worker.name, request, expected=True)
        if reply is None:
            return False
        request.served, request.reply = True, reply[0]
        return True

    def serve_ghost(self, which: int) -> None:
        """Serve a request whose connection is gone."""
        name, request = self.ghosts.pop(which)
        self._serve(name, request, expected=False)

    def deliver(self, worker: Worker, line: list[Request]) -> None:
        """A reply, the first of its connection, comes in."""
        request = line.pop(0)
        assert request.served
        if request.reply is not None:
            self.fire(worker, request.reply)

    def _serve(self, name: str, request: Request, *, expected: bool) -> tuple[Event | None] | None:
        action = request.action
        match action:
            case Read(number, most):
                return self._read(name, number, most, request, expected)
            case ListPending(number, after):
                behind = place_of(after) if after else 0
                own = sorted(p for p, pending in self.pending.items() if pending.owner == name and p > behind)
                page = [PendingEntry(id_of(place), self.pending[place].deliveries) for place in own[:PAGE]]
                return (Listed(number, page, len(page) == PAGE),)
            case FetchPending(number, listed, brief):
                return (self._fetch(name, number, listed, brief=brief),)
            case AskLease(number):
                free = self.lease == "" or self.now >= self.lease_until
                if self.full and free:
                    self._refuse(name, expected)
                elif free or self.lease == name:
                    self.lease, self.lease_until = name, self.now + rules.LEASE_SECONDS
                return (LeaseAnswered(number, self.lease == name),)
            case GiveLease():
                # Its connection sees to it that nothing is read any more; else what comes next would come to it.
                self._unblock(name)
                if self.lease == name:
                    self.lease, self.lease_until = "", -inf
            case Claim(number):
                return (self._claim(name, number),)
            case Acknowledge(ids):
                for entry_id in ids:
                    self.acknowledge(place_of(entry_id))
                return (Acknowledged(ids),)
            case Release(ids):
                for entry_id in ids:
                    pending = self.pending.get(place_of(entry_id))
                    if pending is not None and pending.owner == name:
                        pending.deliveries -= 1
                        pending.since = -inf
        return (None,)

    def _refuse(self, name: str, expected: bool) -> None:
        """A refused question costs the link, where anybody waits for its answer."""
        for worker in self.workers:
            if worker.name == name and expected:
                self.cut(worker)

    def _unblock(self, name: str) -> None:
        for worker in self.workers:
            for request in worker.reading if worker.name == name else ():
                if isinstance(request.action, Read) and not request.served:
                    request.served, request.reply = True, EntriesRead(request.action.number, [], 0)

    def _read(self, name: str, number: int, most: int, request: Request, expected: bool) -> tuple[Event] | None:
        new = range(self.delivered + 1, min(len(self.stream), self.delivered + most) + 1)
        if not new and expected and self.now < request.since + BLOCK:
            return None
        self.delivered += len(new)
        for place in new:
            self.pending[place] = Pending(name, 1, self.now)
            if not expected or (self.strict and (self.lease != name or self.now >= self.lease_until)):
                self.raced.add(place)
        there = [place for place in new if place not in self.deleted]
        return (self._entries(number, there, brief=False),)

    def _fetch(self, name: str, number: int, listed: Iterable[PendingEntry], *, brief: bool) -> Event:
        found = []
        for place in (place_of(pending.id) for pending in listed):
            pending = self.pending.get(place)
            if pending is None or pending.owner != name:
                continue
            if place in self.deleted:
                del self.pending[place]
                continue
            pending.deliveries += 1
            pending.since = self.now
            found.append(place)
        return self._entries(number, found, brief=brief)

    def _entries(self, number: int, places: list[int], *, brief: bool) -> Event:
        sizes = [BRIEF if brief else SIZES[self.stream[place - 1]] for place in places]
        if sum(sizes) > TAKES_IN:
            return ReadTooLarge(number)
        entries = [
            Entry(id_of(place), FIELDS[self.stream[place - 1]], size, self.pending[place].deliveries)
            for place, size in zip(places, sizes, strict=True)
        ]
        return EntriesRead(number, entries, sum(sizes))

    def _claim(self, name: str, number: int) -> Event:
        if self.strict and (self.lease != name or self.now >= self.lease_until):
            return Claimed(number, False, False)
        others = [
            place
            for place, pending in sorted(self.pending.items())
            if pending.owner != name and (self.strict or self.now - pending.since >= CLAIM_IDLE)
        ]
        for place in others[:CLAIM_PAGE]:
            self.pending[place].owner = name
            self.pending[place].since = self.now
        return Claimed(number, True, len(others) > CLAIM_PAGE)

    def acknowledge(self, place: int) -> None:
        assert place in self.written or place in self.answered, "acknowledges what was not done"
        self.pending.pop(place, None)

    # The pool

    def accept(self, worker: Worker) -> None:
        """Let the pool's processes take what waits."""
        free = worker.core.processes - sum(job.accepted for job in worker.pool)
        for job in [job for job in worker.pool if not job.accepted][: max(0, free)]:
            job.accepted = True
            worker.inbox.append(Accepted(job.job.number))

    def end(self, worker: Worker, job: PoolJob, how: str = "done", done: int = 1_000) -> None:
        """A job comes to its end, `done` of its entries decided.

        How: done, unacknowledged, undone, crash, torn, lost, killed or forgotten.
        """
        worker.pool.remove(job)
        number, entries = job.job.number, job.job.entries
        nothing = Report([None] * len(entries), [False] * len(entries))
        if job.withdrawn or how == "undone":
            worker.inbox.append(Reported(number, nothing))
        elif how == "forgotten":
            worker.inbox.append(Forgotten(number))
        elif how == "killed" or not job.begun:
            worker.inbox.append(ProcessLost(number))
        elif job.job.kind is Kind.RETRY:
            outage = self.database or self.sweeping
            report = Report([], [], outage, "away" if outage else "", more=outage is None and self.due > 0)
            self.due -= report.more
            worker.inbox.append(ProcessLost(number) if how == "lost" else Reported(number, report))
        else:
            report = self._work(job.job, done, redis=self.redis and how != "unacknowledged")
            if how == "torn" and job.job.kind is Kind.RUN:
                report = nothing._replace(outage=Outage.DATABASE, reason="away", lost=True)
            elif how == "crash":
                report = report._replace(crash="Traceback", outage=None)
            worker.inbox.append(ProcessLost(number) if how == "lost" else Reported(number, report))

    def _work(self, job: Job, done: int, *, redis: bool) -> Report:
        outcomes: list[Outcome | None] = [None] * len(job.entries)
        acknowledged = [False] * len(job.entries)
        refused = False
        if job.kind is Kind.RUN and self.database is not None:
            return Report(outcomes, acknowledged, self.database, "away")
        for index, entry in enumerate(job.entries[:done]):
            place = place_of(entry.id)
            if entry.question and not redis:
                break
            if entry.question and not self.takes_answers:
                refused = True
                continue
            if entry.question:
                self._answer(place, job.kind)
            else:
                self._write(place)
            outcomes[index] = ANSWERED if entry.question else STORED
            if redis:
                acknowledged[index] = True
                self.acknowledge(place)
        outage, reason = (None, "") if redis else (Outage.REDIS, "away")
        return Report(outcomes, acknowledged, outage, reason, refusal="refused" if refused else "")

    def _write(self, place: int) -> None:
        if place in self.written:
            return
        if self.strict and place not in self.raced:
            later = [other for other in self.written if other > place]
            assert not later, f"{place} is written after {later}"
        self.written.append(place)

    def _answer(self, place: int, kind: Kind) -> None:
        if place in self.answered or place not in self.pending:
            if place not in self.answered:
                self.answered.append(place)
            return
        if self.strict and place not in self.raced:
            later = [other for other in self.answered if other > place and other not in self.raced]
            assert not later, f"{place} is answered after {later}"
            if kind is Kind.RUN:
                older = set(range(1, place)) - set(self.written) - self.raced - self.deleted
                assert all(self.is_question(other) for other in older), f"{place} does not see {older}"
        self.answered.append(place)

    def take_in_late(self, worker: Worker) -> None:
        self.fire(worker, worker.late.pop(0))

    def take_in(self, worker: Worker, which: int) -> bool:
        """Something that the pool or the link has to say comes in; of one job in the order in which it happened."""
        job = getattr(worker.inbox[which], "job", None)
        if any(getattr(event, "job", None) == job for event in worker.inbox[:which]):
            return False
        self.fire(worker, worker.inbox.pop(which))
        return True

    # Workers that come and go

    def stop(self, worker: Worker) -> None:
        worker.stops_since = self.now
        self.fire(worker, Stop())

    def end_pool(self, worker: Worker) -> None:
        """Celery ends the pool of a worker that stops."""
        worker.pool.clear()
        worker.inbox = [event for event in worker.inbox if isinstance(event, LinkDown)]
        self.fire(worker, Finish())

    def die(self, worker: Worker, *, ghosts: bool = False) -> None:
        """Killed, with all its processes."""
        self.cut(worker, ghosts=ghosts)
        worker.stopped = True
        worker.inbox.clear()
        worker.late.clear()
        worker.pool.clear()

    def start(self, worker: Worker) -> None:
        """Start it again, under the same name."""
        assert worker.stopped
        self.workers[self.workers.index(worker)] = Worker(worker.name, self.make())

    # Time

    def tick(self, worker: Worker) -> None:
        self.fire(worker, Tick())
        core = worker.core
        if not self.strict and worker.connected and not core.stalled:
            for place, pending in self.pending.items():
                if pending.owner == worker.name and id_of(place) in core.in_hand:
                    pending.since = self.now

    def pass_time(
        self, seconds: float, *, frozen: Iterable[Worker] = (), until: Callable[[], bool] | None = None
    ) -> float:
        """Let everything go its way, but for what handles nothing; the seconds it took."""
        asleep = {id(worker) for worker in frozen}
        begun = self.now
        while True:
            self.settle(asleep)
            if until is not None and until():
                return self.now - begun
            if self.now - begun >= seconds - 1e-9:
                return inf if until is not None else self.now - begun
            self.now += STEP
            for worker in self.running:
                if id(worker) not in asleep:
                    self.tick(worker)
                    if worker.stops_since is not None and self.now > worker.stops_since + POOL_ENDS:
                        self.end_pool(worker)

    def settle(self, asleep: set[int]) -> None:
        """Let everything happen that happens without time passing."""
        for _ in range(ROUNDS):
            while self.ghosts and self.redis:
                self.serve_ghost(0)
            if not any([self.round(worker, id(worker) not in asleep) for worker in self.workers]):
                return
        raise AssertionError(f"spins\n{self.told()}")

    def round(self, worker: Worker, awake: bool = True, *, work: bool = True) -> bool:
        """One step of everything of a worker, without the ends of jobs if not `work`; whether anything happened."""
        moved = False
        if awake and self.may_connect(worker):
            self.connect(worker)
            moved = True
        for line in (worker.commands, worker.reading):
            for request in list(line):
                # Only what is at the head of the line: a read that waits for entries holds up what is behind it.
                if not request.served and (not self.redis or not self.serve(worker, request)):
                    break
                if request not in line:
                    break
                if worker.stopped:
                    line.remove(request)
                elif awake:
                    self.deliver(worker, line)
                    moved = True
        if worker.stopped:
            return moved
        self.accept(worker)
        for job in list(worker.pool):
            if work and job in worker.pool and (job.runs or (job.withdrawn and not job.hung)):
                self.end(worker, job)
                moved = True
        while awake and worker.inbox:
            self.take_in(worker, 0)
            moved = True
        while awake and worker.late:
            self.take_in_late(worker)
            moved = True
        return moved


def make_core(kind: type[Core] = Core, **options: Any) -> Callable[[], Core]:
    """How a worker makes its core; the pauses are not cut unless `jitter` says so."""
    return partial(kind, **{"jitter": full_pause, "look_ahead": 12, **options})
