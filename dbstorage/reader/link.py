"""A worker's link with Redis: one connection that waits for entries, one for everything else, both made anew after
every loss. It is up when Redis answers, the worker's name is its own, and the consumer group exists.

Nothing here blocks the event loop longer than a socket timeout, and nothing raises into it.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import RedisError

from dbstorage.errors import RedisUnavailableError
from dbstorage.reader.connection import Hub, HubConnection
from dbstorage.reader.group import Command, ConsumerGroup, accepted
from dbstorage.reader.lease import LEASE_MILLISECONDS, hold, parse_held
from dbstorage.reader.master_watch import MasterWatch
from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import worker_key
from dbstorage.redis_access.trimmed import SENTENCE
from dbstorage.settings import Settings
from dbstorage.urls.redis_url import is_sentinel
from dbstorage.worker.broker_connections import leave_other_masters

logger = logging.getLogger(__name__)

#: How long a read waits for new entries.
BLOCK_MILLISECONDS = 2_000
#: Silence for so long, beyond BLOCK_MILLISECONDS, means a dead connection or a frozen Redis.
REPLY_SECONDS = 5.0
#: A worker that stops does not wait for a Redis that has been silent for this long.
LATE_SECONDS = 0.5
LONGEST_RECONNECT_PAUSE = 2.0
#: How often the worker's sign of life is renewed.
HEARTBEAT_SECONDS = 1.5
#: How often a worker whose name is taken looks whether it still is.
NAMESAKE_SECONDS = 0.5


class Timer(Protocol):
    """What the reader uses of Celery's timer."""

    def call_after(self, seconds: float, function: Callable[..., None]) -> Any:
        """Call once."""


class Listener(Protocol):
    """Who is told of the link."""

    def link_up(self) -> None:
        """The link is up."""

    def link_down(self) -> None:
        """The link is down; it comes back by itself unless it was closed."""

    def refuse(self, sentence: str) -> None:
        """The worker must not run, for a reason that a person has to mend."""


