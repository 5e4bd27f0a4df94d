"""The reader's session with Redis: from connecting to reading, and back after every loss.

    connecting → joining (sign of life, group) → standby (strict order: until the lease is ours) → claiming
    → recovering (own pending entries, in stream order) → reading (new entries)

Nothing here blocks the event loop longer than a socket timeout, and nothing raises into it.
"""

import logging
import random
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

from redis.exceptions import RedisError

from dbstorage.errors import RedisUnavailableError
from dbstorage.keys import lease_key, worker_key
from dbstorage.reader.connection import Hub, HubConnection
from dbstorage.reader.group import (
    Command,
    ConsumerGroup,
    Delivered,
    accepted,
    parse_claimed,
    parse_pending,
    parse_read,
)
from dbstorage.reader.lease import LEASE_MILLISECONDS, RENEW_SECONDS, STANDBY_SECONDS, Owner, hold
from dbstorage.settings import Ordering, Settings
from dbstorage.wire.entry import StreamEntry
from dbstorage.wire.entry_id import parse_entry_id

logger = logging.getLogger(__name__)

#: How long a read waits for new entries.
BLOCK_MILLISECONDS = 2_000
#: A reply this late means a dead connection or a frozen Redis.
REPLY_SECONDS = 5.0
#: A worker that stops does not wait for a Redis that has been silent for this long.
LATE_SECONDS = 0.5
LONGEST_RECONNECT_PAUSE = 2.0
#: Bytes that a read should bring at most: entries of a megabyte are read sixteen at a time.
READ_BYTES = 16 * 1024 * 1024
#: Entries of the first read, when nothing is known of their size.
FIRST_COUNT = 50
#: Pending entries looked at in one go while claiming.
CLAIM_AT_ONCE = 1_000


class State(StrEnum):
    """How far the session is."""

    CONNECTING = "connecting"
    JOINING = "joining"
    STANDBY = "standby"
    CLAIMING = "claiming"
    RECOVERING = "recovering"
    READING = "reading"
    CLOSED = "closed"


class Timer(Protocol):
    """What the session uses of Celery's timer."""

    def call_after(self, seconds: float, function: Callable[..., None]) -> Any:
        """Call once."""


class Receiver(Protocol):
    """Who takes the entries."""

    def deliver(self, entries: list[StreamEntry], deliveries: dict[str, int]) -> None:
        """Take entries that were read; `deliveries` counts those that were given out before."""

    def in_hand(self, entry_id: str) -> bool:
        """Whether this entry was delivered and is not finished."""

    def drop_waiting(self) -> None:
        """Forget what was delivered and not begun: another worker reads it now."""

    def session_ready(self) -> None:
        """The session reads, or reads again after a loss."""

    def refuse(self, sentence: str) -> None:
        """Stop the worker."""


