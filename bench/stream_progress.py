"""How far the consumer group is, seen from the outside and alike for all contenders."""

from typing import Any, NamedTuple

from redis import Redis

from bench.servers import GROUP, STREAM


class Progress(NamedTuple):
    """The last entry that was read, and how many were read and are not acknowledged."""

    last_delivered: bytes
    pending: int

    @property
    def begun(self) -> bool:
        """Whether anything was read."""
        return self.last_delivered != b"0-0"


def group_progress(redis: Redis) -> Progress:
    """Ask for the group's progress; cheap for Redis, however long the stream is."""
    groups: list[dict[str, Any]] = redis.xinfo_groups(STREAM)
    [group] = [group for group in groups if group["name"] == GROUP.encode()]
    return Progress(group["last-delivered-id"], group["pending"])


def last_entry_id(redis: Redis) -> bytes:
    """The id of the newest entry."""
    information: dict[str, Any] = redis.xinfo_stream(STREAM)
    return bytes(information["last-generated-id"])
