import os

import click

from dbstorage.cli.celery_commands import PASSED_ON, arguments_of_celery, run_celery


@click.command(context_settings=PASSED_ON)
@arguments_of_celery
def flower(arguments: tuple[str, ...]) -> None:
    """Start the dashboard: `celery -A dbstorage flower` with these arguments."""
    run_celery("flower", [*_no_stray_configuration(arguments), *arguments])


def _no_stray_configuration(arguments: tuple[str, ...]) -> list[str]:
    """What keeps Flower from running the current directory's flowerconfig.py, a program, unless somebody names it."""
    named = "FLOWER_CONF" in os.environ or any(argument.lstrip("-").startswith("conf") for argument in arguments)
    return [] if named else [f"--conf={os.devnull}"]
