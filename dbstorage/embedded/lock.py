import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbstorage.embedded.files import open_own, refuse_strange_link
from dbstorage.errors import EmbeddedServerError


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Lock the directory while the context lasts; the kernel releases the lock however we end.

    Raises EmbeddedServerError where another process has it, or where the directory cannot be written.
    """
    try:
        refuse_strange_link(directory)
        directory.mkdir(parents=True, exist_ok=True)
        file = open_own(directory / "lock", os.O_RDWR)
    except OSError as error:
        raise EmbeddedServerError(f"Nothing can be kept in {directory}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode() or "unknown"
            raise EmbeddedServerError(
                f"`dbstorage up` already runs with {directory} (process {holder}): stop that one first."
            ) from None
        os.truncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
        os.truncate(file, 0)
    finally:
        os.close(file)
