"""Mending failed tasks: fields of their commands are changed, the rules are asked, and they are tried again."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, func, select, update

from dbstorage.database.tables import failed_tasks
from dbstorage.errors import RejectedEntry
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.store import CHUNK, Payload
from dbstorage.failed_tasks.trail import record
from dbstorage.settings import Scope, Settings
from dbstorage.storage.work import understand
from dbstorage.wire.entry import Layout, StreamEntry, Truncated
from dbstorage.wire.payload import pack, unpack

EDIT = "edit"
#: Fields of a command that can be mended. Who it belongs to, and which order it is, are not mended but sent anew.
FIELDS = (
    *("symbol", "type", "quantity", "leverage", "takeProfit", "stopLoss", "stippage", "slippage", "openPrice"),
    *("closePrice", "openTime", "closeTime", "profitLoss", "closeReason", "userEmail"),
)


@dataclass(kw_only=True)
class Edited:
    """What an edit does, or would do: how many tasks keep to the rules now, and why the others do not."""

    mended: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def parse_changes(words: tuple[str, ...]) -> dict[str, str]:
    """The changes in words such as `symbol=btc`; raises ValueError with a sentence."""
    changes: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in FIELDS:
            raise ValueError(
                f"{word!r} changes nothing that can be mended: expected FIELD=VALUE with one of {', '.join(FIELDS)}."
            )
        changes[name] = value
    return changes


def mended(payload: Payload, changes: Mapping[str, str]) -> Payload:
    """The payload with these fields of its command changed; raises ValueError with a sentence."""
    if payload.whole_length is not None:
        raise ValueError("Only the beginning of the entry was kept.")
    entry = unpack(payload.layout, payload.content, "")
    assert not isinstance(entry.fields, Truncated)
    fields = list(entry.fields)
    if payload.layout is Layout.ENVELOPE:
        return replace_content(payload, _changed(fields[1], changes, ("message",)))
    for index in range(0, len(fields), 2):
        if fields[index] == b"message":
            fields[index + 1] = _changed(fields[index + 1], changes, ())
            return replace_content(payload, pack(StreamEntry("", fields))[1])
    raise ValueError("Its entry has no field message.")


def replace_content(payload: Payload, content: bytes) -> Payload:
    """The same with other bytes."""
    return payload._replace(content=content)


def _changed(text: bytes, changes: Mapping[str, str], path: tuple[str, ...]) -> bytes:
    try:
        whole = command = json.loads(text)
        for name in path:
            command = command[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("Its command cannot be read as JSON.") from None
    if not isinstance(command, dict):
        raise ValueError("Its message is not an object.")
    command.update(changes)
    return json.dumps(whole, ensure_ascii=False).encode(errors="surrogatepass")


def edit(
    connection: Connection,
    settings: Settings,
    which: Filter,
    changes: Mapping[str, str],
    *,
    who: str,
    reason: str | None = None,
    dry_run: bool = False,
) -> Edited:
    """Change these fields of the failed tasks that match, and try those again that keep to the rules then. Commits.

    The others stay as they are. The payload as it came is kept in `original_payload`.
    """
    result = Edited()
    after = -1
    table = failed_tasks.c
    scope = settings.scope
    chosen = replace(which, states=(State.FAILED,))
    while True:
        rows = connection.execute(
            select(table.id, table.entry_id, table.layout, table.payload, table.whole_length)
            .where(table.stream == scope.stream, table.consumer_group == scope.group, table.id > after)
            .where(*chosen.conditions())
            .order_by(table.id)
            .limit(CHUNK // 10)
        ).all()
        for row in rows:
            payload = Payload(Layout(row.layout), bytes(row.payload), row.whole_length)
            try:
                changed = mended(payload, changes)
                _check(changed, row.entry_id or "0-0", settings)
            except (ValueError, RejectedEntry) as error:
                result.refused[_general(str(error))] += 1
                continue
            if dry_run:
                result.mended += 1
                continue
            result.mended += connection.execute(
                update(failed_tasks)
                .where(table.id == row.id, table.state == State.FAILED.value, table.payload == row.payload)
                .values(
                    payload=changed.content,
                    original_payload=func.coalesce(table.original_payload, table.payload),
                    state=State.RETRYING.value,
                    retry_at=func.now(),
                )
            ).rowcount
        last = len(rows) < CHUNK // 10
        if last and not dry_run and result.mended:
            _note(connection, scope, which, changes, result.mended, who, reason)
        connection.commit()
        if last:
            return result
        after = rows[-1].id


def _note(
    connection: Connection,
    scope: Scope,
    which: Filter,
    changes: Mapping[str, str],
    number: int,
    who: str,
    reason: str | None,
) -> None:
    described: dict[str, Any] = {**which.described(), "set": dict(changes)}
    record(connection, scope, EDIT, who, filter=described, affected=number, reason=reason)


def _check(payload: Payload, entry_id: str, settings: Settings) -> None:
    """Raise RejectedEntry where it still breaks a rule."""
    work = understand(unpack(payload.layout, payload.content, entry_id), settings.history_limit)
    if isinstance(work.command, RejectedEntry):
        raise work.command


def _general(sentence: str) -> str:
    """The sentence without the values that differ from task to task."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", sentence)
