from difflib import get_close_matches
from typing import Any

import click

from dbstorage.printable import printable


class SuggestingGroup(click.Group):
    """A command group that suggests what a typo may have meant, and reports wrong usage in one line."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; whatever of its arguments an error names is printable."""
        try:
            return super().invoke(context)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            # These print help of several lines, and nothing that was typed.
            raise
        except click.UsageError as error:
            raise click.UsageError(printable(error.format_message()), error.ctx) from None

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; raises UsageError with a sentence."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], self.list_commands(context), n=1)
            if not close or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]}?", error.ctx) from None
