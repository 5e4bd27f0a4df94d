"""The requests of the page Failed. Whoever may use Flower may look; whoever may use its API may change something."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection
from tornado.web import HTTPError, authenticated, url

from dbstorage.commands.registry import kept_functions
from dbstorage.dashboard.access import shows_payloads
from dbstorage.dashboard.database import Database
from dbstorage.dashboard.failed_view import SIZES, STATES, View, read_filter, read_view
from dbstorage.dashboard.pages import HIDDEN, FlowerPage, ScriptAnswer, iso, wrong_values_refused
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.advice import advice
from dbstorage.failed_tasks.conflict import compare_with_stored
from dbstorage.failed_tasks.edit import FIELDS, named_field, values_of
from dbstorage.failed_tasks.filters import LARGEST_ID, OPEN_STATES, State
from dbstorage.failed_tasks.groups import MOST_GROUPS, Group, find_groups
from dbstorage.failed_tasks.lookup import (
    Attempt,
    FailedTask,
    Payload,
    SortColumn,
    attempts_of,
    count,
    count_by_code,
    find,
    load,
    newest_id,
)
from dbstorage.failed_tasks.readable import MOST_SHOWN, Readable, readable_payload
from dbstorage.printable import printable
from dbstorage.settings import Scope
from dbstorage.storage.orders import Field

#: The most tasks whose states the page asks for in one request: those of the largest page.
MOST_POLLED = max(SIZES)


def failed_routes(database: Database) -> list[Any]:
    """The routes of the page."""
    shared = {"database": database}
    return [
        url(r"/failed", FailedTasksPage, shared, name="failed"),
        url(r"/failed/total", Total, shared, name="failed_total"),
        url(r"/failed/states", States, shared, name="failed_states"),
        url(r"/failed/([0-9]+)", FailedTaskPage, shared, name="failed_task"),
        url(r"/failed/([0-9]+)/fields", FieldValues, shared, name="failed_fields"),
        url(r"/failed/([0-9]+)/payload", PayloadBytes, shared, name="failed_payload"),
    ]


class _FailedTaskHandler(FlowerPage):
    async def loaded(self, failed_task_id: str) -> tuple[FailedTask, Payload, Readable]:
        """A task, its payload, and the payload as a person reads it.

        Raises HTTPError 404 where there is none, and DBStorageError.
        """
        # No task has an id of more digits than the column takes.
        number = min(int(failed_task_id[:20]), LARGEST_ID)

        def look_up(connection: Connection) -> tuple[FailedTask, Payload, Readable] | None:
            found = load(connection, self.database.scope, number)
            # In the thread, not on Flower's event loop: a payload may be large.
            return found and (*found, readable_payload(found[1], MOST_SHOWN))

        found = await self.database.run(look_up)
        if found is None:
            raise HTTPError(404, f"There is no failed task {failed_task_id}.")
        return found


@dataclass(kw_only=True)
class ShownTasks:
    """What the page of failed tasks shows."""

    total: int = 0
    #: The largest id of all failed tasks: what failed since has a larger one.
    newest: int = 0
    tasks: list[FailedTask] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    #: Code -> tasks in the state that is shown.
    codes: dict[str, int] = field(default_factory=dict)


class FailedTasksPage(FlowerPage):
    """The table of tasks, or of groups."""

    @authenticated
    async def get(self) -> None:
        """Show a page of the tasks that match."""
        with wrong_values_refused():
            view = read_view(self.request.query_arguments)
        problem = None
        try:
            view, listed = await self.database.run(lambda connection: look_up(connection, self.database.scope, view))
        except DBStorageError as error:
            self.set_status(503)
            problem, listed = str(error), ShownTasks()
        self.render_page(
            "failed.html" if view.by is None else "failed_groups.html",
            view=view,
            listed=listed,
            problem=problem,
            states=STATES,
            sizes=SIZES,
            functions=kept_functions(),
            columns=SortColumn,
            most_groups=MOST_GROUPS,
            fields=FIELDS,
            named_field=named_field,
        )


def look_up(connection: Connection, scope: Scope, view: View) -> tuple[View, ShownTasks]:
    """What the view shows, and the view itself; for a page behind the end, that of the last page."""
    newest = newest_id(connection, scope)
    total = count(connection, scope, view.which)
    last_page = max(1, -(-total // view.size))
    shown = replace(view, page=min(view.page, last_page))
    tasks: list[FailedTask] = []
    groups: list[Group] = []
    if view.by is None:
        tasks = find(connection, scope, shown.which, shown.sorting, shown.size, shown.offset)
    else:
        groups = find_groups(connection, scope, shown.which, view.by)
    wanted = view.which.states or tuple(State)
    by_code = count_by_code(connection, scope).items()
    codes = {code: sum(states.get(state, 0) for state in wanted) for code, states in by_code}
    return shown, ShownTasks(total=total, newest=newest, tasks=tasks, groups=groups, codes=codes)


class FailedTaskPage(_FailedTaskHandler):
    """The details of one task."""

    @authenticated
    async def get(self, failed_task_id: str) -> None:
        """Show it; 404 where there is no such task."""

        def beside(connection: Connection) -> tuple[list[Attempt], list[Field] | None, Readable | None]:
            compared, original = None, None
            if shows_payloads():
                limit = self.database.settings.history_limit
                compared = compare_with_stored(connection, task, payload, limit)
                if payload.original is not None:
                    original = readable_payload(payload.as_it_came, MOST_SHOWN)
            return attempts_of(connection, task.id), compared, original

        try:
            task, payload, shown = await self.loaded(failed_task_id)
            attempts, conflict, original = await self.database.run(beside)
        except DBStorageError as error:
            raise HTTPError(503, "%s", error) from None
        self.render_page(
            "failed_task.html",
            problem=None,
            task=task,
            attempts=attempts,
            conflict=conflict,
            original=original.text if original else None,
            advice=advice(task.code) if task.state in OPEN_STATES else None,
            layout=payload.layout,
            payload=shown.text if shows_payloads() else None,
            length=len(payload.content),
            cut=shown.cut,
            fields=FIELDS,
            named_field=named_field,
        )


class FieldValues(_FailedTaskHandler, ScriptAnswer):
    """The values of the fields that can be mended, of one task."""

    @authenticated
    async def get(self, failed_task_id: str) -> None:
        """Answer with name -> value, as it came; fields that the command lacks are left out."""
        if not shows_payloads():
            raise HTTPError(403, "%s", HIDDEN)
        try:
            _, payload, _ = await self.loaded(failed_task_id)
        except DBStorageError as error:
            self.fail(error)
            return
        values = values_of(payload, FIELDS)
        self.finish({"fields": {name: value for name, value in values.items() if value is not None}})


class PayloadBytes(_FailedTaskHandler, ScriptAnswer):
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


class States(ScriptAnswer):
    """The present states of the tasks on the page."""

    @authenticated
    async def get(self) -> None:
        """Answer with the columns of these tasks that may have changed."""
        with wrong_values_refused():
            which = read_filter(self.request.query_arguments)
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
                        "last_failed_at": iso(task.last_failed_at),
                        "retry_at": iso(task.retry_at),
                    }
                    for task in tasks
                ]
            }
        )


class Total(ScriptAnswer):
    """How many tasks match by now, for a page that was loaded earlier."""

    @authenticated
    async def get(self) -> None:
        """Answer with their number, and how many of them are newer than what the page has seen."""
        with wrong_values_refused():
            which = read_filter(self.request.query_arguments)
        newer = replace(which, newer_than=which.newer_than or 0)

        def look(connection: Connection) -> tuple[int, int]:
            scope = self.database.scope
            return count(connection, scope, replace(which, newer_than=None)), count(connection, scope, newer)

        try:
            total, new = await self.database.run(look)
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish({"total": total, "new": new})
