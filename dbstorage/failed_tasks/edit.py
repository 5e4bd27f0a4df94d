"""Mending failed tasks: fields of their commands are changed and validated; tasks that are valid then are retried."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, update

from dbstorage.database.tables import failed_tasks
from dbstorage.errors import RejectedEntry
from dbstorage.failed_tasks.changes import Progress
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.lookup import Payload, of_scope
from dbstorage.failed_tasks.trail import PartsRecord
from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind
from dbstorage.settings import Scope, Settings
from dbstorage.storage.work import understand
from dbstorage.wire.entry import Layout, StreamEntry, Truncated
from dbstorage.wire.payload import pack, unpack

EDIT = "edit"
#: Tasks that are mended in one transaction.
PART = 500
#: Fields that can be mended, each with the attribute of the command that it becomes. orderId and userId are not among
#: them: a command for another order or user has to be sent anew.
FIELDS = {
    **{
        name: column.field
        for column in ORDER_COLUMNS
        if column.kind is not ColumnKind.ID
        for name in (column.name, column.alias)
        if name is not None
    },
    "userEmail": "email",
}
#: How a sentence names the field that is wrong, ours and PostgreSQL's.
_NAMED = re.compile(r'^(\w+) is |column "(\w+)"')
#: Tasks that a result shows with their values.
MOST_SAMPLES = 5
#: Characters of a value that are shown in it.
LONGEST_SHOWN = 200


class Sample(NamedTuple):
    """One task that is valid after the edit: field -> its value as it came, and the new value as the rules read it."""

    id: int
    values: dict[str, tuple[str | None, str]]


@dataclass(kw_only=True)
class Edited:
    """What an edit does, or would do: how many tasks are valid with the changes, and why the others are not."""

    mended: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    #: The first of the mended tasks.
    samples: list[Sample] = field(default_factory=list)


def named_field(code: str, sentence: str) -> str | None:
    """The field that a failure is about, by its code (`invalid_open_time`) or else its sentence; None where none is."""
    spelled = {name.lower(): name for name in FIELDS}
    by_code = spelled.get(code.removeprefix("invalid_").replace("_", ""))
    named = _NAMED.search(sentence)
    word = named and (named[1] or named[2])
    return by_code or (word if word in FIELDS else None)


def parse_changes(words: tuple[str, ...]) -> dict[str, str]:
    """The changes in words such as `symbol=btc`; raises ValueError with a sentence."""
    changes: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in FIELDS:
            raise ValueError(f"{word!r} is no change of a field: expected FIELD=VALUE with one of {', '.join(FIELDS)}.")
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
        whole = _json(fields[1])
        _change(_command(whole), changes)
        return payload._replace(content=_bytes(whole))
    for index in range(0, len(fields), 2):
        if fields[index] == b"message":
            command = _json(fields[index + 1])
            _change(command, changes)
            fields[index + 1] = _bytes(command)
            return payload._replace(content=pack(StreamEntry("", fields))[1])
    raise ValueError("Its entry has no field message.")


def values_of(payload: Payload, names: Iterable[str]) -> dict[str, str | None]:
    """The values of these fields in the command; None for a field that it lacks, or where it cannot be decoded."""
    found: Any = None
    with suppress(ValueError):
        entry = unpack(payload.layout, payload.content, "")
        if payload.layout is Layout.ENVELOPE:
            found = _command(_json(entry.fields[1]))
        else:
            assert isinstance(entry.fields, list)
            found = _json(dict(zip(entry.fields[::2], entry.fields[1::2], strict=True)).get(b"message", b""))
    if not isinstance(found, dict):
        return dict.fromkeys(names)
    return {name: _text(found[name]) if name in found else None for name in names}


def _command(whole: Any) -> Any:
    """Where the fields of an envelope's command stand: in its message; of a createUser, also beside it."""
    if not isinstance(whole, dict):
        raise ValueError("Its command cannot be read as JSON.")
    if isinstance(whole.get("message"), dict) or whole.get("function") != "createUser":
        return whole.get("message")
    return whole


