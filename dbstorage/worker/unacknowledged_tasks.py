"""Tasks that this worker has taken from a Redis broker: they outlive the connection that brought them.

kombu keeps them in two keys until they are acknowledged, and gives them back to the queue through the channel that
brought them. When the connection is lost, that channel is gone. Then the next channel acknowledges what has ended, and
gives back what nobody works on.
"""

import time
from contextlib import suppress
from typing import Any

from kombu.transport import virtual
from kombu.transport.redis import QoS
from kombu.utils.json import dumps
from redis.exceptions import RedisError, ResponseError

#: A full Redis refuses a command that needs room only as the first write of a script, so this begins with a removal.
#: KEYS: times of the tasks in hand, the tasks in hand. ARGV: the task's tag, its time, the task.
TAKE_IN_HAND = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
"""

#: Tags of tasks that were in hand when the connection was lost, and of those that ended before it was back.
_left_in_hand: set[str] = set()
_left_done: set[str] = set()


def forget_what_was_left() -> None:
    """Clear both sets in a pool process: only the main process acknowledges the broker's tasks or gives them back."""
    _left_in_hand.clear()
    _left_done.clear()


def something_is_left() -> bool:
    """Whether a lost connection left tasks to acknowledge or to give back."""
    return bool(_left_in_hand or _left_done)


class BrokerQoS(QoS):
    """The tasks that this worker has taken from the broker and not acknowledged yet."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note that a task is in hand: kombu has removed it from its queue already, so this must not be refused."""
        info = message.delivery_info
        content = dumps([message._raw, info["exchange"], info["routing_key"]])  # type: ignore[no-untyped-call]
        keys = (self.channel.global_keyprefix + key for key in (self.unacked_index_key, self.unacked_key))
        with self.channel.conn_or_acquire() as client:
            client.eval(TAKE_IN_HAND, 2, *keys, delivery_tag, time.time(), content)
        virtual.QoS.append(self, message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a task; one that ends while the broker is away is acknowledged when that is back."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except (OSError, RedisError):
            _left_done.add(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a task up, or back into its queue; while the broker is away it is given back when that is there."""
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        except (OSError, RedisError):
            (_left_in_hand if requeue else _left_done).add(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]

    def restore_unacked(self, client: Any = None) -> None:
        """Give tasks back when the channel is closed; where that fails the next channel does it."""
        tags = set(self._delivered)
        try:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]
        except (OSError, RedisError):
            _left_in_hand.update(tags)
            self._delivered.clear()

    def take_up_what_was_left(self) -> None:
        """Take over what earlier channels left: acknowledge what has ended, give back what nobody works on.

        If Redis refuses that, kombu gives the task back after its visibility timeout.
        """
        in_work = self.channel.tags_in_work()
        _left_in_hand.difference_update(in_work, _left_done)
        with suppress(ResponseError):
            for tag in list(_left_done):
                self._remove_from_indices(tag).execute()  # type: ignore[no-untyped-call]
                _left_done.discard(tag)
        with suppress(ResponseError):
            for tag in list(_left_in_hand):
                self.restore_by_tag(tag)  # type: ignore[no-untyped-call]
                _left_in_hand.discard(tag)
