"""The page **Failed** in Flower: `celery -A dbstorage flower` shows it without further ado."""

import click

from dbstorage.settings import Settings


def install_failed_page_if_flower(settings: Settings) -> None:
    """Add the page where this process is `celery … flower`; any other command is left alone, and loads nothing."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_root().invoked_subcommand != "flower":
        return
    from dbstorage.dashboard.handlers import routes
    from dbstorage.dashboard.internals import install

    install(routes(settings))
