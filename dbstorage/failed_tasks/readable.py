"""A failed task's payload in a form that a person can read."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from dbstorage.failed_tasks.lookup import Payload
from dbstorage.printable import printable
from dbstorage.wire.entry import Layout
from dbstorage.wire.payload import unpack

# Possessive: a text that may be given back character by character takes 100 bytes of memory for each of them.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]+')
_INDENT = "  "
#: Levels beyond which lines begin no further to the right.
DEEPEST_INDENT = 50
#: Bytes of JSON that are parsed; what is larger is shown as it stands.
MOST_PARSED = 2**21
#: Characters of a payload that are shown. `failed export` and the page's file have all of it.
MOST_SHOWN = 100_000


class Readable(NamedTuple):
    """Text for a person; `cut` says whether the rest was left out."""

    text: str
    cut: bool


def readable_payload(payload: Payload, most: int) -> Readable:
    """The payload in lines: JSON indented, a flat entry's fields one below the other, broken bytes as `\\xff`.

    Numbers, names and their order are as they came. It ends after `most` characters, however much there is and however
    it is nested, and costs no more than that.
    """
    parts: list[str] = []
    length = 0
    for part in _parts(payload, most):
        parts.append(part)
        length += len(part)
        if length > most:
            return Readable("".join(parts)[:most], cut=True)
    return Readable("".join(parts), cut=False)


def _parts(payload: Payload, most: int) -> Iterator[str]:
    fields = fields_of(payload)
    if fields is None:
        yield from _readable(payload.content, most, "")
        return
    for index, (name, value) in enumerate(fields):
        if index:
            yield "\n"
        yield f"{printable(name[: most + 1].decode(errors='backslashreplace'))}:"
        shown = _readable(value, most, _INDENT)
        beginning = "".join(islice(shown, 2))
        # Several lines stand below the name.
        yield f"\n{_INDENT}" if "\n" in beginning else " "
        yield beginning
        yield from shown


def payload_for_json(payload: Payload) -> Any:
    """The payload as text; a flat entry as a list of name and value."""
    fields = fields_of(payload)
    if fields is None:
        return payload.content.decode(errors="backslashreplace")
    return [[part.decode(errors="backslashreplace") for part in field] for field in fields]


def fields_of(payload: Payload) -> list[tuple[bytes, bytes]] | None:
    """The names and values of a flat entry; None for an envelope."""
    if payload.layout is Layout.ENVELOPE:
        return None
    try:
        fields = unpack(*payload[:2], "").fields
    except ValueError:
        return None  # damaged, or only the beginning of what was too large
    assert isinstance(fields, list)
    return list(zip(fields[::2], fields[1::2], strict=True))


def _readable(value: bytes, most: int, margin: str) -> Iterator[str]:
    """The parts of a value; each line behind the first begins with `margin`."""
    text = _json_text(value)
    if text is not None:
        yield from _indented_json(text, most, margin)
        return
    # Each byte becomes one character at least.
    lines = value[: most + 1].decode(errors="backslashreplace").split("\n")
    yield f"\n{margin}".join(map(printable, lines))


def _json_text(value: bytes) -> str | None:
    """The text where it is JSON; None where it is something else, or too large to parse."""
    if len(value) > MOST_PARSED:
        return None
    try:
        text = value.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text


def _indented_json(text: str, most: int, margin: str) -> Iterator[str]:
    """Valid JSON with an item a line; its parts stay as they were written, which parsing would not do."""
    depth = 0
    before = ""
    for token in _JSON_TOKEN.finditer(text):
        part = token[0]
        if part in ("]", "}"):
            depth -= 1
            if before not in ("[", "{"):
                yield f"\n{margin}{_INDENT * min(depth, DEEPEST_INDENT)}"
        elif before in ("[", "{", ","):
            yield f"\n{margin}{_INDENT * min(depth, DEEPEST_INDENT)}"
        if part in ("[", "{"):
            depth += 1
        yield ": " if part == ":" else printable(part[: most + 1])
        before = part
