"""Replaces itself by a program that dies with its parent and, where asked, runs as another user.

Run as a script by `process.spawn`, so it imports nothing but the standard library:
`python launch.py PARENT_PID SIGNAL USER_ID GROUP_ID PROGRAM [ARGUMENT ...]` (user and group -1: stay who you are).
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
# Either opens directories that are closed to a user; the first only for reading, but few containers have it.
CAP_DAC_READ_SEARCH = 2
CAP_DAC_OVERRIDE = 1
# Change of user leaves the capabilities alone, and access(2), which PostgreSQL asks about its own files, respects them.
SECURE_NO_SETUID_FIXUP = 1 << 2


class CapabilityHeader(ctypes.Structure):
    """First argument of capget(2) and capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySets(ctypes.Structure):
    """The second: capabilities 0 to 31 in the first of two such structures."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become(user_id: int, group_id: int) -> None:
    """Change to the user, keeping of root's rights only the one to enter the directories on the way to the program.

    The program may lie below a directory such as /root, which is closed to everybody else.
    """
    if not sys.platform.startswith("linux"):
        os.setgroups([])
        os.setgid(group_id)
        os.setuid(user_id)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (CapabilitySets * 2)()
    libc.capget(ctypes.byref(header), sets)
    usable = [number for number in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if sets[0].permitted & 1 << number]
    libc.prctl(PR_SET_SECUREBITS, SECURE_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(group_id)
    os.setuid(user_id)
    kept = 1 << usable[0] if usable else 0
    sets[0] = CapabilitySets(kept, kept, kept)
    sets[1] = CapabilitySets(0, 0, 0)
    libc.capset(ctypes.byref(header), sets)
    if usable:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, usable[0], 0, 0)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel send us the signal when the parent ends, however it ends (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The process that started this one has ended.")


def main(parent: str, signal_number: str, user_id: str, group_id: str, *command: str) -> None:
    """Take the steps and become the program."""
    if int(user_id) >= 0:
        try:
            become(int(user_id), int(group_id))
        except OSError as error:
            sys.exit(f"It may not run as root, and cannot become user {user_id}: {error.strerror}.")
    # After the change of user, which would clear it.
    die_with_parent(int(parent), int(signal_number))
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
