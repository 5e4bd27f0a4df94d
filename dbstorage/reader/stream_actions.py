"""Carries out what the core asks of Redis, and reports the answers to it as events."""

import logging
import time
from collections.abc import Callable
from typing import Any

from dbstorage.reader.core import READ_BYTES
from dbstorage.reader.group import (
    AT_ONCE,
    ConsumerGroup,
    ReadEntry,
    accepted,
    parse_beginning,
    parse_claim,
    parse_entries,
    parse_pending,
    parse_read,
)
from dbstorage.reader.lease import give_up, hold, parse_held
from dbstorage.reader.lease_news import LeaseNews, Line
from dbstorage.reader.link import BLOCK_MILLISECONDS, Link
from dbstorage.reader.messages import (
    Acknowledge,
    Acknowledged,
    AskLease,
    Claim,
    Claimed,
    EntriesRead,
    Entry,
    Event,
    FetchPending,
    LeaseAnswered,
    Listed,
    ListPending,
    Read,
    ReadTooLarge,
    Receiving,
    Release,
)
from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import lease_key
from dbstorage.settings import Ordering, Settings
from dbstorage.wire.size import KEPT_BYTES, fitting, held_bytes, size_of

logger = logging.getLogger(__name__)

#: The largest reply, in bytes, that is taken in: with many entries, and with a single one.
MOST_BYTES = 2 * READ_BYTES
MOST_BYTES_ALONE = 68 * 1024 * 1024


class StreamActions:
    """Carries out the core's actions on the stream, the group and the lease."""

    def __init__(
        self, settings: Settings, holder: KeyHolder, group: ConsumerGroup, link: Link, report: Callable[[Event], None]
    ) -> None:
        self._settings = settings
        #: The token with which the lease is held. Each lease has a new one: a late command gives up no later lease.
        self.token = holder.token
        self._holder = holder
        self._group = group
        self._link = link
        self._report = report
        self._reading = 0
        self._news = LeaseNews(holder.node_name)

    def read(self, action: Read) -> None:
        """Read new entries. Redis holds the reply back for a while until some come (BLOCK)."""

        def came(reply: Any) -> None:
            entries = parse_read(reply)
            self._link.read_answered()
            self._entries_came(action.number, entries, {})

        self._ask_for_entries(action.number, came, self._group.read_new(action.most, BLOCK_MILLISECONDS), MOST_BYTES)

    def list_pending(self, action: ListPending) -> None:
        """List our pending entries."""

        def came(reply: Any) -> None:
            pending = parse_pending(reply)
            self._report(Listed(action.number, pending, full=len(pending) == AT_ONCE))

        self._link.ask(came, self._group.list_pending(action.after))

    def fetch(self, action: FetchPending) -> None:
        """Read pending entries again."""
        deliveries = {pending.id: pending.deliveries + 1 for pending in action.pending}
        ids = list(deliveries)

        def came(reply: Any) -> None:
            entries = parse_beginning(ids[0], reply) if action.brief else parse_entries(reply)
            self._link.read_answered()
            if entries:
                logger.info("Took up %d entries that were pending.", len(entries))
            if len(entries) < len(ids):
                there = {entry_id for entry_id, _ in entries}
                self._look_for([entry_id for entry_id in ids if entry_id not in there])
            self._entries_came(action.number, entries, deliveries)

        most = MOST_BYTES if len(ids) > 1 else MOST_BYTES_ALONE
        command = self._group.beginning(ids[0], KEPT_BYTES) if action.brief else self._group.fetch(ids)
        self._ask_for_entries(action.number, came, command, most)

    def _look_for(self, ids: list[str]) -> None:
        """Log which of these entries are gone from the stream. The others were acknowledged a moment ago."""

        def looked(reply: Any) -> None:
            gone = [entry_id.decode() for entry_id in accepted(reply)]
            if gone:
                logger.error(
                    "%d pending entries are gone from the stream %s, from %s to %s: somebody deleted them.",
                    len(gone), self._group.stream, gone[0], gone[-1],
                )  # fmt: skip

        self._link.ask(looked, self._group.not_there(ids), needed=False)

    def _ask_for_entries(self, number: int, came: Callable[[Any], None], command: Any, most_bytes: int) -> None:
        self._reading = number
        self._link.read(came, command, most_bytes, lambda: self._report(ReadTooLarge(number)))

    def _entries_came(self, number: int, came: list[ReadEntry], deliveries: dict[str, int]) -> None:
        now = time.time()
        limit = self._settings.max_entry_bytes
        size_in_all = 0
        entries = []
        for entry_id, fields in came:
            size = size_of(fields)
            size_in_all += size
            if size > limit:
                fields = fitting(fields, limit)
                size = held_bytes(fields)
            entries.append(Entry(entry_id, fields, size, deliveries.get(entry_id, 1), now))
        self._report(EntriesRead(number, entries, size_in_all))

    def look_at_progress(self) -> None:
        """Report an answer that is coming in slowly."""
        if self._link.reading.receiving:
            self._report(Receiving(self._reading))

    def claim(self, action: Claim) -> None:
        """Take over what others have pending."""
        strict = self._settings.ordering is Ordering.STRICT
        token = self.token if strict else ""
        minimum_idle = 0 if strict else round(self._settings.claim_idle * 1000)

        def came(reply: Any) -> None:
            taken = parse_claim(reply)
            self._report(Claimed(action.number, taken.allowed, taken.more))

        self._link.ask(came, self._group.claim(lease_key(self._settings), token, minimum_idle))

    def ask_lease(self, action: AskLease, gone: bytes = b"") -> None:
        """Take or renew the lease. Where its holder is known to be gone, it is taken over at once."""

        def came(reply: Any) -> None:
            held, now = parse_held(reply), time.monotonic()
            mine = held.token == self.token.encode()
            other = None if mine else KeyHolder.parse(held.token)
            if other is not None and not gone and self._is_gone(other):
                self.ask_lease(action, held.token)
                return
            _log(self._news.ours(now, KeyHolder.parse(gone)) if mine else self._news.anothers(now, other, held.seconds))
            self._report(LeaseAnswered(action.number, mine))

        self._link.ask(came, hold(lease_key(self._settings), self.token, gone.decode()))

    def _is_gone(self, other: KeyHolder) -> bool:
        # One of our name is from before a restart: the name is ours alone now.
        return other.node_name == self._holder.node_name or other.is_dead_neighbour()

    def give_lease(self, then: Callable[[], None]) -> None:
        """Give the lease up, then call `then`.

        The read that waits ends first: an entry that comes now is for the next leader, and nobody else's to take.
        """

        self._news.given()

        def reading_ended() -> None:
            token, self.token = self.token, KeyHolder.this_process(self._holder.node_name).token
            self._link.ask(given, give_up(lease_key(self._settings), token), needed=False)

        def given(reply: Any) -> None:
            accepted(reply)
            then()

        self._link.reading.end(reading_ended)

    def acknowledge(self, action: Acknowledge) -> None:
        """Acknowledge entries."""

        def came(reply: Any) -> None:
            accepted(reply)
            self._report(Acknowledged(action.ids))

        self._link.ask(came, self._group.acknowledge(action.ids))

    def release(self, action: Release) -> None:
        """Let others take entries at once."""
        for first in range(0, len(action.ids), AT_ONCE):
            self._link.ask(accepted, self._group.release(action.ids[first : first + AT_ONCE]), needed=False)


def _log(line: Line | None) -> None:
    if line is not None:
        logger.log(line.level, line.sentence)
