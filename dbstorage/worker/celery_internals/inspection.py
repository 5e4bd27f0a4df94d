"""What remote control shows of the entries in hand.

Leans on `celery.worker.state`, the registries behind `inspect active`, `inspect stats` and revoke, and on `Panel.data`
of `celery.worker.control`, the remote commands: those that look for requests are shown the entries in hand.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from celery.worker import state
from celery.worker.control import Panel

from dbstorage.worker.task_requests import BrokerRequest

#: Remote commands that look for requests in hand.
LOOKING_COMMANDS = ("active", "query_task", "revoke", "revoke_by_stamped_headers", "terminate")


def tags_in_work() -> set[str]:
    """The broker's tags of the tasks that the pool has begun."""
    return {request.message.delivery_tag for request in state.active_requests if isinstance(request, BrokerRequest)}


class ListedRequest(Protocol):
    """The part of a request that is used here; StreamRequest has all that Celery's inspection asks for."""

    id: str


def list_on_demand(requests: Callable[[], Collection[ListedRequest]]) -> None:
    """Show these requests to the remote commands that look for requests, and only while they look.

    Registering every entry would cost more than everything else that the main process does for it.
    """

    def listing(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            listed = requests()
            by_id = {request.id: request for request in listed}
            state.requests.update(by_id)
            state.active_requests.update(listed)
            try:
                return command(*arguments, **options)
            finally:
                state.active_requests.difference_update(listed)
                for task_id in by_id:
                    state.requests.pop(task_id, None)

        return run

    looking = {Panel.data[name] for name in LOOKING_COMMANDS}
    Panel.data.update({name: listing(command) for name, command in Panel.data.items() if command in looking})


def count_tasks(names: Sequence[str]) -> None:
    """Count tasks that came to an outcome, for `inspect stats`."""
    state.total_count.update(Counter(names))
    state.all_total_count[0] += len(names)
