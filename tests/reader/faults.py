"""Known faults of the reader and its core, to be put back one at a time: the model check has to find each of them."""

from collections.abc import Iterable
from math import inf

from dbstorage.reader import core as rules
from dbstorage.reader.core import Core, Stage
from dbstorage.reader.messages import (
    Action,
    Claimed,
    EntriesRead,
    Entry,
    Event,
    Job,
    Kill,
    Kind,
    LeaseAnswered,
    Reported,
)
from dbstorage.storage.outcome import Outage


class OutageEndsWithABatch(Core):
    """Only a finished batch ends an outage, and until then nothing is read or retried: a lone question ends reading."""

    @property
    def _has_room(self) -> bool:
        return self.ahead is None and not self.waiting and self.away is None

    def _retry(self) -> None:
        if self.away is None:
            Core._retry(self)


class OutageOutlivesTheLease(Core):
    """What was met as a leader is kept, and holds the work when the lease comes back with nothing in hand."""

    @property
    def _has_room(self) -> bool:
        return Core._has_room.fget(self) and (self.looks_ahead or self.away is None)  # type: ignore[attr-defined]

    @property
    def looks_ahead(self) -> bool:
        return bool(self.in_hand) and Core.looks_ahead.fget(self)  # type: ignore[attr-defined]

    def _retry(self) -> None:
        if self.away is None:
            Core._retry(self)

    def _reported(self, job: Job, event: Reported) -> None:
        Core._reported(self, job, event)
        if not self.in_hand and job.kind is not Kind.RETRY:
            self.away = None


class ExLeaderDropsWhatItRead(Core):
    """What comes in after the lease was lost is dropped, and others' entries are claimed on taking the lease only."""

    def _release(self, entries: list[Entry]) -> None:
        pass

    def _claim(self) -> None:
        if self.strict and self.stage is Stage.NEW:
            self.claim_at = inf
        Core._claim(self)


class NothingIsReadInAnOutage(Core):
    """Questions behind a write get no answer."""

    @property
    def _has_room(self) -> bool:
        return self.ahead is None and not self.waiting


class LeaseIsRenewedForEver(Core):
    """Whatever a worker waits for, it keeps the lease."""

    @property
    def stalled(self) -> bool:
        return False


class OwnPendingEntriesAreForgotten(Core):
    """Once it has begun, a leader believes that everything pending for it is in its hand."""

    def _claimed(self, event: Claimed) -> None:
        stage = self.stage
        Core._claimed(self, event)
        if stage is Stage.NEW and not event.more:
            self.stage = Stage.NEW


class AheadBeginsBeforeWhatIsLeftOver(Core):
    """A job that waits is begun though something older has come in or has been left over."""

    def _comes_next(self, ahead: Job) -> bool:
        return True


class KilledOnce(Core):
    """Kill as an edge: the job was not begun yet, or the process did not die of it."""

    def _kill_what_hangs(self) -> None:
        for job in self.jobs.values():
            if not job.ahead and not job.killed and self.now - job.since > rules.JOB_SECONDS:
                job.killed = True
                self._actions.append(Kill(job.number))


class AnswerWithoutNumber(Core):
    """Any answer about the lease is taken for that of the last question."""

    def on(self, event: Event, now: float) -> list[Action]:
        if isinstance(event, LeaseAnswered) and self.lease is not None:
            event = event._replace(number=self.lease.number)
        return Core.on(self, event, now)


class NewerRunsBeforeOlder(Core):
    """What comes from a read of an earlier time of leading runs before older entries that were claimed meanwhile."""

    def _frontier(self) -> tuple[float, float]:
        return (inf, inf)


class LookAheadBlocksOlder(Core):
    """A hand full of newer entries leaves no room for older ones that are pending."""

    def _read(self) -> None:
        if self.stage is Stage.NEW or not self.to_fetch or self._has_room:
            Core._read(self)


class SuspectQuestionIsNotAnswered(Core):
    """A question that was delivered often is left out of what is answered in an outage."""

    def _answer(self) -> None:
        if not any(entry.alone and entry.question for entry in self.waiting):
            Core._answer(self)


class QuestionsOvertake(Core):
    """What runs takes questions though older ones are being answered, and the reverse."""

    def _next(self):
        return self._ready()

    def _answer(self) -> None:
        if self.may_begin and self.looks_ahead and not any(job.kind is Kind.ANSWER for job in self.jobs.values()):
            self._submit(Kind.ANSWER, self._together(entry for entry in self._ready() if entry.question))


class NewBeforePending(Core):
    """New entries are read before what is pending was read again."""

    def _claimed(self, event: Claimed) -> None:
        Core._claimed(self, event)
        if self.stage is Stage.PENDING:
            self.stage = Stage.NEW


class SuspectsTogether(Core):
    """Entries that were delivered often run with others after a restart."""

    def _entries_read(self, event: EntriesRead) -> None:
        Core._entries_read(self, event)
        for entry in event.entries:
            entry.alone = False


class DecidedIsForgotten(Core):
    """What could not be acknowledged is not acknowledged when the link is back."""

    def _acknowledge(self, ids: Iterable[str]) -> None:
        if ids is not self.decided:
            Core._acknowledge(self, ids)


class StopKeepsWhatWaits(Core):
    """What was only read ahead is not given to others when a worker stops."""

    def _let_go(self) -> None:
        if not self.stopping:
            Core._let_go(self)


class OversizedForEver(Core):
    """One that does not even fit alone is fetched whole again and again."""

    def _read_too_large(self, asked: rules.Asked) -> None:
        Core._read_too_large(self, asked)
        self.oversized.clear()


class ProbesWithoutEntries(Core):
    """Nothing is tried while nothing is in hand, so nothing ends what holds the work."""

    def _retry(self) -> None:
        if self.away is None or self.waiting:
            Core._retry(self)


class ReadsWithoutTheLease(Core):
    """The lease is thought to last from its answer on, and not from when it was asked for."""

    def _lease_answered(self, asked: rules.Asked, mine: bool) -> None:
        asked.since = self.now
        Core._lease_answered(self, asked, mine)


class Spins(Core):
    """A job that comes back undone is given to the pool again at once, without end."""

    def _hold(self, outage: Outage, reason: str) -> None:
        Core._hold(self, outage, reason)
        self.hold_until = self.now


class WaitsForWhatItDoesNotFetch(Core):
    """Entries in hand wait for an older one, and that one waits until the hand is empty."""

    @property
    def _older_missing(self) -> bool:
        return False


FAULTS: tuple[type[Core], ...] = (
    OutageEndsWithABatch,
    OutageOutlivesTheLease,
    ExLeaderDropsWhatItRead,
    NothingIsReadInAnOutage,
    LeaseIsRenewedForEver,
    OwnPendingEntriesAreForgotten,
    AheadBeginsBeforeWhatIsLeftOver,
    KilledOnce,
    AnswerWithoutNumber,
    NewerRunsBeforeOlder,
    LookAheadBlocksOlder,
    SuspectQuestionIsNotAnswered,
    QuestionsOvertake,
    NewBeforePending,
    SuspectsTogether,
    DecidedIsForgotten,
    StopKeepsWhatWaits,
    OversizedForEver,
    ProbesWithoutEntries,
    ReadsWithoutTheLease,
    Spins,
    WaitsForWhatItDoesNotFetch,
)