def _change(command: Any, changes: Mapping[str, str]) -> None:
    if not isinstance(command, dict):
        raise ValueError("Its message is not an object.")
    if all(command.get(name) == value for name, value in changes.items()):
        raise ValueError("It has these values already, so that a retry would do the same.")
    command.update(changes)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("Its command cannot be read as JSON.") from None


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def edit(
    connection: Connection,
    settings: Settings,
    which: Filter,
    changes: Mapping[str, str],
    *,
    who: str,
    reason: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda ids: None,
) -> Edited:
    """Change these fields of the failed tasks that match, and retry those that are valid then. Commits.

    The others stay as they are. The payload as it came is kept in `original_payload`. `progress` is called after each
    part with the ids that were mended in it. Each part is recorded in its transaction, and the end, also where an error
    ends it.
    """
    result = Edited()
    after = -1
    told = {**which.described(), "set": dict(changes)}
    trail = PartsRecord(settings.scope, EDIT, who, filter=told, reason=reason)
    trail.ended = dry_run
    with trail.ended_by_errors(connection):
        while True:
            rows = _part(connection, settings.scope, which, after)
            ids = _edit_part(connection, settings, rows, changes, result, dry_run=dry_run)
            last = len(rows) < PART
            if not dry_run and last:
                trail.end(connection, len(ids))
            elif not dry_run and ids:
                trail.part(connection, len(ids))
            connection.commit()
            trail.ended = trail.ended or last
            if not last and ids:
                trail.committed(len(ids))
            progress(ids)
            if last:
                return result
            after = rows[-1].id


def _part(connection: Connection, scope: Scope, which: Filter, after: int) -> Sequence[Any]:
    table = failed_tasks.c
    return connection.execute(
        select(table.id, table.entry_id, table.layout, table.payload, table.whole_length)
        .where(*of_scope(scope), *which.conditions(), table.state == State.FAILED.value, table.id > after)
        .order_by(table.id)
        .limit(PART)
    ).all()


def _edit_part(
    connection: Connection,
    settings: Settings,
    rows: Sequence[Any],
    changes: Mapping[str, str],
    result: Edited,
    *,
    dry_run: bool,
) -> list[int]:
    """Mend these rows, and count them in the result; returns the ids of the mended ones."""
    table = failed_tasks.c
    ids = []
    for row in rows:
        payload = Payload(Layout(row.layout), bytes(row.payload), row.whole_length)
        try:
            changed = mended(payload, changes)
            reads = _reads(changed, row.entry_id or "0-0", changes, settings)
        except (ValueError, RejectedEntry) as error:
            result.refused[_general(str(error))] += 1
            continue
        if not dry_run:
            done = connection.execute(
                update(failed_tasks)
                .where(table.id == row.id, table.state == State.FAILED.value, table.payload == row.payload)
                .values(
                    payload=changed.content,
                    original_payload=func.coalesce(table.original_payload, table.payload),
                    state=State.RETRYING.value,
                    retry_at=func.now(),
                )
            ).rowcount
            if not done:
                continue
        result.mended += 1
        ids.append(row.id)
        if len(result.samples) < MOST_SAMPLES:
            before = values_of(payload, changes)
            values = {name: (_short(before[name]), _short(reads[name]) or "") for name in changes}
            result.samples.append(Sample(row.id, values))
    return ids


def _reads(payload: Payload, entry_id: str, changes: Iterable[str], settings: Settings) -> dict[str, str]:
    """The values that the rules read in the changed fields; raises RejectedEntry where the command still breaks one."""
    work = understand(unpack(payload.layout, payload.content, entry_id), settings.history_limit)
    command = work.command
    if isinstance(command, RejectedEntry):
        raise command
    read: dict[str, str] = {}
    for name in changes:
        if not hasattr(command, FIELDS[name]):
            raise ValueError(f"A {work.function} has no {name}.")
        value = getattr(command, FIELDS[name])
        read[name] = "nothing" if value is None else str(value)
    return read


def _short(value: str | None) -> str | None:
    return value if value is None or len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…"


def _general(sentence: str) -> str:
    """The sentence with `…` in the place of values that differ from task to task."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", sentence)
