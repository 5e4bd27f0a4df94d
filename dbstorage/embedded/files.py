"""Reads and writes files in a directory that another account may write to, and follows no link of that account.

Started by root, the files belong to the owner of the directory, who may start the service the next time.
"""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import IO


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in the place of whatever has its name; never half of it is seen."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = _create(new, os.O_WRONLY)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def read_private(path: Path) -> str | None:
    """The text of such a file; None if there is none, or if something else has the name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, errors="replace") as file:
        return file.read() if _is_plain(os.fstat(descriptor)) else None


def open_log(path: Path) -> IO[bytes]:
    """Open a log file for appending."""
    return os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "ab")


def open_own(path: Path, flags: int) -> int:
    """A descriptor of the file; of a new file if there is none, or if something else has the name."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError):
        return _create(path, flags)
    except OSError:
        path.unlink(missing_ok=True)
        return _create(path, flags)
    status = os.fstat(descriptor)
    if _is_plain(status) and status.st_uid in {os.geteuid(), path.parent.stat().st_uid}:
        os.set_blocking(descriptor, True)
        return descriptor
    os.close(descriptor)
    path.unlink()
    return _create(path, flags)


def refuse_strange_link(path: Path) -> None:
    """Raise OSError where the path is a link that neither we made nor root: it may lead anywhere."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode) and status.st_uid not in {os.geteuid(), 0}:
        raise OSError(errno.ELOOP, "a link that another user made", str(path))


def _create(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def _is_plain(status: os.stat_result) -> bool:
    """Whether it is a regular file with one name only: another name may be a hard link to somebody else's file."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
