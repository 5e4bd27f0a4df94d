import json
import os
from pathlib import Path

from dbstorage.embedded.files import write_private

#: Where `dbstorage up` keeps everything, relative to the directory it is started in.
DEFAULT_DIRECTORY = Path(".dbstorage")
FILE_NAME = "servers.json"


def running_servers(directory: Path = DEFAULT_DIRECTORY) -> dict[str, str] | None:
    """REDIS_URL and DATABASE_URL that `dbstorage up` is running with in `directory`; None when it is not running."""
    try:
        noted = json.loads(_read_own(directory / FILE_NAME))
        urls = {name: str(noted[name]) for name in ("REDIS_URL", "DATABASE_URL")}
        running = _is_running(noted["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return urls if running else None


def note_servers(directory: Path, redis_url: str, database_url: str) -> None:
    """Write the URLs, which hold passwords, where only our user can read them."""
    noted = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "pid": os.getpid()}
    write_private(directory / FILE_NAME, json.dumps(noted, indent=2))


def forget_servers(directory: Path) -> None:
    """Remove what `note_servers` wrote."""
    (directory / FILE_NAME).unlink(missing_ok=True)


def _read_own(path: Path) -> bytes:
    """What the file holds; raises OSError where another user wrote it: who knows whose servers it names."""
    with path.open("rb") as file:
        # Root may look after what anybody has started.
        if os.geteuid() not in {0, os.fstat(file.fileno()).st_uid}:
            raise PermissionError(f"{path} belongs to another user")
        return file.read()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
