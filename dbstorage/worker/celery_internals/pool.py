"""The pool: how it gets functions to run, its processes and its size.

Leans on the pool's list of processes, to kill those that do not end; on `inqW_fd` of each, a pipe that is too small for
a batch; on `consolidate_callback` of the event loop, which writes jobs to these pipes; and on `limit`, how many
processes there should be. `pool_shrink` is a command in `Panel.data`.
"""

import fcntl
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.worker.control import Panel

#: The largest size that Linux gives to any user.
PIPE_BYTES = 1024 * 1024
#: The fewest processes with which the stream is read.
LEAST_PROCESSES = 1

logger = logging.getLogger(__name__)


def submit(
    pool: Any,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    on_accepted: Callable[[int], None],
    on_result: Callable[[Any], None],
    on_lost: Callable[[str], None],
) -> bool:
    """Give a function to the worker's pool; False when the pool is closed.

    The callbacks run in whatever thread the pool uses; the first gets the number of the process. `function` has to
    catch every exception, because the thread pool tells of none: `on_lost` means that the process died.
    """
    submitted = pool.apply_async(
        function,
        arguments,
        {},
        accept_callback=lambda process_id, *_: on_accepted(process_id),
        callback=on_result,
        # billiard wraps what says how the process ended.
        error_callback=lambda lost: on_lost(str(getattr(lost.exception, "exc", lost.exception))),
    )
    # The solo pool has run the function by now, and returns nothing.
    return submitted is not None or getattr(pool, "_pool", None) is None


def write_at_once(pool: Any, hub: Any) -> None:
    """Write what was submitted to an idle process now; the event loop would do so at its next turn."""
    write = getattr(hub, "consolidate_callback", None)
    if write is not None and (pipes := [process.inqW_fd for process in _processes(pool)]):
        # A process that is gone is noticed by the pool itself.
        with suppress(OSError):
            write(pipes)


def _processes(pool: Any) -> list[Any]:
    """The processes of a prefork pool; other pools, and one that has ended, have none."""
    return list(getattr(getattr(pool, "_pool", None), "_pool", ()))


def concurrency(pool: Any) -> int:
    """How many functions the pool runs at one time; the solo pool one."""
    return int(pool.limit)


def process_ids(pool: Any) -> set[int]:
    """The process numbers of the pool's processes."""
    return {process.pid for process in _processes(pool)}


def kill_processes(pool: Any) -> bool:
    """Send SIGKILL to all processes of the pool; False where there are none."""
    processes = _processes(pool)
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return bool(processes)


def look_for_dead_processes(pool: Any) -> None:
    """Notice a killed pool process now; the pool itself looks only every 5 seconds."""
    pool.maintain_pool()


def widen_pipes(pool: Any) -> None:
    """Make the pipe to each pool process large enough for a batch (Linux). Else a batch is written in five pieces."""
    for process in _processes(pool):
        with suppress(AttributeError, OSError):
            fcntl.fcntl(process.inqW_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def keep_a_process(pool: Any) -> None:
    """Let nothing shrink the pool to less than reading needs: neither a remote command nor Celery's autoscaler."""
    shrink = getattr(pool, "shrink", None)
    if shrink is None:
        return

    def shrink_to_what_is_needed(n: int = 1) -> None:
        if refusal := shrinking_refused(pool, n):
            # The autoscaler takes a ValueError as "not now".
            raise ValueError(refusal)
        shrink(n)

    pool.shrink = shrink_to_what_is_needed
    command = Panel.data["pool_shrink"]

    def pool_shrink(controlled: Any, n: int = 1, **options: Any) -> Any:
        try:
            return command(controlled, n=n, **options)
        except ValueError as error:
            # Celery would log a traceback. The reason is the above, or that no process is idle.
            logger.warning("pool_shrink: %s", error)
            return {"error": str(error)}

    Panel.data["pool_shrink"] = pool_shrink


def shrinking_refused(pool: Any, number: int) -> str | None:
    """Why the pool must not lose this number of processes; None where it may."""
    there: int = pool.num_processes
    if there - int(number) >= LEAST_PROCESSES:
        return None
    return (
        f"The pool stays as it is, with {there} process{'es' if there > 1 else ''}: {number} fewer would leave none to "
        "read the stream with."
    )
