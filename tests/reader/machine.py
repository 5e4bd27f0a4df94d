"""Random events in random order: a Hypothesis state machine in the simulated world."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dbstorage.reader.core import Core
from dbstorage.reader.messages import Paused, PoolSized, SetAside
from dbstorage.storage.outcome import Outage
from tests.reader.liveness import assert_answers, assert_lives, assert_stores
from tests.reader.moves import make, moves
from tests.reader.world import Content, PoolJob, Worker, World, full_pause, make_core, no_pause

#: So many entries are enough to fill every hand twice.
MOST = 40
W, Q = Content.WRITE, Content.QUESTION
contents = st.lists(st.sampled_from([W, W, W, Q, Q, W, Q, Content.LARGE, Content.OVERSIZED]), min_size=1, max_size=5)
which = st.integers(0, 5)
seconds = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0, 7.0, 31.0, 61.0])


class ReaderMachine(RuleBasedStateMachine):
    """Two workers; `core` is what their cores are made of."""

    core: type[Core] = Core

    @initialize(
        strict=st.sampled_from([True, True, False]),
        batch=st.integers(1, 4),
        processes=st.sampled_from([1, 2, 2, 3]),
        jitter=st.sampled_from([full_pause, no_pause]),
        look_ahead=st.sampled_from([6, 12]),
        workers=st.sampled_from([1, 2, 2]),
        there=st.lists(st.sampled_from([W, Q]), max_size=8),
        started=st.sampled_from([True, True, False]),
    )
    def begin(self, strict, batch, processes, jitter, look_ahead, workers, there, started):
        options = {"strict": strict, "batch_size": batch, "processes": processes, "jitter": jitter}
        self.world = World(make_core(self.core, **options, look_ahead=look_ahead), workers)
        self.world.add(there)
        if started:
            self.world.pass_time(1.0)

    def worker(self, which: int) -> Worker:
        """One that runs."""
        running = self.world.running
        return running[which % len(running)]

    @property
    def alive(self) -> bool:
        return bool(self.world.running)

    # Small steps

    @precondition(lambda self: bool(moves(self.world)))
    @rule(choices=st.lists(st.integers(0, 11), min_size=1, max_size=8))
    def steps(self, choices):
        """Whatever is possible, in any order."""
        for choice in choices:
            if possible := moves(self.world):
                make(self.world, possible[choice % len(possible)])

    @precondition(lambda self: self.alive)
    @rule(which=which, rounds=st.integers(1, 4), work=st.booleans())
    def rounds(self, which, rounds, work):
        """A worker goes on, without an end of its jobs if not `work`."""
        worker = self.worker(which)
        for _ in range(rounds):
            self.world.round(worker, work=work)

    @rule(new=contents)
    def some_come(self, new):
        self.world.add(new[: MOST - len(self.world.stream)])

    @precondition(lambda self: self.alive)
    @rule(new=contents, which=which, rounds=st.integers(1, 6), work=st.booleans())
    def feed(self, new, which, rounds, work):
        """Some come, and get so far."""
        self.some_come(new)
        worker = self.worker(which)
        for _ in range(rounds):
            self.world.round(worker, work=work)

    @precondition(lambda self: self.world.pending)
    @rule(which=which)
    def deleted(self, which):
        self.world.delete(sorted(self.world.pending)[which % len(self.world.pending)])

    # Time

    @precondition(lambda self: self.alive)
    @rule(which=which)
    def tick(self, which):
        self.world.now += 0.25
        self.world.tick(self.worker(which))

    @rule(seconds=seconds)
    def everything_goes_on(self, seconds):
        self.world.pass_time(seconds)

    @precondition(lambda self: self.alive)
    @rule(which=which, seconds=seconds)
    def frozen(self, which, seconds):
        """A worker handles nothing for a while, and everything else goes on."""
        self.world.pass_time(seconds, frozen=[self.worker(which)])

    @rule(seconds=seconds)
    def everything_freezes(self, seconds):
        self.world.now += seconds

    @precondition(lambda self: len(self.world.running) > 1 and self.world.strict)
    @rule(new=contents, behind=contents, rounds=st.integers(0, 4), work=st.booleans())
    def taken_over_while_frozen(self, new, behind, rounds, work):
        """The leader is frozen with entries on their way to it, until somebody else leads."""
        leader = next((worker for worker in self.world.running if self.world.leads(worker)), self.worker(0))
        self.some_come(new)
        for _ in range(rounds):
            self.world.round(leader, work=work)
        self.some_come(behind)
        self.world.pass_time(7.0, frozen=[leader])

    # Redis

    @precondition(lambda self: self.world.ghosts and self.world.redis)
    @rule(which=which)
    def lost_request_is_served(self, which):
        self.world.serve_ghost(which % len(self.world.ghosts))

    @rule()
    def redis(self):
        if self.world.redis:
            self.world.take_redis_away()
        else:
            self.world.bring_redis_back()

    @rule()
    def redis_is_full(self):
        self.world.full = not self.world.full

    @precondition(lambda self: self.alive)
    @rule(which=which, ghosts=st.booleans())
    def cut(self, which, ghosts):
        self.world.cut(self.worker(which), ghosts=ghosts)

    @precondition(lambda self: self.alive and self.world.redis and not self.world.full)
    @rule(which=which, ghosts=st.booleans(), rounds=st.integers(0, 3), work=st.booleans())
    def link_flickers(self, which, ghosts, rounds, work):
        worker = self.worker(which)
        self.world.cut(worker, ghosts=ghosts)
        while worker.inbox:
            self.world.take_in(worker, 0)
        if self.world.may_connect(worker):
            self.world.connect(worker)
        for _ in range(rounds):
            self.world.round(worker, work=work)

    # The pool

    def jobs(self, which: int) -> list[PoolJob]:
        return [job for job in self.worker(which).pool if job.accepted and not job.hung]

    @precondition(lambda self: self.alive and self.jobs(0) + self.jobs(1))
    @rule(
        which=which,
        other=which,
        how=st.sampled_from(["unacknowledged", "undone", "crash", "torn", "lost"]),
        done=st.sampled_from([0, 0, 1, 2, 1_000]),
    )
    def job_ends_badly(self, which, other, how, done):
        if jobs := self.jobs(which):
            self.world.end(self.worker(which), jobs[other % len(jobs)], how, done)

    @precondition(lambda self: self.alive and self.jobs(0) + self.jobs(1))
    @rule(which=which, other=which, unkillable=st.booleans())
    def job_hangs(self, which, other, unkillable):
        if jobs := [job for job in self.jobs(which) if job.runs]:
            job = jobs[other % len(jobs)]
            job.hung, job.unkillable = True, unkillable

    @precondition(lambda self: any(not job.accepted for worker in self.world.running for job in worker.pool))
    @rule()
    def broker_is_lost(self):
        """The pool forgets what no process has begun."""
        for worker in self.world.running:
            for job in [job for job in worker.pool if not job.accepted]:
                self.world.end(worker, job, "forgotten")

    # The database, operators

    @rule()
    def answers_are_refused(self):
        self.world.takes_answers = not self.world.takes_answers

    @rule()
    def stores_without_answering(self):
        assert_stores(self.world)

    @rule(outage=st.sampled_from([Outage.DATABASE, Outage.FAULT, None]))
    def database(self, outage):
        self.world.database = outage

    @rule(outage=st.sampled_from([Outage.FAULT, None]), due=st.integers(0, 3))
    def failed_tasks(self, outage, due):
        self.world.sweeping, self.world.due = outage, due

    @precondition(lambda self: self.alive)
    @rule(which=which, reason=st.sampled_from(["a reason", None]))
    def pause(self, which, reason):
        self.world.fire(self.worker(which), Paused(reason))

    @precondition(lambda self: self.alive)
    @rule(which=which, aside=st.booleans())
    def set_aside(self, which, aside):
        self.world.fire(self.worker(which), SetAside(aside))

    @precondition(lambda self: self.alive)
    @rule(which=which, processes=st.integers(1, 3))
    def pool_sized(self, which, processes):
        self.world.fire(self.worker(which), PoolSized(processes))

    # Workers

    @precondition(lambda self: any(worker.stops_since is None for worker in self.world.running))
    @rule(which=which)
    def stop(self, which):
        if self.worker(which).stops_since is None:
            self.world.stop(self.worker(which))

    @precondition(lambda self: self.alive)
    @rule(which=which, ghosts=st.booleans())
    def die(self, which, ghosts):
        self.world.die(self.worker(which), ghosts=ghosts)

    @precondition(lambda self: len(self.world.running) < len(self.world.workers))
    @rule()
    def start(self):
        self.world.start(next(worker for worker in self.world.workers if worker.stopped))

    # What is asked of every state

    @rule()
    def lives(self):
        assert_lives(self.world)

    @rule(outage=st.sampled_from([Outage.DATABASE, Outage.FAULT, None]))
    def answers(self, outage):
        assert_answers(self.world, outage)

    def teardown(self):
        if hasattr(self, "world") and not self.world.broken:
            assert_lives(self.world)
            assert_answers(self.world, Outage.DATABASE)
