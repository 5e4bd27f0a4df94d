"""A small event loop, in the place of Celery's, for the reader's connections and timers."""

import select
from collections.abc import Callable
from typing import Any

from tests.waiting import wait_until


class Loop:
    """Calls back when sockets are readable, as kombu's hub does."""

    def __init__(self) -> None:
        self.turns = 0
        self._readers: dict[int, Callable[..., None]] = {}

    def add_reader(self, fds: int, callback: Callable[..., None], *args: Any) -> None:
        self._readers[fds] = callback

    def remove(self, fd: int) -> None:
        self._readers.pop(fd, None)

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Any:
        raise AssertionError("not used by a connection")

    def turn(self) -> None:
        """Handle what is there."""
        readable, _, _ = select.select(list(self._readers), [], [], 0.05)
        for fd in readable:
            if fd in self._readers:
                self.turns += 1
                self._readers[fd]()

    def run_until(self, condition: Callable[[], Any], what: str) -> None:
        """Turn until something is so."""

        def turned() -> Any:
            self.turn()
            return condition()

        wait_until(turned, what)
