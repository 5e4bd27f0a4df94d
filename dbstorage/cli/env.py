import shlex
from pathlib import Path

import click

from dbstorage.cli.output import write
from dbstorage.embedded.running_servers import DEFAULT_DIRECTORY, running_servers
from dbstorage.errors import EmbeddedServerError


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=DEFAULT_DIRECTORY,
    help="The directory that `dbstorage up` was given.",
)
def env(directory: Path) -> None:
    """Print shell lines that set the URLs of the running servers, password included.

    With `eval "$(dbstorage env)"` other commands find the servers, such as `celery -A dbstorage inspect active`.
    """
    servers = running_servers(directory)
    if servers is None:
        raise EmbeddedServerError(f"`dbstorage up` is not running with {directory}: start it first.")
    for name, url in servers.items():
        write(f"export {name}={shlex.quote(url)}\n")