class Link:
    """Connects, joins the group, watches, and connects again."""

    def __init__(
        self, settings: Settings, holder: KeyHolder, group: ConsumerGroup, hub: Hub, timer: Timer, listener: Listener
    ) -> None:
        self._settings = settings
        self._holder = holder
        self._group = group
        self._timer = timer
        self._listener = listener
        self.reading = HubConnection(settings.redis_url, hub, self.lose)
        self._control = HubConnection(settings.redis_url, hub, self.lose)
        self._hub = hub
        self._watching: MasterWatch | None = None
        self._closed = True
        self._lost_since: float | None = None
        self._pause = 0.0
        self._namesake_seen: tuple[bytes, float] | None = None
        self._told_refused: set[str | bytes | int] = set()
        # Timers of an earlier connection find another number here and do nothing.
        self._generation = 0

    def open(self) -> None:
        """Begin to connect, at once and then for as long as it takes."""
        self._closed = False
        self._generation += 1
        self._after(0, self._connect)
        if is_sentinel(self._settings.redis_url) and self._watching is None:
            self._watching = MasterWatch(self._settings.redis_url, self._hub, self._master_is)
            self._watching.start()

    def close(self) -> None:
        """Leave the event loop; what is pending stays with this consumer."""
        self._closed = True
        if self._watching is not None:
            self._watching.stop()
            self._watching = None
        self._disconnect()

    @property
    def answers(self) -> bool:
        """Whether Redis is there and has not let a command wait."""
        return self._control.connected and self._control.silent_for < LATE_SECONDS

    def lose(self, reason: str) -> None:
        """Close the connections and connect again, with a growing back-off; logged once until a read is answered."""
        if self._closed:
            return
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            # An error, and the only one of an outage: tools that watch the log make one event of it.
            logger.error("Reading is interrupted: %s.", reason.rstrip("."))
        self._disconnect()
        self._pause = min(LONGEST_RECONNECT_PAUSE, self._pause * 2 or 0.1)
        self._after(random.uniform(self._pause / 2, self._pause), self._connect)

    def read_answered(self) -> None:
        """A read was answered: end the back-off, and log that reading goes on."""
        if self._lost_since is not None:
            logger.warning("Reading again after %.1f s.", time.monotonic() - self._lost_since)
        self._lost_since = None
        self._pause = 0.0

    def read(
        self, then: Callable[[Any], None], command: Command, most_bytes: int, on_too_large: Callable[[], None]
    ) -> None:
        """Ask for entries; `then` gets the reply. One of more than `most_bytes` costs the link."""

        def reply_came(reply: Any) -> None:
            try:
                then(reply)
            except RedisUnavailableError as error:
                # The group or the stream was deleted, or something else stands under its name.
                self.lose(str(error))

        self.reading.send(reply_came, *command, most_bytes=most_bytes, on_too_large=on_too_large)

    def ask(self, then: Callable[[Any], None], command: Command, *, needed: bool = True) -> None:
        """Send a command beside the reading; `then` gets its reply.

        Where `then` finds that a `needed` command was refused, the link is made anew; any other is logged once.
        """

        def reply_came(reply: Any) -> None:
            try:
                then(reply)
            except RedisUnavailableError as error:
                if needed:
                    self.lose(str(error))
                elif command[0] not in self._told_refused:
                    self._told_refused.add(command[0])
                    logger.warning("Redis refuses %s, so some housekeeping is left undone: %s", command[0], error)

        self._control.send(reply_came, *command)

    def _after(self, seconds: float, function: Callable[[], None]) -> None:
        """Call later, unless the connections are lost or closed by then."""
        generation = self._generation

        def call() -> None:
            if generation == self._generation:
                function()

        self._timer.call_after(seconds, call)

    def _connect(self) -> None:
        try:
            self.reading.connect()
            self._control.connect()
        except (RedisError, OSError) as error:
            self.lose(str(error))
            return
        self._after(1.0, self._watch)
        self._join()

    def _master_is(self, address: tuple[str, int]) -> None:
        """The sentinels have named the master; whatever is connected to another server leaves it."""
        if self._settings.broker_url == self._settings.redis_url:
            leave_other_masters(address)
        if any(each.connected and each.address != address for each in (self.reading, self._control)):
            self.lose("the sentinels name another master, {}:{}".format(*address))

    def _disconnect(self) -> None:
        self._generation += 1
        self.reading.close()
        self._control.close()
        self._listener.link_down()

    def _watch(self) -> None:
        """Drop connections that do not answer in time."""
        late = self.reading.silent_for > BLOCK_MILLISECONDS / 1000 + REPLY_SECONDS
        if late or self._control.silent_for > REPLY_SECONDS:
            self.lose("Redis does not answer")
        else:
            self._after(1.0, self._watch)

    # Joining: no two live workers of one name, and the group exists

    def _join(self, replaceable: str = "") -> None:
        self.ask(
            self._joined, hold(worker_key(self._settings, self._holder.node_name), self._holder.token, replaceable)
        )

    def _joined(self, reply: Any) -> None:
        token = parse_held(reply).token
        if token == self._holder.token.encode():
            self._namesake_seen = None
            self._after(HEARTBEAT_SECONDS, self._renew)
            self.ask(self._group_created, self._group.create())
            return
        other = KeyHolder.parse(token)
        if other is not None and other.is_dead_neighbour():
            self._join(replaceable=token.decode())
            return
        # A namesake that lives renews its key; one that died lets it expire.
        if self._namesake_seen is None or self._namesake_seen[0] != token:
            self._namesake_seen = (token, time.monotonic())
        if time.monotonic() - self._namesake_seen[1] > LEASE_MILLISECONDS / 1000 + 2:
            place = f" on {other.host} (process {other.process_id})" if other else ""
            self._listener.refuse(
                f"Another worker named {self._holder.node_name} is running{place}: "
                "give this one a name of its own with -n, such as -n second@%h."
            )
            return
        self._after(NAMESAKE_SECONDS, self._join)

    def _renew(self) -> None:
        self.ask(self._renewed, hold(worker_key(self._settings, self._holder.node_name), self._holder.token))
        self._after(HEARTBEAT_SECONDS, self._renew)

    def _renewed(self, reply: Any) -> None:
        if parse_held(reply).token != self._holder.token.encode():
            raise RedisUnavailableError("a worker of the same name has taken this one's place")

    def _group_created(self, reply: Any) -> None:
        created, creation, remembered = accepted(reply)
        self._group.creation, self._group.remembered = creation.decode(), remembered.decode(errors="replace")
        if created:
            logger.info("Created the consumer group %s of the stream %s.", self._group.name, self._group.stream)
        most = self._settings.response_maxlen
        self.ask(accepted, ("XTRIM", self._settings.response_stream, "MAXLEN", "~", most), needed=False)
        # Before the first read: behind it, the gap shows no more.
        self.ask(tell_of_trimmed, self._group.look_for_trimmed(), needed=False)
        self._listener.link_up()


def tell_of_trimmed(reply: Any) -> None:
    """Say in the log how many entries nobody can store any more."""
    gone = accepted(reply)
    if gone:
        logger.error("%d %s", gone, SENTENCE)
