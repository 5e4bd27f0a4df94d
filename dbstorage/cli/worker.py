import click

from dbstorage.cli.celery_commands import PASSED_ON, arguments_of_celery, run_celery


@click.command(context_settings=PASSED_ON)
@arguments_of_celery
def worker(arguments: tuple[str, ...]) -> None:
    """Start a worker: `celery -A dbstorage worker` with these arguments."""
    run_celery("worker", arguments)
