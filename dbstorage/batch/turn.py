"""Turns: while a job runs, another pool process decodes the next one, which waits until the main process says go."""

import os
import select
import struct
import time
from contextlib import suppress
from typing import NamedTuple

#: Seconds that a job waits for its turn before it is given back undone; a safety net, since it is told either way.
PATIENCE = 10.0
#: Pipes. Few jobs wait at one time. A message that a killed process left unread is skipped by the next job at its pipe.
PIPES = 8

_MESSAGE = struct.Struct("<Q?")


class Turn(NamedTuple):
    """The turn of one job: travels with it to the pool process."""

    number: int
    pipe: int

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Wait for the main process's message: True to run, False to give up, and False if none comes in `seconds`."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                break
            # Another job may wait at the same pipe and be the first to read.
            with suppress(BlockingIOError):
                number, go = _MESSAGE.unpack(os.read(self.pipe, _MESSAGE.size))
                if number == self.number:
                    return bool(go)
        return False


class Turns:
    """The main process's end of the pipes; made before the pool, whose processes inherit them."""

    def __init__(self) -> None:
        self._pipes = [os.pipe() for _ in range(PIPES)]
        self._last = 0
        for reading, _ in self._pipes:
            os.set_blocking(reading, False)

    def next(self) -> Turn:
        """A turn that nobody has had."""
        self._last += 1
        return Turn(self._last, self._pipes[self._last % PIPES][0])

    def tell(self, turn: Turn, *, go: bool) -> None:
        """Let the job that waits for this turn go on, or give up."""
        os.write(self._pipes[turn.number % PIPES][1], _MESSAGE.pack(turn.number, go))
