"""The worker's own process: its end and its log file.

Leans on `celery.worker.state.should_stop`, with which a step ends its worker with an exit code of its own, and on
`node_format`, which writes a worker's name into the name of a file.
"""

from typing import Any

from celery import bootsteps
from celery.utils.nodenames import node_format
from celery.worker import state


def stop_worker() -> None:
    """End the worker at the event loop's next turn, as SIGTERM does, but with exit code 1."""
    state.should_stop = 1


def is_stopping(consumer: Any) -> bool:
    """Whether the whole worker stops, and not only its connection to the broker is made anew."""
    return bool(consumer.controller.blueprint.state != bootsteps.RUN)


def log_file_of(pattern: str | None, node_name: str) -> str | None:
    """The file that the option --logfile names, with %n, %h, %I and so on replaced for this process."""
    return str(node_format(pattern, node_name)) if pattern else None
