"""What the page Failed changes: retry, discard, restore, mend. Whoever may use Flower's API may use them."""

import asyncio
from dataclasses import replace
from typing import Any

from flower.api import BaseApiHandler
from sqlalchemy import Connection
from tornado.web import HTTPError, authenticated, url

from dbstorage.dashboard.access import person, shows_payloads
from dbstorage.dashboard.bulk_actions import BulkAction, BulkActions, Run
from dbstorage.dashboard.database import Database
from dbstorage.dashboard.failed_view import read_filter
from dbstorage.dashboard.pages import ScriptAnswer, json_safe, wrong_values_refused
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.changes import Change, Matched, Progress, apply, count_codes, count_for
from dbstorage.failed_tasks.edit import EDIT, Edited, edit, parse_changes
from dbstorage.failed_tasks.filters import Filter

#: Seconds after which a change is answered, whether it has ended or not.
PATIENCE = 2.0
#: Sentences that say why tasks cannot be mended.
MOST_SENTENCES = 10


def change_routes(database: Database) -> list[Any]:
    """The routes of requests that change something."""
    shared = {"database": database, "actions": BulkActions(database)}
    changes = "|".join(Change)
    return [
        url(rf"/failed/count/({changes})", CountForChange, {"database": database}, name="failed_count"),
        url(rf"/failed/({changes})", ApplyChange, shared, name="failed_change"),
        url(r"/failed/mend/check", CheckMending, shared, name="failed_mend_check"),
        url(r"/failed/mend", ApplyMending, shared, name="failed_mend"),
        url(r"/failed/actions", BulkActionsNow, shared, name="bulk_actions"),
        url(r"/failed/actions/([0-9]{1,9})/cancel", CancelBulkAction, shared, name="bulk_action_cancel"),
    ]


class CountForChange(ScriptAnswer):
    """How many tasks a change would meet, which the operator is asked to confirm."""

    @authenticated
    async def get(self, change: str) -> None:
        """Answer with their number, and the largest id, which the change hands back."""
        with wrong_values_refused():
            which = read_filter(self.request.query_arguments)

        def look_up(connection: Connection) -> tuple[Matched, dict[str, int]]:
            matched = count_for(connection, self.database.scope, which, Change(change))
            return matched, count_codes(connection, self.database.scope, which, Change(change))

        try:
            matched, codes = await self.database.run(look_up)
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish({"count": matched.number, "up_to": matched.up_to, "codes": json_safe(codes)})


class _Changing(ScriptAnswer, BaseApiHandler):  # type: ignore[misc]
    actions: BulkActions

    def initialize(self, database: Database, actions: BulkActions) -> None:  # type: ignore[override]
        """Take the arguments of the route."""
        super().initialize(database)
        self.actions = actions

    def prepare(self) -> None:
        """Refuse the request where nothing may be changed."""
        super().prepare()
        if self.application.options.read_only:
            raise HTTPError(403, "Read only mode is enabled")

    def asked_for(self) -> Filter:
        """The filter of the form, limited to the tasks that the operator has confirmed."""
        with wrong_values_refused():
            which = read_filter(self.request.body_arguments)
        if which.up_to is None:
            raise HTTPError(400, "up_to is missing: ask for the number of tasks first")
        return which

    async def start(self, what: str, which: Filter, run: Run) -> None:
        """Start an action, and answer with the number of tasks that it has changed so far."""
        counted = Change.RETRY if what == EDIT else Change(what)
        matched = await self.database.run(lambda connection: count_for(connection, self.database.scope, which, counted))
        action = self.actions.start(what, person(self), matched.number, run)
        assert action.applied is not None
        await asyncio.wait([action.applied], timeout=PATIENCE)
        if action.problem is not None and not action.followed.number:
            self.set_status(503)
            self.finish({"error": action.problem})
            return
        action.note_end()
        self.finish({"changed": action.followed.number, "action": action.number, "applying": action.is_applying})


class ApplyChange(_Changing):
    """Retrying, discarding, restoring and cancelling."""

    @authenticated
    async def post(self, change: str) -> None:
        """Change the tasks that match, none that failed after `up_to`; answer with their number."""
        which = self.asked_for()
        who, reason = person(self), self.get_body_argument("reason", "") or None

        def run(connection: Connection, progress: Progress) -> int:
            scope = self.database.scope
            return apply(connection, scope, which, Change(change), who=who, reason=reason, progress=progress)

        try:
            await self.start(change, which, run)
        except DBStorageError as error:
            self.fail(error)


class _Mending(_Changing):
    def changes(self) -> dict[str, str]:
        """The fields that the form changes."""
        # Not stripped: a space at the end may be what is wrong, or what is meant.
        words = self.get_body_arguments("set", strip=False)
        with wrong_values_refused():
            changes = parse_changes(tuple(words))
        if not changes:
            raise HTTPError(400, "Say which field gets which value.")
        return changes


class CheckMending(_Mending):
    """A dry run of mending."""

    @authenticated
    async def post(self) -> None:
        """Answer with how many tasks would be valid, a few of them, and why others would not be."""
        with wrong_values_refused():
            which = read_filter(self.request.body_arguments)
        changes = self.changes()
        settings = self.database.settings

        def look(connection: Connection) -> tuple[Matched, Edited]:
            matched = count_for(connection, settings.scope, which, Change.RETRY)
            meant = replace(which, up_to=matched.up_to)
            return matched, edit(connection, settings, meant, changes, who=person(self), dry_run=True)

        try:
            matched, found = await self.database.run_long(look)
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish(json_safe({"up_to": matched.up_to, **_told(found)}))


class ApplyMending(_Mending):
    """Mending and retrying."""

    @authenticated
    async def post(self) -> None:
        """Mend and retry; the answer is that of a retry."""
        which, changes = self.asked_for(), self.changes()
        who, reason = person(self), self.get_body_argument("reason", "") or None

        def run(connection: Connection, progress: Progress) -> Edited:
            settings = self.database.settings
            return edit(connection, settings, which, changes, who=who, reason=reason, progress=progress)

        try:
            await self.start(EDIT, which, run)
        except DBStorageError as error:
            self.fail(error)


class BulkActionsNow(_Changing):
    """The progress of all actions."""

    def prepare(self) -> None:
        """Allow it to everybody who may look at pages."""

    @authenticated
    async def get(self) -> None:
        """Answer with the actions that go on, and those that ended a moment ago."""
        try:
            told = await self.actions.told()
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish(json_safe({"actions": [action.as_json() for action in told]}))


class CancelBulkAction(_Changing):
    """Cancelling an action."""

    @authenticated
    async def post(self, number: str) -> None:
        """Cancel the action; answer with its progress."""
        action: BulkAction | None = self.actions.get(int(number))
        if action is None:
            raise HTTPError(404, "There is no such action any more.")
        try:
            await self.actions.cancel(action, person(self))
        except DBStorageError as error:
            self.fail(error)
            return
        self.finish(json_safe(action.as_json()))


def _told(found: Edited) -> dict[str, Any]:
    """The result of a dry run, without values for those who may not see payloads."""
    return {
        "mended": found.mended,
        "samples": [
            {
                "id": each.id,
                "values": [
                    [name, before if shows_payloads() else None, after] for name, (before, after) in each.values.items()
                ],
            }
            for each in found.samples
        ],
        "refused": [list(each) for each in found.refused.most_common(MOST_SENTENCES)],
    }
