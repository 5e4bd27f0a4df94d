"""How long tests run that could go on for ever: `make test` runs a short form, `make chaos` the full length."""

import os

FULL = os.environ.get("CHAOS") == "full"


def scaled(short: int, full: int) -> int:
    """A number of commands, kills, states and so on, by the form of the tests."""
    return full if FULL else short
