"""Turns: the batches of a worker commit one behind the other, although the next one is decoded, and written, meanwhile.

A job that was read ahead waits at its pipe. Of the main process it hears that its turn has come, or that it has to give
up. Of the job before it, it hears that this one does nothing more but commit: then it writes, and has its turn to wait
for before it commits. The main process alone decides that.
"""

import os
import select
import struct
import time
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

#: Seconds that a job waits for its turn before it is given back undone; a safety net, since it is told either way.
PATIENCE = 10.0
#: Pipes. Few jobs wait at one time. A message that a killed process left unread is skipped by the next job at its pipe.
PIPES = 8

_MESSAGE = struct.Struct("<QB")


class Word(IntEnum):
    """What a job is told."""

    GIVE_UP = 0
    GO = 1
    #: By the job before: all that it writes is written, and nothing of it can change what this job writes.
    COMMITS = 2
    #: By the job before: its transaction has failed, and it begins anew.
    RUNS_AGAIN = 3


class WithdrawnError(Exception):
    """Raised to end a job that has been told to give up; nothing of it is stored then."""


class OvertakenError(Exception):
    """Raised to roll back what a job has written ahead, because the one before it runs again."""


class Turn(NamedTuple):
    """The turn of one job: travels with it to the pool process. One that is not `ahead` has come already."""

    number: int
    ahead: bool
    #: The descriptors where it reads what it is told, and where the next job reads.
    pipe: int
    next_pipe: int

    def hear(self, seconds: float = PATIENCE) -> Word:
        """Wait for the next word to this job; GIVE_UP if none comes in time."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        # What is there already counts, however late we look.
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            # Another job may wait at the same pipe and be the first to read.
            with suppress(BlockingIOError):
                number, word = _MESSAGE.unpack(os.read(self.pipe, _MESSAGE.size))
                if number == self.number:
                    return Word(word)
        return Word.GIVE_UP

    def forget_messages(self) -> None:
        """Read what nobody waits for, so that the pipe never becomes full."""
        with suppress(BlockingIOError):
            while True:
                os.read(self.pipe, _MESSAGE.size)

    def tell_next(self, word: Word) -> None:
        """Tell the job behind this one, if there is one."""
        _tell(self.next_pipe, self.number + 1, word)


class PlaceInLine:
    """A job's place in the order of commits, in its pool process; without a turn it waits for nobody."""

    def __init__(self, turn: Turn | None = None) -> None:
        self._turn = turn
        self._deadline = time.monotonic() + PATIENCE
        self._has_come = turn is None or not turn.ahead
        self._told = False
        if turn is not None and not turn.ahead:
            turn.forget_messages()

    def may_write_ahead(self) -> bool:
        """Wait until the job before commits, or has ended; False where the turn has come. Raises WithdrawnError."""
        return not self._has_come and self._hear(Word.COMMITS) is Word.COMMITS

    def wait(self, *, writes_ahead: bool = False) -> None:
        """Wait for the turn. Raises WithdrawnError, and where it `writes_ahead`, OvertakenError."""
        if not self._has_come and self._hear(*([Word.RUNS_AGAIN] if writes_ahead else [])) is Word.RUNS_AGAIN:
            raise OvertakenError

    def _hear(self, *others: Word) -> Word:
        assert self._turn is not None
        while (word := self._turn.hear(self._deadline - time.monotonic())) not in (Word.GO, Word.GIVE_UP, *others):
            pass
        if word is Word.GIVE_UP:
            self._deadline = 0.0
            raise WithdrawnError
        self._has_come = word is Word.GO
        return word

    def commits(self) -> None:
        """Let the next job write: this one only commits, and changes nothing that the next one reads."""
        if self._turn is not None:
            self._told = True
            self._turn.tell_next(Word.COMMITS)

    def runs_again(self) -> None:
        """Take that back, where it was said: the transaction did not commit."""
        if self._turn is not None and self._told:
            self._told = False
            self._turn.tell_next(Word.RUNS_AGAIN)


class Turns:
    """The main process's end of the pipes; made before the pool, whose processes inherit them."""

    def __init__(self) -> None:
        self._pipes = [os.pipe() for _ in range(PIPES)]
        self._last = 0
        for descriptor in [each for pipe in self._pipes for each in pipe]:
            os.set_blocking(descriptor, False)

    def next(self, *, ahead: bool) -> Turn:
        """A turn that nobody has had, behind all others."""
        self._last += 1
        return Turn(self._last, ahead, self._pipes[self._last % PIPES][0], self._pipes[(self._last + 1) % PIPES][1])

    def tell(self, turn: Turn, *, go: bool) -> None:
        """Let the job that waits for this turn go on, or give up."""
        _tell(self._pipes[turn.number % PIPES][1], turn.number, Word.GO if go else Word.GIVE_UP)


def _tell(pipe: int, number: int, word: Word) -> None:
    # A pipe that nobody reads may be full: then there is nobody to tell.
    with suppress(BlockingIOError):
        os.write(pipe, _MESSAGE.pack(number, word))
