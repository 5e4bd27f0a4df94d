"""Writing commands into the command stream, as many at a time as the wanted rate allows."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from dbstorage.commands.questions import request_id_of
from dbstorage.errors import RedisUnavailableError
from dbstorage.wire.command import encode_command
from dbstorage.wire.entry import GET_CLOSE_ORDERS, Layout
from dbstorage.wire.json_text import parse_json
from dbstorage.wire.received import request_id_text

#: Entries written in one round trip.
CHUNK = 500
#: Seconds from one chunk to the next at a limited rate: short enough to look steady.
BEAT = 0.02


class Sent(NamedTuple):
    """What was written: the entry ids in stream order, and of the questions among them also the requestId, if any."""

    entry_ids: list[str]
    questions: dict[str, str | None]


def send_commands(
    redis: Redis,
    stream: str,
    lines: Iterable[bytes],
    layout: Layout = Layout.ENVELOPE,
    rate: float | None = None,
    on_sent: Callable[[Sent], None] = lambda sent: None,
) -> Sent:
    """Write one entry for each line, an envelope with its bytes as they stand; `rate` is in entries a second.

    `on_sent` hears of all that was written so far after each chunk. A line for the flat layout has to be a JSON object.
    Raises RedisUnavailableError, whose sentence says how many entries were written before.
    """
    sent = Sent([], {})
    start = time.monotonic()
    for chunk in _chunks(lines, CHUNK if rate is None else max(1, min(CHUNK, round(rate * BEAT)))):
        commands = [_parsed(line) for line in chunk]
        with redis.pipeline(transaction=False) as pipeline:
            for line, command in zip(chunk, commands, strict=True):
                fields = {b"message": line} if layout is Layout.ENVELOPE else encode_command(command, layout)
                pipeline.xadd(stream, fields)  # type: ignore[arg-type]
            try:
                entry_ids = [entry_id.decode() for entry_id in pipeline.execute()]
            except (RedisError, OSError) as error:
                before, reason = len(sent.entry_ids), str(error).rstrip(".")
                raise RedisUnavailableError(
                    f"Redis did not take an entry: {reason}. {before:,} were written before, and of the "
                    f"{len(chunk):,} after them perhaps some; sending all again does no harm."
                ) from error
        sent.entry_ids.extend(entry_ids)
        for entry_id, command in zip(entry_ids, commands, strict=True):
            if command.get("function") == GET_CLOSE_ORDERS:
                sent.questions[entry_id] = request_id_text(request_id_of(command))
        on_sent(sent)
        if rate is not None:
            time.sleep(max(0.0, start + len(sent.entry_ids) / rate - time.monotonic()))
    return sent


def _chunks(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _parsed(line: bytes) -> dict[str, Any]:
    """The command of a line; nothing for one that only the service is to judge."""
    with suppress(ValueError):
        command = parse_json(line)
        if isinstance(command, dict):
            return command
    return {}
