"""Replaces itself by a program that dies with its parent and, where asked, runs as another user.

Run as a script by `process.spawn`, so it imports nothing but the standard library: `python launch.py PLAN PROGRAM
[ARGUMENT ...]`, where PLAN is a JSON object: `parent` (process id), `signal` (to get when the parent ends), `user` and
`group` (ids, -1 to stay who we are) and `reach` (paths that the program has to reach as that user).
"""

import ctypes
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
# With either capability a user may enter closed directories; the first allows reading only, but few containers have it.
CAP_DAC_READ_SEARCH = 2
CAP_DAC_OVERRIDE = 1
SECURE_NO_SETUID_FIXUP = 1 << 2
CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV = 2, 4
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

LINUX = sys.platform.startswith("linux")


class CapabilityHeader(ctypes.Structure):
    """First argument of capget(2) and capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySets(ctypes.Structure):
    """The second: capabilities 0 to 31 in the first of two such structures."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def closed_directories(paths: Sequence[str], user: int, group: int) -> dict[str, list[str]]:
    """The topmost directories above `paths` that the user may not enter, each with the paths below it.

    If a path is such a directory itself, the paths in it are meant.
    """
    closed: dict[str, list[str]] = {}
    forms = sorted({*map(os.path.abspath, paths), *map(os.path.realpath, paths)})
    for path in chain.from_iterable(open_parts(path, user, group) for path in forms):
        for directory in reversed(Path(path).parents):
            if not may_enter(directory.stat(), user, group):
                closed.setdefault(str(directory), []).append(path)
                break
    return closed


def open_parts(path: str, user: int, group: int) -> list[str]:
    """The path itself, or everything in it, if it is a directory that the user may not enter."""
    if os.path.isdir(path) and not may_enter(os.stat(path), user, group):
        return [os.path.join(path, name) for name in sorted(os.listdir(path))]
    return [path]


def may_enter(status: os.stat_result, user: int, group: int) -> bool:
    """Whether the mode of a directory lets the user through."""
    if status.st_uid == user:
        return bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == group else stat.S_IXOTH))


def open_ways(reach: Sequence[str], user: int, group: int) -> None:
    """For this process alone, mount an open directory over each closed one; it contains nothing but the paths.

    So a user who may not enter /root can run a program below /root, and gets no further right there. Raises OSError
    where mounting is not allowed, as in many containers.
    """
    closed = closed_directories(reach, user, group)
    if not closed:
        return
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    # Below the one that was opened there may be another.
    while closed:
        for directory, paths in closed.items():
            replace(directory, paths)
        closed = closed_directories(reach, user, group)


def replace(directory: str, paths: Sequence[str]) -> None:
    """Cover the directory with an open one that holds the paths below it alone."""
    # Through these, what is covered can still be had.
    covered = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in outermost(paths)}
    call("mount", b"tmpfs", os.fsencode(directory), b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=64k")
    mask = os.umask(0o022)
    for path, opened in covered.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        call("mount", f"/proc/self/fd/{opened}".encode(), os.fsencode(path), None, MS_BIND | MS_REC, None)
        os.close(opened)
    os.umask(mask)


def outermost(paths: Sequence[str]) -> Iterator[str]:
    """Those paths that are not below another one."""
    taken: list[Path] = []
    for path in map(Path, sorted(paths)):
        if not any(path.is_relative_to(other) for other in taken):
            taken.append(path)
            yield str(path)


def call(name: str, *arguments: Any) -> None:
    """Call a function of the C library; raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become(user: int, group: int, reach: Sequence[str]) -> None:
    """Change to the user and drop root's rights. If nothing can be mounted, keep the one right to enter directories."""
    directory = os.getcwd()
    try:
        if LINUX:
            open_ways(reach, user, group)
    except OSError as error:
        print(
            f"Warning: a directory on the way to {' or '.join(reach)} is closed to user {user}, and no way can be "
            f"opened for this process alone ({error.strerror}): it keeps root's right to go through.",
            file=sys.stderr,
            flush=True,
        )
        become_but_enter(user, group)
    else:
        change_user(user, group)
    try:
        # The same one, where what covers it shows it.
        os.chdir(directory)
    except OSError:
        os.chdir("/")
    if LINUX:
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def change_user(user: int, group: int) -> None:
    """Become the user for good; the kernel then takes root's capabilities away."""
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


def become_but_enter(user: int, group: int) -> None:
    """Become the user, keeping the one capability to enter the directories on the way to the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (CapabilitySets * 2)()
    libc.capget(ctypes.byref(header), sets)
    usable = [number for number in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if sets[0].permitted & 1 << number]
    # Change of user leaves the capabilities alone, and access(2), which PostgreSQL asks about its files, respects them.
    libc.prctl(PR_SET_SECUREBITS, SECURE_NO_SETUID_FIXUP, 0, 0, 0)
    change_user(user, group)
    kept = 1 << usable[0] if usable else 0
    sets[0] = CapabilitySets(kept, kept, kept)
    sets[1] = CapabilitySets(0, 0, 0)
    libc.capset(ctypes.byref(header), sets)
    if usable:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, usable[0], 0, 0)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel send us the signal when the parent ends, however it ends (Linux only)."""
    if LINUX:
        call("prctl", PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The process that started this one has ended.")


def main(plan: str, *command: str) -> None:
    """Do what the plan says, then become the program."""
    wanted = json.loads(plan)
    if wanted["user"] >= 0:
        try:
            become(wanted["user"], wanted["group"], wanted["reach"])
        except OSError as error:
            sys.exit(f"It may not run as root, and cannot become user {wanted['user']}: {error.strerror}.")
    # After the change of user, which would clear it.
    die_with_parent(wanted["parent"], wanted["signal"])
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
