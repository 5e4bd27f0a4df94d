import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from dbstorage.errors import EmbeddedServerError

LAUNCHER = Path(__file__).with_name("launch.py")


class Account(NamedTuple):
    """User and group id that a server runs as; -1 is whoever we are."""

    user_id: int
    group_id: int


OURSELVES = Account(-1, -1)


def account_for(directory: Path) -> Account:
    """The account for processes that work with the data in `directory`, or with new data below it.

    PostgreSQL refuses to run as root, and the others should not. Started by root, they run as the owner of the data,
    or as `nobody` for new data. Raises EmbeddedServerError where the data belongs to somebody else.
    """
    status = directory.stat()
    if os.geteuid() != 0:
        if status.st_uid != os.geteuid():
            raise EmbeddedServerError(
                f"{directory} belongs to another user (id {status.st_uid}): start as that user or as root, "
                "or choose another directory."
            )
        return OURSELVES
    if status.st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedServerError(
            "PostgreSQL does not run as root, and there is no user `nobody` to run it: start as an ordinary user."
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def spawn(
    command: Sequence[str | Path],
    *,
    signal_when_orphaned: signal.Signals,
    account: Account = OURSELVES,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    standard_input: IO[bytes] | None = None,
    reach: Sequence[str | Path] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that the terminal's Ctrl-C does not reach it.

    It gets the signal when the thread that started it ends, whatever the reason (Linux; elsewhere it goes on, and the
    next start replaces a server). Its output goes to `output`, by default to ours. `reach` names files and directories
    that another account has to reach, although they may be below a directory that is closed to it, such as /root.
    """
    plan = {
        "parent": os.getpid(),
        "signal": int(signal_when_orphaned),
        "user": account.user_id,
        "group": account.group_id,
        "reach": [str(path) for path in reach],
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, json.dumps(plan), *command],
        stdin=subprocess.DEVNULL if standard_input is None else standard_input,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        cwd=directory,
        env=environment,
        start_new_session=True,
    )
