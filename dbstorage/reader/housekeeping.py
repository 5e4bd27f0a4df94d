"""What a reader does beside reading.

It trims the stream, renews claims, removes consumers of workers that are gone, and looks for an operator's pause.
"""

import logging
from collections.abc import Callable
from typing import Any

from dbstorage.operating.pause import parse_pause
from dbstorage.reader.core import Core
from dbstorage.reader.group import AT_ONCE, ConsumerGroup, accepted, parse_consumers
from dbstorage.reader.link import Link, tell_of_trimmed
from dbstorage.reader.messages import Paused
from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import lease_key, paused_key, worker_key
from dbstorage.settings import Ordering, Settings

logger = logging.getLogger(__name__)

TRIM_SECONDS = 5.0
CLEAN_SECONDS = 15.0
#: How often it is looked whether entries were trimmed unread.
TRIMMED_SECONDS = 2.0
#: How often it is looked whether the service is paused.
PAUSE_SECONDS = 1.0


class Housekeeping:
    """Looks at the core's state, never changes it; `tell` takes the one event that comes from here."""

    def __init__(
        self,
        settings: Settings,
        holder: KeyHolder,
        group: ConsumerGroup,
        link: Link,
        core: Core,
        tell: Callable[[Paused], None],
    ) -> None:
        self._settings = settings
        self._holder = holder
        self._group = group
        self._link = link
        self._core = core
        self._tell = tell
        self._told_of_strict_order = False

    def timers(self) -> list[tuple[float, Callable[[], None]]]:
        """What is to be called, and every how many seconds."""
        timers: list[tuple[float, Callable[[], None]]] = [
            (TRIM_SECONDS, self.trim),
            (CLEAN_SECONDS, self.remove_consumers),
            (PAUSE_SECONDS, self.look_for_pause),
            (TRIMMED_SECONDS, self.look_for_trimmed),
        ]
        if self._settings.ordering is Ordering.PARALLEL:
            timers += [
                (max(0.5, self._settings.claim_idle / 4), self.renew_claims),
                (CLEAN_SECONDS, self.look_for_lease),
            ]
        return timers

    def look_for_pause(self) -> None:
        """Ask Redis whether an operator has paused the service.

        Its answer comes before those to whatever is asked later.
        """
        if self._core.link and not self._core.stopping:
            self.ask_for_pause()

    def ask_for_pause(self) -> None:
        """Ask the same before the core knows that the link is up: it has to know of a pause before it begins."""
        self._link.ask(self._pause_seen, ("GET", paused_key(self._settings)), needed=False)

    def _pause_seen(self, reply: Any) -> None:
        pause = parse_pause(accepted(reply))
        reason = None if pause is None else f"{pause.reason} ({pause.who})"
        known = self._core.paused
        if reason != (known.reason if known else None):
            self._tell(Paused(reason))

    def trim(self) -> None:
        """Trim the command stream behind the work."""
        if self._core.may_begin:
            self._link.ask(accepted, self._group.trim(self._settings.stream_keep), needed=False)

    def look_for_trimmed(self) -> None:
        """Notice what others trim before it is read, while everything waits for a server."""
        if self._core.may_begin:
            self._link.ask(tell_of_trimmed, self._group.look_for_trimmed(), needed=False)

    def renew_claims(self) -> None:
        """Keep others from taking over what is in hand here, as long as there is progress."""
        if not self._core.may_begin or self._core.stalled:
            return
        ids = sorted(self._core.in_hand)
        for first in range(0, len(ids), AT_ONCE):
            self._link.ask(accepted, self._group.renew(ids[first : first + AT_ONCE]), needed=False)

    def remove_consumers(self) -> None:
        """Remove the consumers of workers that are gone and left nothing pending."""
        if not self._core.may_begin:
            return

        def listed(reply: Any) -> None:
            for consumer in parse_consumers(reply):
                name = consumer["name"]
                if consumer["pending"] == 0 and name != self._group.consumer:
                    self._link.ask(removal_of(name), ("EXISTS", worker_key(self._settings, name)), needed=False)

        def removal_of(name: str) -> Callable[[Any], None]:
            def known(alive: Any) -> None:
                if not accepted(alive):
                    self._link.ask(accepted, self._group.remove_consumer(name), needed=False)

            return known

        self._link.ask(listed, self._group.consumers(), needed=False)

    def look_for_lease(self) -> None:
        """In parallel order nobody holds the lease: warn once of a worker that does."""
        if self._core.may_begin and not self._told_of_strict_order:
            self._link.ask(self._lease_seen, ("GET", lease_key(self._settings)), needed=False)

    def _lease_seen(self, reply: Any) -> None:
        other = KeyHolder.parse(accepted(reply))
        # A worker that was restarted, or killed, just before may have left one.
        if other is not None and other.node_name != self._holder.node_name and not other.is_dead_neighbour():
            self._told_of_strict_order = True
            logger.warning(
                "%s reads the same stream with ORDERING=strict and this worker with ORDERING=parallel, so the order of "
                "answers is not kept: give all workers of the group the same.", other.node_name,
            )  # fmt: skip