class Session:
    """One worker's part in the consumer group."""

    def __init__(self, settings: Settings, node_name: str, hub: Hub, timer: Timer, receiver: Receiver) -> None:
        self.settings = settings
        self.group = ConsumerGroup(settings, node_name)
        self.owner = Owner.this_process(node_name)
        self.state = State.CLOSED
        self.leads = False
        self._timer = timer
        self._receiver = receiver
        self._reading = HubConnection(settings.redis_url, hub, self._lost)
        self.control = HubConnection(settings.redis_url, hub, self._lost)
        self._lost_since: float | None = None
        self._pause = 0.0
        self._namesake_seen: tuple[str, float] | None = None
        self._recovered_to = "0"
        self._claim_from = "0"
        self._told_refused: set[str | bytes | int] = set()
        self._count = min(FIRST_COUNT, settings.batch_size)
        self._outstanding_since: float | None = None
        self._control_asked = 0.0
        # Timers of an earlier connection find another number here and do nothing.
        self._generation = 0

    # Connecting

    def open(self) -> None:
        """Begin to connect, at once and then for as long as it takes."""
        self._generation += 1
        self.state = State.CONNECTING
        self._after(0, self._connect)
        self._after(1.0, self._watch)

    def close(self) -> None:
        """Leave the event loop; what is pending stays with this consumer."""
        self._generation += 1
        self.state = State.CLOSED
        self._outstanding_since = None
        self._reading.close()
        self.control.close()

    @property
    def available(self) -> bool:
        """Whether entries can be run and acknowledged now."""
        return self.state in (State.RECOVERING, State.READING)

    @property
    def is_reading(self) -> bool:
        """Whether entries are asked for, and will be delivered when there are any."""
        return self._outstanding_since is not None

    @property
    def reply_began(self) -> float:
        """When the entries that are delivered now began to come in, by time.perf_counter()."""
        return self._reading.reply_began

    @property
    def answers(self) -> bool:
        """Whether Redis is there and has not let a command wait."""
        waited = time.monotonic() - self._control_asked if self.control.waiting else 0.0
        return self.control.connected and waited < LATE_SECONDS

    def _connect(self) -> None:
        try:
            self._reading.connect()
            self.control.connect()
        except (RedisError, OSError) as error:
            self._lost(str(error))
            return
        self.state = State.JOINING
        self._join()

    def _lost(self, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            logger.warning("Reading is interrupted: %s.", reason.rstrip("."))
        self.close()
        self._generation += 1
        self.state = State.CONNECTING
        self._pause = min(LONGEST_RECONNECT_PAUSE, self._pause * 2 or 0.1)
        self._after(random.uniform(self._pause / 2, self._pause), self._connect)
        self._after(1.0, self._watch)

    def _watch(self) -> None:
        """Drop connections that do not answer in time."""
        now = time.monotonic()
        read_late = self._outstanding_since is not None and now - self._outstanding_since > (
            BLOCK_MILLISECONDS / 1000 + REPLY_SECONDS
        )
        control_late = self.control.waiting and now - self._control_asked > REPLY_SECONDS
        if read_late or control_late:
            self._lost("it does not answer")
        else:
            self._after(1.0, self._watch)

    def ask(self, then: Callable[[Any], None], command: Command, *, needed: bool = True) -> None:
        """Send a command beside the reading; `then` gets its reply.

        Where `then` finds that a `needed` command was refused, the session starts again; any other is told of once.
        """

        def reply_came(reply: Any) -> None:
            # What is still to come counts from here.
            self._control_asked = time.monotonic()
            try:
                then(reply)
            except RedisUnavailableError as error:
                if needed:
                    self._lost(str(error))
                elif command[0] not in self._told_refused:
                    self._told_refused.add(command[0])
                    logger.warning("Redis refuses %s, so some housekeeping is left undone: %s", command[0], error)

        if not self.control.waiting:
            self._control_asked = time.monotonic()
        self.control.send(reply_came, *command)

    # Joining: no two live workers of one name, and the group exists

    def _join(self, replaceable: str = "") -> None:
        key = worker_key(self.settings, self.owner.node_name)
        self.ask(self._joined, hold(key, self.owner.token, replaceable))

    def _joined(self, reply: Any) -> None:
        token = accepted(reply).decode()
        if token == self.owner.token:
            self._namesake_seen = None
            self._after(RENEW_SECONDS, self._renew)
            self._create_group()
            return
        other = Owner.parse(token)
        if other is not None and other.is_dead_neighbour():
            self._join(replaceable=token)
            return
        # A namesake that lives renews its key; one that died lets it expire.
        if self._namesake_seen is None or self._namesake_seen[0] != token:
            self._namesake_seen = (token, time.monotonic())
        if time.monotonic() - self._namesake_seen[1] > LEASE_MILLISECONDS / 1000 + 2:
            self._receiver.refuse(
                f"Another worker named {self.owner.node_name} is running"
                f"{f' on {other.host} (process {other.process_id})' if other else ''}: "
                "give this one a name of its own with -n, such as -n second@%h."
            )
            return
        self._after(0.5, self._join)

    def _create_group(self) -> None:
        self.ask(self._group_created, self.group.create())

    def _group_created(self, reply: Any) -> None:
        if isinstance(reply, Exception) and not str(reply).startswith("BUSYGROUP"):
            accepted(reply)
        if not isinstance(reply, Exception):
            logger.info("Created the consumer group %s of the stream %s.", self.group.name, self.group.stream)
        limit = self.settings.response_maxlen
        self.ask(accepted, ("XTRIM", self.settings.response_stream, "MAXLEN", "~", limit), needed=False)
        if self.settings.ordering is Ordering.PARALLEL:
            self._recover()
        else:
            self._take_lease()

    # Strict order: one worker reads, the others stand by

    def _take_lease(self, replaceable: str = "") -> None:
        self.ask(self._lease_answered, hold(lease_key(self.settings), self.owner.token, replaceable))

    def _lease_answered(self, reply: Any) -> None:
        token = accepted(reply).decode()
        if token == self.owner.token:
            self.leads = True
            self._claim_all("-")
            return
        other = Owner.parse(token)
        if other is not None and (other.node_name == self.owner.node_name or other.is_dead_neighbour()):
            # Ours from before a restart (this name is ours alone now), or of a process that is gone.
            self._take_lease(replaceable=token)
            return
        if self.state is not State.STANDBY:
            self.leads = False
            # What was read before a loss is in the hands of the one who reads now.
            self._receiver.drop_waiting()
            logger.info("Standing by: %s reads the stream.", other.node_name if other else "another worker")
            self.state = State.STANDBY
        self._after(STANDBY_SECONDS, self._take_lease)

    def _claim_all(self, first: str) -> None:
        """Take over whatever other consumers have in hand: with the lease, nobody else works on it."""
        self.state = State.CLAIMING

        def listed(reply: Any) -> None:
            pending = parse_pending(reply)
            others = [line.entry_id for line in pending if line.consumer != self.group.consumer]
            if others:
                self.ask(accepted, self.group.claim(others))
            if len(pending) == CLAIM_AT_ONCE:
                self._claim_all(f"({pending[-1].entry_id}")
            else:
                self._recover()

        self.ask(listed, self.group.pending(first, "+", CLAIM_AT_ONCE))

    def _renew(self) -> None:
        self.ask(self._renewed, hold(worker_key(self.settings, self.owner.node_name), self.owner.token))
        if self.leads:
            self.ask(self._lease_renewed, hold(lease_key(self.settings), self.owner.token))
        self._after(RENEW_SECONDS, self._renew)

    def _renewed(self, reply: Any) -> None:
        if accepted(reply).decode() != self.owner.token:
            raise RedisUnavailableError("a worker of the same name has taken this one's place")

    def _lease_renewed(self, reply: Any) -> None:
        if accepted(reply).decode() != self.owner.token:
            logger.warning("The lease to read went to another worker while this one was held up.")
            self.leads = False
            self._receiver.drop_waiting()
            raise RedisUnavailableError("the lease went to another worker")

    # Recovering and reading

    def _recover(self) -> None:
        self.state = State.RECOVERING
        self._recovered_to = "0"
        self._receiver.session_ready()

    def _reads(self) -> None:
        """A read was answered: whatever was wrong is over."""
        if self._lost_since is not None:
            logger.warning("Reading again after %.1f s.", time.monotonic() - self._lost_since)
        self._lost_since = None
        self._pause = 0.0

    def read_more(self) -> None:
        """Ask for the next entries, unless they are on their way."""
        if self._outstanding_since is not None or not self.available:
            return
        self._outstanding_since = time.monotonic()
        if self.state is State.RECOVERING:
            self._reading.send(self._own_pending_came, *self.group.read_own_pending(self._count, self._recovered_to))
        else:
            self._reading.send(self._new_entries_came, *self.group.read_new(self._count, BLOCK_MILLISECONDS))

    def _new_entries_came(self, reply: Any) -> None:
        self._outstanding_since = None
        try:
            delivered = parse_read(reply)
        except RedisUnavailableError as error:
            # The group or the stream was deleted, or something else stands under its name.
            self._lost(str(error))
            return
        self._reads()
        if delivered.entries:
            self._fit_count(delivered.entries)
            self._receiver.deliver(delivered.entries, {})
        else:
            self._receiver.session_ready()

    def _fit_count(self, entries: list[StreamEntry]) -> None:
        """Let the next read bring about READ_BYTES, and a whole batch where entries are of the usual size."""
        size = sum(sum(map(len, entry.fields)) for entry in entries)
        self._count = max(1, min(self.settings.batch_size, READ_BYTES * len(entries) // max(1, size)))

    def _own_pending_came(self, reply: Any) -> None:
        self._outstanding_since = None
        try:
            delivered = parse_read(reply)
        except RedisUnavailableError as error:
            self._lost(str(error))
            return
        self._reads()
        ids = [*(entry.id for entry in delivered.entries), *delivered.deleted]
        if not ids:
            self.state = State.READING
            self._receiver.session_ready()
            return
        self._recovered_to = max(ids, key=parse_entry_id)
        self._take_up(delivered)

    def claim_idle(self) -> None:
        """Parallel order: take over the entries of workers that are gone, and those that were released."""
        if self.state is State.READING and self._outstanding_since is not None:
            minimum_idle = round(self.settings.claim_idle * 1000)
            self.ask(
                self._idle_claimed, self.group.claim_idle(self._count, minimum_idle, self._claim_from), needed=False
            )

    def _idle_claimed(self, reply: Any) -> None:
        self._claim_from, delivered = parse_claimed(reply)
        if delivered.entries or delivered.deleted:
            self._take_up(delivered)

    def _take_up(self, delivered: Delivered) -> None:
        """Hand on entries that were delivered before, with the number of times."""
        if delivered.deleted:
            logger.error(
                "%d pending entries were deleted from the stream %s before they were stored, from %s to %s.",
                len(delivered.deleted), self.group.stream, delivered.deleted[0], delivered.deleted[-1],
            )  # fmt: skip
            self.ask(accepted, self.group.acknowledge(delivered.deleted))
        if delivered.entries:
            self._fit_count(delivered.entries)
        entries = [entry for entry in delivered.entries if not self._receiver.in_hand(entry.id)]
        if not entries:
            self._receiver.session_ready()
            return

        def counted(reply: Any) -> None:
            if recovering:
                self._outstanding_since = None
            deliveries = {line.entry_id: line.deliveries for line in parse_pending(reply)}
            logger.info("Took up %d entries that were pending.", len(entries))
            self._receiver.deliver(entries, deliveries)

        recovering = self.state is State.RECOVERING
        if recovering:
            # Nothing is read past these until they are handed on.
            self._outstanding_since = time.monotonic()
        first, last = entries[0].id, entries[-1].id
        self.ask(counted, self.group.pending(first, last, 2 * len(entries), self.group.consumer))

    def _after(self, seconds: float, function: Callable[..., None]) -> None:
        generation = self._generation

        def call() -> None:
            if generation == self._generation:
                function()

        self._timer.call_after(seconds, call)
