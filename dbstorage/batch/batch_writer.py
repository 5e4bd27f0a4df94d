"""Writes a batch, and splits it where PostgreSQL refuses it: one bad entry never fails its neighbours.

A fault of the database fails no entry: the entry is put aside, or everything waits (docs/architecture.md, Walks).
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from sqlalchemy import Connection

from dbstorage.batch.resources import Resources
from dbstorage.batch.transaction import Denial, WriteResult, in_transaction, look, tried
from dbstorage.batch.turn import PlaceInLine
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.users import CreateUser
from dbstorage.database.engine import APPLICATION
from dbstorage.database.refusal import Blame
from dbstorage.database.shape import TableShape, with_null_for_remark, without_remark
from dbstorage.errors import DatabaseFaultError, DatabaseUnavailableError
from dbstorage.storage.failures import keep
from dbstorage.storage.locks import (
    LockedUser,
    Queue,
    find_locked,
    find_row_holder,
    find_table_holder,
    locked_by,
    locked_row,
    name_lock,
    read_queue,
)
from dbstorage.storage.outcome import DUPLICATE, STORED, WRITTEN, Outcome, Retried
from dbstorage.storage.refused import TOO_SLOW, Refused
from dbstorage.storage.retries import lock
from dbstorage.storage.work import Work, another_like
from dbstorage.storage.writes import write

logger = logging.getLogger(__name__)

#: Seconds after which splitting a refused batch pauses; the rest is handed back, so that the worker can stop in time.
SPLITTING_SECONDS = 1.5
#: How often commands have to end their session again, while another transaction passes each time, before that counts.
ROUNDS = 4
#: Into how many parts a refused batch is split.
PARTS = 8
#: While everything waits for the database to be mended, so many commands of each kind are tried first, as a sample.
SAMPLE = 3
#: For how long it counts that the tables took a command, and that a batch took too long.
LATELY_SECONDS = 60.0
#: Milliseconds that a statement may take where one for more entries has taken too long: much for a few rows, and so
#: little that a row which takes seconds is found before splitting has to pause.
HURRIED_TIMEOUT = 300
#: Milliseconds that a statement waits for a lock, once it is known that it is not another program's on a row of "User":
#: a table is being altered, or another worker of ours writes the same person.
PATIENT_LOCK_TIMEOUT = 3_000


class BatchWriter:
    """Runs the writes of one pool job; `held_seconds`: for how long a fault of the database has kept them waiting.

    What `is_suspect` runs by itself: a createUser stores no orders that waited for its user. When splitting has taken
    `splitting_seconds`, the rest is left undecided.
    """

    def __init__(
        self,
        resources: Resources,
        held_seconds: float = 0.0,
        *,
        is_suspect: bool = False,
        splitting_seconds: float = SPLITTING_SECONDS,
    ) -> None:
        self.resources = resources
        self.held_seconds = held_seconds
        self.is_suspect = is_suspect
        self.splitting_seconds = splitting_seconds
        self.deadline = time.monotonic() + splitting_seconds
        self.splitting = False
        #: Orders that waited for a user of these batches, and what became of them.
        self.released: list[Retried] = []
        self._locked: list[LockedUser] = []
        self._patient = self._was_patient = False
        self._hurried = False
        self._refusals: list[Denial] = []
        self._works_decided: list[Work] = []
        self.place = PlaceInLine()

    def run(self, works: Sequence[Work]) -> None:
        """Decide every work: its outcome is set once the transaction that holds it has committed.

        A batch that the database refuses is split until the culprits are alone. Where their own values are the reason,
        they fail. Else they are put aside if others of the same command pass; if none does, the database is to blame:
        raises DatabaseFaultError, and what is not decided waits. Works are left undecided, too, when splitting takes
        too long. Raises DatabaseUnavailableError in an outage; what was decided by then stays decided.
        """
        if self.held_seconds and len(works) > SAMPLE:
            works = self._without_those_that_wait(works)
        self._hurried = len(works) > 1 and time.monotonic() - self.resources.slow_at < LATELY_SECONDS
        decided = len(self._works_decided)
        self._run(works)
        if self._hurried and len(self._works_decided) == decided:
            # It is not a few rows that are slow. The next job, which is smaller, has all the time of a statement.
            self.resources.slow_at = -inf
        self._decide_refusals()

    def _run(self, works: Sequence[Work]) -> None:
        if not works or self._out_of_time:
            return
        started = time.monotonic()
        try:
            result = in_transaction(self.resources, lambda connection: self.write_whole(connection, works))
        except Refused as refused:
            self.place.runs_again()
            if len(works) > 1 and refused.took_too_long and not self._hurried:
                self._hurried = True
                self.resources.slow_at = time.monotonic()
                # This time does not count: what was left before is for finding the slow ones.
                self.deadline += time.monotonic() - started
            if refused.locked and self._find_locks(works):
                self._run(works)
            elif len(works) > 1:
                if refused.ends_sessions and not self.splitting and not self._are_refused_again(works, refused):
                    return
                self.splitting = True
                size = -(-len(works) // PARTS)
                for first in range(0, len(works), size):
                    self._run(works[first : first + size])
            elif refused.locked:
                self._locked_alone(works[0], refused)
            else:
                self._refused(works[0], refused)
            return
        self.decide(works, result)

    def decide(self, works: Sequence[Work], result: WriteResult) -> None:
        """Set the outcomes; their transaction has committed."""
        for work, outcome in zip(works, result.outcomes, strict=True):
            work.outcome = outcome
        self._works_decided += works
        # The first and the last tell enough: looking at each would cost time in every batch.
        for work in (works[0], works[-1]):
            if work.outcome is not None and work.outcome.status in WRITTEN:
                self.resources.written_at[type(work.command)] = time.monotonic()
                if work.record is None:
                    self.resources.taken[type(work.command)] = work
        self.released += result.released
        self.resources.committed(result.applied)

    def write_whole(self, connection: Connection, works: Sequence[Work], *, ahead: bool = False) -> WriteResult:
        """Write in a transaction that the caller commits; it waits for the turn of the job where that has not come."""
        in_turn = partial(self.place.wait, writes_ahead=ahead)
        self.place.runs_again()
        result = self._write(connection, works, inserted=in_turn)
        in_turn()
        if not self.splitting and result.outcomes.count(STORED) + result.outcomes.count(DUPLICATE) == len(works):
            self.place.commits()
        return result

    def _write(
        self,
        connection: Connection,
        works: Sequence[Work],
        *,
        inserted: Callable[[], None] = lambda: None,
        plain: bool = False,
        leave_waiting: bool = False,
        adapt: Callable[[TableShape], TableShape] = lambda shape: shape,
    ) -> WriteResult:
        if self._hurried and not self._patient:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {HURRIED_TIMEOUT}")
        if self._patient:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {PATIENT_LOCK_TIMEOUT}")
        shape, service = adapt(self.resources.shape(connection)), self.resources.service(connection)
        entries = [work.entry for work in works if work.entry is not None and work.record is None]
        applied, somebody_waits = self.resources.apply(connection, entries)
        mine = self._still_as_taken(connection, works)
        queue = read_queue(connection, service, mine) if somebody_waits else Queue()
        for user in self._locked:
            queue.lock(user)
        leave_waiting = leave_waiting or self.is_suspect
        written = write(connection, shape, service, mine, queue, inserted, leave_waiting=leave_waiting)
        if len(entries) == len(works) == written.outcomes.count(STORED):
            # Nearly always: nothing failed, and nothing had failed before.
            return WriteResult(written.outcomes, written.released, applied)
        decided = list(zip(mine, written.outcomes, strict=True))
        kept = keep(connection, service, decided, self.resources.settings.user_wait, plain=plain)
        if len(mine) == len(works):
            return WriteResult([*kept], written.released, applied)
        outcome_of = {id(work): outcome for work, outcome in zip(mine, kept, strict=True)}
        return WriteResult([outcome_of.get(id(work)) for work in works], written.released, applied)

    def _still_as_taken(self, connection: Connection, works: Sequence[Work]) -> Sequence[Work]:
        """The works that may still run: first attempts, and retries whose record nobody has changed. Locks records."""
        records = [work.record for work in works if work.record is not None]
        if not records:
            return works
        locked = lock(connection, records)
        return [work for work in works if work.record is None or work.record.id in locked]

    # A single work that is refused

    def _refused(self, work: Work, refused: Refused) -> None:
        if not self._passes_otherwise(work, refused):
            self._refusals.append(Denial(work, refused, self._hurried and refused.took_too_long))

    def _passes_otherwise(self, work: Work, refused: Refused) -> bool:
        """Try again without what may be the reason: the remark (closeReason), a record's text, orders that waited."""
        if isinstance(work.command, CloseOrder) and refused.names_remark:
            return any(self._passes([work], adapt=adapt) for adapt in (without_remark, with_null_for_remark))
        if isinstance(work.command, CreateUser) and refused.ends_sessions:
            return self._passes([work], leave_waiting=True)
        return refused.may_be_about_text and self._passes([work], plain=True)

    def _passes(self, works: Sequence[Work], **otherwise: Any) -> bool:
        try:
            result = in_transaction(self.resources, lambda connection: self._write(connection, works, **otherwise))
        except Refused:
            return False
        self.decide(works, result)
        return True

    def fail(self, work: Work, outcome: Outcome) -> None:
        """Record a work that cannot be stored. Raises DatabaseUnavailableError."""
        try:
            work.outcome = self._kept(work, outcome)
        except Refused:
            try:
                work.outcome = self._kept(work, outcome, plain=True)
            except Refused as refused:
                raise DatabaseFaultError(f"A failure could not be recorded. {refused.sentence}") from refused

    def _kept(self, work: Work, outcome: Outcome, *, plain: bool = False) -> Outcome | None:
        return in_transaction(self.resources, lambda connection: self._keep(connection, work, outcome, plain=plain))

    def _keep(self, connection: Connection, work: Work, outcome: Outcome, *, plain: bool = False) -> Outcome | None:
        if not self._still_as_taken(connection, [work]):
            return None
        service, user_wait = self.resources.service(connection), self.resources.settings.user_wait
        [kept] = keep(connection, service, [(work, outcome)], user_wait, plain=plain)
        return kept

    # Whose fault it is, where the diagnostics leave that open

    def _decide_refusals(self) -> None:
        refusals, self._refusals = self._refusals, []
        if not refusals:
            return
        # Kinds of commands of which the tables have taken one.
        written = {
            type(work.command) for work in self._works_decided if work.outcome and work.outcome.status in WRITTEN
        }
        faults: list[str] = []
        late = False
        # As much time again as splitting has taken: else all of it would go into finding the same ones in each job.
        until = max(self.deadline, time.monotonic() + SPLITTING_SECONDS)
        for refusal in refusals:
            kind = type(refusal.work.command)
            alone = sum(type(each.work.command) is kind for each in refusals) == 1
            waited = alone and self.held_seconds >= self.resources.settings.fault_wait
            # A failed task is aside already. Left as it is, it would be due again at once, in front of all others.
            aside = refusal.work.record is not None
            if refusal.hurried and not aside and kind not in written:
                # Perhaps all are slow: smaller jobs will tell.
                continue
            if refusal.refused.ends_sessions and kind not in written and self._takes_another(kind):
                written.add(kind)
            if refusal.refused.blame is Blame.ENTRY or kind in written or waited or aside or self._is_slow(refusal):
                if refusal.hurried or refusal.refused.ends_sessions:
                    if late:
                        continue
                    # At a retry it gets all the time of a statement.
                    self._hurried = self._hurried and not aside
                    if not self._are_refused_again([refusal.work], refusal.refused):
                        continue
                    late = time.monotonic() > until
                try:
                    self.fail(refusal.work, refusal.refused.outcome)
                except DatabaseFaultError as error:
                    # The others are recorded all the same.
                    faults.append(str(error))
            elif not self._out_of_time:
                faults.append(self._sentence(refusal.refused))
        if faults:
            raise DatabaseFaultError(faults[0])

    def _are_refused_again(self, works: Sequence[Work], refused: Refused) -> bool:
        """Try again; what ended its session, in several rounds, and between them a record of its failure.

        Raises DatabaseUnavailableError where that does not pass: then sessions are cut from outside. However often that
        happens, it is next to impossible that it hits these each time, and never what is tried between.
        """
        for _ in range(ROUNDS if refused.ends_sessions else 1):
            if self._passes(works):
                return False
            record = partial(self._keep, work=works[0], outcome=refused.outcome)
            if refused.ends_sessions and tried(self.resources, record) is not None:
                raise DatabaseUnavailableError("Session after session is ended, whatever runs in it.")
        return True

    def _takes_another(self, kind: type) -> bool:
        """Whether the tables take one like the last of this kind; a job may hold none beside the culprits."""
        taken = self.resources.taken.get(kind)
        return taken is not None and self.trial(another_like(taken)) is None

    def _is_slow(self, refusal: Denial) -> bool:
        """Whether the command takes too long, perhaps for anything else to fit into its job: others passed lately."""
        written_at = self.resources.written_at.get(type(refusal.work.command), -inf)
        return refusal.refused.found.sqlstate == TOO_SLOW and time.monotonic() - written_at < LATELY_SECONDS

    def _sentence(self, refused: Refused) -> str:
        if not refused.locked:
            return refused.sentence
        return f"{look(self.resources, name_lock)}; storing goes on when its transaction ends."

    @property
    def _out_of_time(self) -> bool:
        return self.splitting and time.monotonic() > self.deadline

    def _without_those_that_wait(self, works: Sequence[Work]) -> Sequence[Work]:
        """Leave out the kinds of commands that the database still refuses.

        A sample of each kind is written and rolled back. It is chosen anew each time: if only some commands are
        refused, one that passes is found before long.
        """
        refused_kinds: dict[type, Refused] = {}
        for kind in {type(work.command) for work in works}:
            alike = [work for work in works if type(work.command) is kind]
            refusals = [self.trial(work) for work in random.sample(alike, min(SAMPLE, len(alike)))]
            first = refusals[0]
            if first is not None and len(alike) > SAMPLE and all(refusals):
                refused_kinds[kind] = first
        self._refusals = [
            Denial(work, refused_kinds[type(work.command)]) for work in works if type(work.command) in refused_kinds
        ]
        return [work for work in works if type(work.command) not in refused_kinds]

    def trial(self, work: Work) -> Refused | None:
        """Write a work and roll back; what refuses it, but a value of its own or a lock."""

        refused = tried(self.resources, lambda connection: self._write(connection, [work]))
        return None if refused is None or refused.blame is Blame.ENTRY or refused.locked else refused

    # Locks

    def _find_locks(self, works: Sequence[Work]) -> bool:
        """After a lock timeout, find out who holds the lock; returns whether the works may run again."""
        known = {user.user_id for user in self._locked}
        others = [user for user in self._locked_users(works) if user.user_id not in known]
        if others:
            self._locked += others
            for user in others:
                logger.warning("%s", user.outcome.message)
            return True
        holder = look(self.resources, find_table_holder)
        row_holder = look(self.resources, find_row_holder)
        ours = holder.process_id is None and row_holder.application == APPLICATION
        if not self._was_patient and (holder.process_id is not None or ours):
            self._patient = self._was_patient = True
            return True
        if self._patient:
            # The wait does not count: what is left of the time is for finding the commands that meet the lock.
            self._patient = False
            self.deadline = time.monotonic() + self.splitting_seconds
        if holder.process_id is not None:
            raise DatabaseFaultError(locked_by(holder))
        return False

    def _locked_alone(self, work: Work, refused: Refused) -> None:
        """Let a command wait that meets a lock by itself, and what follows of the same people behind it.

        Which row it is, PostgreSQL does not say: an order that has to move with its user, one with the same key that
        another program has written and not committed, or a record of ours that somebody looks at. Where it can only be
        a session of ours, such as that of a process that was killed, it ends within seconds, and everything may wait.
        """
        holder = look(self.resources, find_row_holder)
        if holder.application == APPLICATION:
            self._refused(work, refused)
            return
        outcome = locked_row(holder)
        if work.record is None:
            logger.warning("%s", outcome.message)
        # At once and not with the other refusals, so that the commands of these people find that they have to wait.
        self.fail(work, outcome)

    def _locked_users(self, works: Sequence[Work]) -> list[LockedUser]:
        """The users whose rows other programs have locked; our own workers are waited for."""
        try:
            found = in_transaction(self.resources, lambda connection: find_locked(connection, works))
        except Refused:
            # The table as a whole is locked, or the role may not lock rows.
            return []
        return [user for user in found if user.holder.application != APPLICATION]
