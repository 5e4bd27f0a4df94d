"""What the service counts, in the worker's main process: outcomes arrive here from all pool processes."""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import Gauge, Histogram, ProcessCollector

from dbstorage.commands.registry import INVALID_ENTRY, KINDS
from dbstorage.metrics.collector import FiguresCollector
from dbstorage.metrics.figures import Figures
from dbstorage.metrics.health import Health, ReaderState
from dbstorage.metrics.scoped import ScopedRegistry
from dbstorage.settings import Scope
from dbstorage.storage.outcome import Outcome, Report, Retried, Status

STAGES = ("read", "decode", "database", "acknowledge")
SIZE_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
#: How many answers are remembered until the journal takes them.
MOST_ANSWERS = 10_000
SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

#: Long ones, because a backlog may take minutes.
WAIT_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


def outcomes_by_function() -> dict[str, tuple[str, ...]]:
    """Function -> its outcomes. All series exist from the start, at 0: Prometheus sees no increase in a new one."""
    return {**{kind.name: kind.outcomes for kind in KINDS.values()}, INVALID_ENTRY: ("failed",)}


@dataclass
class Totals:
    """Counts since the worker started, for the log line of every minute and for the points of the last hour."""

    orders_stored: int = 0
    queries_processed: int = 0
    errors: int = 0
    #: Entries of the command stream that came to an outcome.
    entries: int = 0
    failed: int = 0


def _counted(outcomes: Sequence[tuple[str, Outcome]]) -> Mapping[tuple[str, Outcome], int]:
    """How often each outcome came. Nearly always all are alike, which is seen without hashing each of them."""
    alike = outcomes and outcomes.count(outcomes[0]) == len(outcomes)
    return {outcomes[0]: len(outcomes)} if alike else Counter(outcomes)


