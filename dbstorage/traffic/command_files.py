"""Files of commands: one JSON object a line."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dbstorage.wire.entry import Layout
from dbstorage.wire.json_text import parse_json

STANDARD_INPUT = "-"
#: Faults that are named at most; one mistake in a program makes thousands of wrong lines.
NAMED_FAULTS = 5


class CheckedFile(NamedTuple):
    """How many lines a file has, and a sentence for each of the first ones that are no commands."""

    lines: int
    faults: list[str]
    fault_count: int


def open_commands(path: str) -> BinaryIO:
    """Open a file, or standard input for `-`, so that it can be read twice; raises OSError."""
    if path != STANDARD_INPUT:
        return Path(path).open("rb")
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the caller
    shutil.copyfileobj(sys.stdin.buffer, copy)
    copy.seek(0)
    return copy


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines from the file's beginning, without their ends."""
    file.seek(0)
    for line in file:
        yield line.rstrip(b"\r\n")


def check_lines(file: BinaryIO, layout: Layout) -> CheckedFile:
    """Read the whole file and say which of its lines are no commands that can be written in this layout."""
    count = faulty = 0
    faults: list[str] = []
    for line in read_lines(file):
        count += 1
        fault = _fault(line, layout)
        if fault is not None:
            faulty += 1
            if len(faults) < NAMED_FAULTS:
                faults.append(f"Line {count} {fault}.")
    return CheckedFile(count, faults, faulty)


def _fault(line: bytes, layout: Layout) -> str | None:
    if not line.strip():
        return "is empty"
    try:
        value = parse_json(line)
    except ValueError as error:
        return f"is not JSON ({error})"
    if not isinstance(value, dict):
        return "is JSON but not an object"
    if layout is Layout.FLAT and value.get("function") is None:
        return "has no function, by which the flat layout is told from the other"
    return None
