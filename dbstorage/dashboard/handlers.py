"""The Failed page's requests. Whoever may use Flower may use them; what Flower's API refuses, they refuse."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flower.api import BaseApiHandler
from sqlalchemy import Connection
from tornado.web import HTTPError, authenticated, url

from dbstorage.commands.registry import kept_functions
from dbstorage.dashboard.access import person, shows_payloads
from dbstorage.dashboard.database import Database
from dbstorage.dashboard.pages import HIDDEN, FlowerPage, json_safe, moment
from dbstorage.dashboard.view import SIZES, STATES, View, read_filter, read_view
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.advice import advice
from dbstorage.failed_tasks.filters import LARGEST_ID, OPEN_STATES, Filter, State
from dbstorage.failed_tasks.readable import MOST_SHOWN, Readable, printable, readable_payload
from dbstorage.failed_tasks.store import (
    Change,
    FailedTask,
    Matched,
    Payload,
    SortColumn,
    apply,
    attempts_of,
    count,
    count_by_code,
    count_codes,
    count_for,
    find,
    load,
)

#: Tasks whose state the page asks for at once: those on the largest page.
MOST_POLLED = max(SIZES)


def failed_routes(database: Database) -> list[Any]:
    """The page's addresses."""
    shared = {"database": database}
    return [
        url(r"/failed", FailedTasksPage, shared, name="failed"),
        url(r"/failed/total", Total, shared, name="failed_total"),
        url(r"/failed/states", States, shared, name="failed_states"),
        url(r"/failed/count/(retry|discard|restore)", CountForChange, shared, name="failed_count"),
        url(r"/failed/(retry|discard|restore)", ApplyChange, shared, name="failed_change"),
        url(r"/failed/([0-9]+)", FailedTaskPage, shared, name="failed_task"),
        url(r"/failed/([0-9]+)/payload", PayloadBytes, shared, name="failed_payload"),
    ]


class _FailedTaskHandler(FlowerPage):
    async def loaded(self, failed_task_id: str) -> tuple[FailedTask, Payload, Readable]:
        """A task, its payload and what a person reads of it.

        Raises HTTPError 404 where there is none, and DBStorageError.
        """
        # An id of more digits than any task has is the id of none.
        number = min(int(failed_task_id[:20]), LARGEST_ID)

        def look_up(connection: Connection) -> tuple[FailedTask, Payload, Readable] | None:
            found = load(connection, self.database.scope, number)
            # Here and not where Flower waits for it: a payload may be large.
            return found and (*found, readable_payload(found[1], MOST_SHOWN))

        found = await self.database.run(look_up)
        if found is None:
            raise HTTPError(404, f"There is no failed task {failed_task_id}.")
        return found


