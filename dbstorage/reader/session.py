"""The reader's session with Redis: from connecting to reading, and back after every loss.

connecting → joining (sign of life, group) → standby (strict order: until the lease is ours) → claiming
→ recovering (own pending entries, in stream order) → reading (new entries)
"""

import logging
import time
from enum import StrEnum
from typing import Any, Protocol

from dbstorage.errors import RedisUnavailableError
from dbstorage.keys import lease_key, worker_key
from dbstorage.owner import Owner
from dbstorage.reader.connection import Hub
from dbstorage.reader.group import (
    ConsumerGroup,
    Delivered,
    accepted,
    parse_claimed,
    parse_pending,
    parse_read,
)
from dbstorage.reader.lease import LEASE_MILLISECONDS, RENEW_SECONDS, STANDBY_SECONDS, hold
from dbstorage.reader.link import BLOCK_MILLISECONDS, RedisLink, Timer
from dbstorage.settings import Ordering, Settings
from dbstorage.wire.entry import StreamEntry
from dbstorage.wire.entry_id import parse_entry_id

logger = logging.getLogger(__name__)

#: Bytes that a read should bring at most: entries of a megabyte are read sixteen at a time.
READ_BYTES = 16 * 1024 * 1024
#: Entries of the first read, when nothing is known of their size.
FIRST_COUNT = 16
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


class Session(RedisLink):
    """One worker's part in the consumer group."""

    def __init__(self, settings: Settings, node_name: str, hub: Hub, timer: Timer, receiver: Receiver) -> None:
        super().__init__(settings.redis_url, hub, timer)
        self.settings = settings
        self.group = ConsumerGroup(settings, node_name)
        self.owner = Owner.this_process(node_name)
        self.state = State.CLOSED
        self.leads = False
        self._receiver = receiver
        self._namesake_seen: tuple[str, float] | None = None
        self._recovered_to = "0"
        self._claim_from = "0"
        self._count = min(FIRST_COUNT, settings.batch_size)
        # Between a read of pending entries and their delivery; nothing is read past them.
        self._taking_up = False
        self._told_of_strict_order = False

    @property
    def available(self) -> bool:
        """Whether entries can be run and acknowledged now."""
        return self.state in (State.RECOVERING, State.READING)

    def on_connected(self) -> None:
        """Join the group."""
        self.state = State.JOINING
        self._join()

    def on_closed(self, *, lost: bool) -> None:
        """Nothing can be run until the session has joined again."""
        self._taking_up = False
        self.state = State.CONNECTING if lost else State.CLOSED

    # Joining: no two live workers of one name, and the group exists

    def _join(self, replaceable: str = "") -> None:
        key = worker_key(self.settings, self.owner.node_name)
        self.ask(self._joined, hold(key, self.owner.token, replaceable))

    def _joined(self, reply: Any) -> None:
        token = accepted(reply).decode()
        if token == self.owner.token:
            self._namesake_seen = None
            self.after(RENEW_SECONDS, self._renew)
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
        self.after(0.5, self._join)

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
            self.look_for_strict_order()
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
        self.after(STANDBY_SECONDS, self._take_lease)

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
        self.after(RENEW_SECONDS, self._renew)

    def _renewed(self, reply: Any) -> None:
        if accepted(reply).decode() != self.owner.token:
            raise RedisUnavailableError("a worker of the same name has taken this one's place")

    def _lease_renewed(self, reply: Any) -> None:
        if accepted(reply).decode() != self.owner.token:
            logger.warning("The lease to read went to another worker while this one was held up.")
            self.leads = False
            self._receiver.drop_waiting()
            raise RedisUnavailableError("the lease went to another worker")

    def look_for_strict_order(self) -> None:
        """In parallel order nobody holds the lease: tell once of a worker that does."""
        if not self._told_of_strict_order:
            self.ask(self._lease_seen, ("GET", lease_key(self.settings)), needed=False)

    def _lease_seen(self, reply: Any) -> None:
        other = Owner.parse((accepted(reply) or b"").decode())
        # A worker that was restarted, or killed, just before may have left one.
        if other is not None and other.node_name != self.owner.node_name and not other.is_dead_neighbour():
            self._told_of_strict_order = True
            logger.warning(
                "%s reads the same stream with ORDERING=strict and this worker with ORDERING=parallel, so the order of "
                "answers is not kept: give all workers of the group the same.", other.node_name,
            )  # fmt: skip

    # Recovering and reading

    def _recover(self) -> None:
        self.state = State.RECOVERING
        self._recovered_to = "0"
        self._receiver.session_ready()

    def read_more(self) -> None:
        """Ask for the next entries, unless they are on their way."""
        if self.is_reading or self._taking_up or not self.available:
            return
        if self.state is State.RECOVERING:
            self.read(self._own_pending_came, self.group.read_own_pending(self._count, self._recovered_to))
        else:
            self.read(self._new_entries_came, self.group.read_new(self._count, BLOCK_MILLISECONDS))

    def _new_entries_came(self, reply: Any) -> None:
        delivered = parse_read(reply)
        self.works()
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
        delivered = parse_read(reply)
        self.works()
        ids = [*(entry.id for entry in delivered.entries), *delivered.deleted]
        if not ids:
            self.state = State.READING
            self._receiver.session_ready()
            return
        self._recovered_to = max(ids, key=parse_entry_id)
        self._take_up(delivered)

    def claim_idle(self) -> None:
        """Parallel order: take over the entries of workers that are gone, and those that were released."""
        if self.state is State.READING and self.is_reading:
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
            self._taking_up = False
            deliveries = {line.entry_id: line.deliveries for line in parse_pending(reply)}
            logger.info("Took up %d entries that were pending.", len(entries))
            self._receiver.deliver(entries, deliveries)

        self._taking_up = True
        first, last = entries[0].id, entries[-1].id
        self.ask(counted, self.group.pending(first, last, 2 * len(entries), self.group.consumer))
