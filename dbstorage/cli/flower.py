import click

from dbstorage.cli.celery_commands import PASSED_ON, arguments_of_celery, run_celery


@click.command(context_settings=PASSED_ON)
@arguments_of_celery
def flower(arguments: tuple[str, ...]) -> None:
    """Start the dashboard: `celery -A dbstorage flower` with these arguments."""
    run_celery("flower", arguments)
