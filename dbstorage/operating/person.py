import getpass
import os


def this_person() -> str:
    """The login name of the person who runs this command; with sudo, of the person who typed it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        # A container's user id need not have a name.
        return f"uid {os.getuid()}"
