import getpass
import os


def this_person() -> str:
    """The system's name of whoever runs this command; behind sudo, of whoever typed it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        # A container's user id need not have a name.
        return f"uid {os.getuid()}"