class ServiceMetrics:
    """The metrics of one worker, in a registry of their own; its methods are called by the main process only."""

    def __init__(self, scope: Scope | None = None) -> None:
        self.registry = ScopedRegistry(scope)
        self.totals = Totals()
        self.health = Health()
        #: Why the reader stores nothing; None while it may.
        self.holding: str | None = None
        #: Why it answers no question, though it stores commands.
        self.refusal: str | None = None
        #: Whether the reader follows an operator's pause: nothing of it is being stored any more.
        self.rests = False
        #: Set when what other processes are told of this worker has changed.
        self.news = threading.Event()
        #: Seconds that the last answers took.
        self.answers: deque[float] = deque(maxlen=MOST_ANSWERS)
        self._figures = FiguresCollector(self.health)
        self.registry.register(self._figures)
        ProcessCollector(registry=self.registry)
        self._entries = self._counter(
            "dbstorage_entries", "Entries of the command stream that came to an outcome.", "function", "outcome"
        )
        self._retries = self._counter(
            "dbstorage_retries", "Failed tasks that were run again, by what came of it.", "function", "outcome"
        )
        self._calls = self._counter(
            "dbstorage_calls", "Tasks that operators called through the broker.", "function", "outcome"
        )
        self._answer_errors = self._counter("dbstorage_answer_errors", "Answers that carried an error.", "code")
        self._batch_entries = Histogram(
            "dbstorage_batch_entries", "Entries in a batch.", registry=self.registry, buckets=SIZE_BUCKETS
        )
        self._stage_seconds = Histogram(
            "dbstorage_batch_stage_seconds",
            "Seconds that a batch spent in a stage.",
            ("stage",),
            registry=self.registry,
            buckets=SECONDS_BUCKETS,
        )
        self._wait_seconds = Histogram(
            "dbstorage_batch_wait_seconds",
            "Seconds for which the first entry of a batch stood in the command stream before the batch began.",
            registry=self.registry,
            buckets=WAIT_BUCKETS,
        )
        self._answer_seconds = Histogram(
            "dbstorage_answer_seconds",
            "Seconds from a question's entry in the command stream to its answer in the response stream.",
            registry=self.registry,
            buckets=SECONDS_BUCKETS,
        )
        self._processes = Gauge(
            "dbstorage_pool_processes", "Processes, or threads, of the worker's pool.", registry=self.registry
        )
        for function, outcomes in outcomes_by_function().items():
            for outcome in outcomes:
                self._entries.labels(function, outcome)
                self._retries.labels(function, outcome)
        for stage in STAGES:
            self._stage_seconds.labels(stage)

    def _counter(self, name: str, help: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, help, labels, registry=self.registry)

    def worker_started(self, **information: str) -> None:
        """Name the worker: its node name, version and whatever else tells it from others."""
        self._figures.worker = information

    def pool_sized(self, processes: int) -> None:
        """Note how many processes, or threads, the pool has now."""
        self._processes.set(processes)

    def batch_read(self, seconds: float) -> None:
        """Note that entries were read; `seconds` from the first byte of the reply until they were in hand."""
        self._stage_seconds.labels("read").observe(seconds)

    def batch_waited(self, seconds: float) -> None:
        """Note for how many seconds the first entry of a batch had stood in the stream when the batch began."""
        self._wait_seconds.observe(max(0.0, seconds))

    def batch_finished(self, outcomes: Iterable[tuple[str, Outcome]], report: Report) -> None:
        """Note that a pool job ended: the outcomes that are new, each with its function, and the job's report."""
        for (function, outcome), count in _counted([*outcomes]).items():
            self._entries.labels(function, outcome.status.value).inc(count)
            self.totals.entries += count
            self._add_to_totals(outcome, count)
        self._batch_entries.observe(len(report.outcomes))
        for stage, seconds in report.seconds.items():
            self._stage_seconds.labels(stage).observe(seconds)
        for seconds in report.answer_seconds:
            self._answer_seconds.observe(max(0.0, seconds))
            self.answers.append(max(0.0, seconds))

    def tasks_retried(self, retried: Iterable[Retried]) -> None:
        """Note that failed tasks were run again."""
        for (function, outcome), count in Counter((each.name, each.outcome) for each in retried).items():
            self._retries.labels(function, outcome.status.value).inc(count)
            self._add_to_totals(outcome, count)

    def call_finished(self, function: str, status: Status) -> None:
        """Note that a task ended that an operator called through the broker."""
        self._calls.labels(function, status.value).inc()
        self._add_to_totals(Outcome(status), 1)

    def reader_beat(
        self,
        state: ReaderState,
        *,
        stalled_for: float,
        holding: str | None,
        refusal: str | None = None,
        rests: bool = False,
    ) -> None:
        """Note a heartbeat of the event loop; see `Health.beat`."""
        before = (self.health.state, self.holding is None, self.refusal, self.rests)
        self.holding, self.refusal, self.rests = holding, refusal, rests
        self.health.beat(state, stalled_for=stalled_for, holding=holding, refusal=refusal)
        if (state, holding is None, refusal, rests) != before:
            self.news.set()

    def reader_paused(self) -> None:
        """Note that the broker is away: the event loop stands still until it is back."""
        self.holding, self.rests = "the broker does not answer", False
        self.health.pause()
        self.news.set()

    def figures_gathered(self, figures: Figures) -> None:
        """Show these figures from now on (called by the thread that gathers them)."""
        self._figures.figures = figures

    def _add_to_totals(self, outcome: Outcome, count: int) -> None:
        if outcome.status is Status.STORED:
            self.totals.orders_stored += count
        elif outcome.status is Status.ANSWERED:
            self.totals.queries_processed += count
        if outcome.status is Status.ANSWERED and outcome.code is not None:
            self._answer_errors.labels(outcome.code).inc(count)
        if outcome.status is Status.FAILED:
            self.totals.failed += count
        if outcome.status is Status.FAILED or (outcome.status is Status.ANSWERED and outcome.code is not None):
            self.totals.errors += count