class FailedTasksPage(_FailedTaskHandler):
    """The table."""

    @authenticated
    async def get(self) -> None:
        """Show a page of the tasks that match."""
        try:
            view = read_view(self.request.query_arguments)
        except ValueError as error:
            raise HTTPError(400, "%s", error) from None

        def look_up(connection: Connection) -> tuple[View, int, list[FailedTask], dict[str, int]]:
            total = count(connection, self.database.scope, view.which)
            last_page = max(1, -(-total // view.size))
            shown = replace(view, page=min(view.page, last_page))
            tasks = find(connection, self.database.scope, shown.which, shown.sorting, shown.size, shown.offset)
            wanted = view.which.states or tuple(State)
            by_code = count_by_code(connection, self.database.scope).items()
            codes = {code: sum(states.get(state, 0) for state in wanted) for code, states in by_code}
            return shown, total, tasks, codes

        problem = None
        try:
            view, total, tasks, codes = await self.database.run(look_up)
        except DBStorageError as error:
            self.set_status(503)
            problem, total, tasks, codes = str(error), 0, [], {}
        self.render_page(
            "failed.html",
            view=view,
            total=total,
            tasks=tasks,
            codes=codes,
            problem=problem,
            states=STATES,
            sizes=SIZES,
            functions=kept_functions(),
            columns=SortColumn,
        )


class FailedTaskPage(_FailedTaskHandler):
    """Everything about one task."""

    @authenticated
    async def get(self, failed_task_id: str) -> None:
        """Show it; 404 where there is no such task."""
        try:
            task, payload, shown = await self.loaded(failed_task_id)
            attempts = await self.database.run(lambda connection: attempts_of(connection, task.id))
        except HTTPError as error:
            self.set_status(error.status_code)
            self.render_page("failed_task.html", problem=error.log_message, task=None)
            return
        except DBStorageError as error:
            self.set_status(503)
            self.render_page("failed_task.html", problem=str(error), task=None)
            return
        self.render_page(
            "failed_task.html",
            problem=None,
            task=task,
            attempts=attempts,
            advice=advice(task.code) if task.state in OPEN_STATES else None,
            layout=payload.layout,
            payload=shown.text if shows_payloads() else None,
            length=len(payload.content),
            cut=shown.cut,
        )


class PayloadBytes(_FailedTaskHandler):
    """A task's payload as a file."""

    @authenticated
    async def get(self, failed_task_id: str) -> None:
        """Send the bytes as they came."""
        if not shows_payloads():
            raise HTTPError(403, "%s", HIDDEN)
        try:
            task, payload, _ = await self.loaded(failed_task_id)
        except DBStorageError as error:
            self.fail(error)
            return
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="failed-task-{task.id}.bin"')
        self.finish(payload.content)


class States(_FailedTaskHandler):
    """What became of the tasks on the page."""

    @authenticated
    async def get(self) -> None:
        """Answer with what may have changed of the tasks with these ids."""
        which = _filter(self.request.query_arguments)
        if not 0 < len(which.ids) <= MOST_POLLED:
            raise HTTPError(400, f"expected 1 to {MOST_POLLED} ids")
        try:
            tasks = await self.database.run(
                lambda connection: find(connection, self.database.scope, which, limit=MOST_POLLED)
            )
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish(
            {
                "tasks": [
                    {
                        "id": task.id,
                        "state": task.state.value,
                        "code": printable(task.code),
                        "message": printable(task.message),
                        "attempts": task.attempts,
                        "last_failed_at": moment(task.last_failed_at),
                        "retry_at": moment(task.retry_at),
                    }
                    for task in tasks
                ]
            }
        )


class Total(_FailedTaskHandler):
    """How many tasks match by now, for a page that was loaded earlier."""

    @authenticated
    async def get(self) -> None:
        """Answer with their number."""
        which = _filter(self.request.query_arguments)
        try:
            total = await self.database.run(lambda connection: count(connection, self.database.scope, which))
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish({"total": total})


class CountForChange(_FailedTaskHandler):
    """How many tasks a change would meet; what a person is asked about."""

    @authenticated
    async def get(self, change: str) -> None:
        """Answer with their number, and the largest id, which the change hands back."""
        which = _filter(self.request.query_arguments)

        def look_up(connection: Connection) -> tuple[Matched, dict[str, int]]:
            matched = count_for(connection, self.database.scope, which, Change(change))
            return matched, count_codes(connection, self.database.scope, which, Change(change))

        try:
            matched, codes = await self.database.run(look_up)
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish({"count": matched.number, "up_to": matched.up_to, "codes": json_safe(codes)})


class ApplyChange(_FailedTaskHandler, BaseApiHandler):  # type: ignore[misc]
    """Retrying and discarding; open to whom Flower's API is open."""

    @authenticated
    async def post(self, change: str) -> None:
        """Change the tasks that match, none that failed after `up_to`; answer with their number."""
        if self.application.options.read_only:
            raise HTTPError(403, "Read only mode is enabled")
        which = _filter(self.request.body_arguments)
        if which.up_to is None:
            raise HTTPError(400, "up_to is missing: ask for the number of tasks first")
        who, reason = person(self), self.get_body_argument("reason", "")
        try:
            changed = await self.database.run(
                lambda connection: apply(
                    connection, self.database.scope, which, Change(change), who=who, reason=reason or None
                )
            )
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish({"changed": changed})


def _filter(arguments: Mapping[str, list[bytes]]) -> Filter:
    try:
        return read_filter(arguments)
    except ValueError as error:
        raise HTTPError(400, "%s", error) from None
