"""CPU time and memory of groups of processes, from the operating system's own counters."""

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import psutil

#: Seconds between two looks at the memory; a look costs the kernel milliseconds.
INTERVAL = 0.5


class Usage(NamedTuple):
    """What a group used: CPU in seconds, memory in bytes (PSS, on systems without it RSS) at its highest."""

    cpu_seconds: float
    peak_memory: int


class ProcessGroup:
    """Processes with all their descendants, of which some may end and others begin."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]

    def members(self) -> list[psutil.Process]:
        """Those that run now."""
        found = []
        for root in self._roots:
            with suppress(psutil.NoSuchProcess):
                found += [root, *root.children(recursive=True)]
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far, of processes that have ended too."""
        seconds = 0.0
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
        return seconds

    def memory(self) -> int:
        """Bytes in use now; pages shared by several processes count once."""
        total = 0
        for process in self.members():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                full = process.memory_full_info()
                total += getattr(full, "pss", full.rss)
        return total


class UsageMeter:
    """Measures groups of processes between `start` and `stop`."""

    def __init__(self, groups: Mapping[str, ProcessGroup]) -> None:
        self._groups = groups
        self._before: dict[str, float] = {}
        self._peaks = dict.fromkeys(groups, 0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        self._before = {name: group.cpu_seconds() for name, group in self._groups.items()}
        self._thread.start()

    def stop(self) -> dict[str, Usage]:
        """End, and what was used since the start."""
        after = {name: group.cpu_seconds() for name, group in self._groups.items()}
        self._stopped.set()
        self._thread.join()
        self._look()
        return {name: Usage(round(after[name] - self._before[name], 3), self._peaks[name]) for name in self._groups}

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        for name, group in self._groups.items():
            self._peaks[name] = max(self._peaks[name], group.memory())
