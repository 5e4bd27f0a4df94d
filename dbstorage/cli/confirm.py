import sys

import click

from dbstorage.cli.exit_codes import NOT_CONFIRMED
from dbstorage.cli.output import say


def confirm(question: str, *, typed: str | None = None, otherwise: str = "--yes does it without asking") -> None:
    """Ask on standard error, and end the command unless the answer is yes, or the number `typed`.

    `otherwise` ends the sentence of a command that changed nothing.
    """
    try:
        if typed is None:
            confirmed = click.confirm(question, err=True)
        else:
            confirmed = click.prompt(f"{question} Type their number", err=True).replace(",", "").strip() == typed
    except click.Abort:
        # The end of the input, or Ctrl-C.
        say("", err=True)
        confirmed = False
    if not confirmed:
        say(f"Nothing was changed; {otherwise}.", err=True)
        sys.exit(NOT_CONFIRMED)
