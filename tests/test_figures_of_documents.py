"""Figures in sentences of documents, compared with the constants of the code."""

import re
from pathlib import Path

import pytest

from dbstorage.batch import alone, job, turn
from dbstorage.cli import failed_change
from dbstorage.commands import questions, text
from dbstorage.dashboard import flower_internals, throttle
from dbstorage.database import deadline, engine
from dbstorage.failed_tasks import changes, edit, sweep
from dbstorage.metrics import health, watch
from dbstorage.operating import last_hour, verdict
from dbstorage.reader import core, sampling
from dbstorage.redis_access import keys
from dbstorage.storage import backoff, waiting
from dbstorage.wire import size, trace_context
from dbstorage.worker import task_signals
from dbstorage.worker.celery_internals import consumer

CHECKOUT = Path(__file__).parents[1]
SILENCE = 5.0 + deadline.GRACE_SECONDS
ORDINALS = {5: "fifth"}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 8: "eight", 10: "ten"}

SENTENCES = {
    "docs/operations.md": [
        f"the event loop stands still ({health.LONGEST_STANDSTILL:g} s)",
        f"there is no progress ({health.LONGEST_WITHOUT_PROGRESS:g} s)",
        f"what the servers said {NUMBERS[int(watch.GATHER_SECONDS)]} seconds ago",
        f"of more than {sampling.ALL_PER_SECOND:,} successes a second a sample of {sampling.SAMPLE_PER_SECOND}",
        f"at most {last_hour.MOST_POINTS:,} points of {NUMBERS[last_hour.POINT_SECONDS]} seconds",
        f"like in the last {NUMBERS[int(verdict.TREND_SECONDS / 60)]} minutes",
        f"has waited for more than {verdict.BEHIND_SECONDS:g} s",
        f"reads on (up to {core.LOOK_AHEAD:,} entries or {core.LOOK_AHEAD_BYTES // 2**20} mb)",
        f"to discard more than {failed_change.MOST_BY_YES}",
        f"waits up to {job.OLDER_PENDING_SECONDS:g} s for older commands",
        f"its process, or the database, died of it {NUMBERS[alone.POISON_DEATHS]} times",
        f"tried again by itself, every {NUMBERS[int(backoff.ERROR_PAUSES[-1] / 60)]} minutes at the latest",
        f"its first {size.KEPT_BYTES // 1024} KiB are kept",
    ],
    "docs/delivery.md": [
        f"notices after {SILENCE:g} s without a byte",
        f"killed after {consumer.END_SECONDS:g} s",
        f"for {core.STALL_SECONDS:g} s neither read",
        f"loses its lease after {core.LEASE_SECONDS:g} seconds",
        f"from its {['', 'first', 'second', 'third'][core.SUSPECT_DELIVERIES]} delivery on it runs alone",
        f"when {NUMBERS[alone.POISON_DEATHS]} processes have died of it",
        f"waiting {1000 * job.OLDER_PENDING_SECONDS:g} ms at most for entries in other hands",
        f"at least every {NUMBERS[int(core.LONGEST_PAUSE)]} seconds the worker tries whether it is over",
    ],
    "docs/architecture.md": [
        f"of about {core.READ_BYTES // 2**20} MB together",
        f"up to {sweep.MOST_AT_ONCE} tasks are one job",
        f"up to {waiting.MOST_AT_ONCE:,} orders",
        f"first after {core.FIRST_PAUSE:g} s at most, later after up to {core.LONGEST_PAUSE:g} s",
        f"kill, after {core.JOB_SECONDS:g} s",
        f"undone after {turn.PATIENCE:g} s without a word",
        f"longer than {keys.LONGEST_AMQP_PREFIX} bytes",
        f"silent for {consumer.SILENT_SECONDS:g} s is given up",
        f"after {consumer.END_SECONDS:g} s the pool's processes are killed",
    ],
    "docs/decisions.md": [
        f"which expires after {core.LEASE_SECONDS:g} s and is renewed every {core.RENEW_SECONDS:g} s",
        f"the others look every {core.STANDBY_SECONDS:g} s",
        f"the plans of the first {NUMBERS[engine.KEPT_PLANS]} statements are kept",
        f"beyond {sampling.ALL_PER_SECOND:,} successes a second a sample of {sampling.SAMPLE_PER_SECOND} is told",
    ],
    "docs/failed-tasks.md": [
        f"the first {size.KEPT_BYTES // 1024} KiB are kept",
        f"from the {ORDINALS[throttle.FREE_FAILURES + 1]} wrong password on an address waits",
        f"flower remembers {flower_internals.MAX_TASKS:,} tasks",
        f"a change to more than {changes.CHUNK:,} tasks, or an edit of more than {edit.PART},",
    ],
    "docs/observability.md": [
        f"at most {task_signals.MOST_TRACED} events",
        f"longer than {trace_context.CARRIED['traceparent']} and {trace_context.CARRIED['tracestate']} characters",
    ],
    "docs/contract.md": [
        f"text of 1 to {text.ID_CHARACTERS} characters",
        f"`useremail` (up to {text.EMAIL_CHARACTERS})",
        f"of which more than {questions.HIGHEST_LIMIT:,} count as {questions.HIGHEST_LIMIT:,}",
        f"a question waits up to {job.OLDER_PENDING_SECONDS:g} s for older entries",
        f"up to {trace_context.CARRIED['traceparent']} and {trace_context.CARRIED['tracestate']} characters",
    ],
}


@pytest.mark.parametrize(("document", "sentence"), [(name, each) for name in SENTENCES for each in SENTENCES[name]])
def test_a_figure_is_that_of_the_code(document: str, sentence: str):
    written = re.sub(r"\s+", " ", (CHECKOUT / document).read_text()).lower()
    assert sentence.lower() in written
