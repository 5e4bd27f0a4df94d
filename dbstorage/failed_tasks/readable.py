"""A failed task's payload, and text of strangers, as a person can read it."""

import json
import re
from typing import Any

from dbstorage.failed_tasks.store import Payload
from dbstorage.wire.entry import Layout
from dbstorage.wire.payload import unpack

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_INDENT = "  "


def printable(text: str) -> str:
    r"""The text with line ends, control and other invisible characters written as `\n`, `\x1b` or `\u202e`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def readable_payload(payload: Payload) -> str:
    """The payload in lines: JSON indented, a flat entry's fields one below the other, broken bytes as `\\xff`.

    Numbers, names and their order are as they came.
    """
    fields = fields_of(payload)
    if fields is None:
        return _readable(payload.content)
    lines = []
    for name, value in fields:
        shown = _readable(value)
        shown_name = printable(name.decode(errors="backslashreplace"))
        lines.append(f"{shown_name}:" + ("\n" + _indented(shown) if "\n" in shown else f" {shown}"))
    return "\n".join(lines)


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
        fields = unpack(payload.layout, payload.content, "").fields
    except ValueError:
        return None
    return list(zip(fields[::2], fields[1::2], strict=True))


def _readable(value: bytes) -> str:
    try:
        text = value.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return _text(value)
    return _indent_json(text)


def _text(value: bytes) -> str:
    lines = value.decode(errors="backslashreplace").split("\n")
    return "\n".join(printable(line) for line in lines)


def _indented(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.split("\n"))


def _indent_json(text: str) -> str:
    """Valid JSON with an item a line; its parts stay as they were written, which parsing would not do."""
    parts: list[str] = []
    depth = 0
    before = ""
    for part in _JSON_TOKEN.findall(text):
        if part in ("]", "}"):
            depth -= 1
            if before not in ("[", "{"):
                parts.append("\n" + _INDENT * depth)
        elif before in ("[", "{", ","):
            parts.append("\n" + _INDENT * depth)
        if part in ("[", "{"):
            depth += 1
        parts.append(": " if part == ":" else printable(part))
        before = part
    return "".join(parts)
