"""The pages **Service** and **Failed** in Flower: `celery -A dbstorage flower` shows them without any option."""

import click

from dbstorage.settings import Settings


def install_pages_if_flower(settings: Settings) -> None:
    """Add the pages if this process is `celery … flower`; for any other command do nothing, and import nothing."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_root().invoked_subcommand != "flower":
        return
    from dbstorage.dashboard.database import Database
    from dbstorage.dashboard.failed_changes import change_routes
    from dbstorage.dashboard.failed_page import failed_routes
    from dbstorage.dashboard.flower_internals import install
    from dbstorage.dashboard.service_page import service_routes

    database = Database(settings)
    install([*service_routes(settings, database), *change_routes(database), *failed_routes(database)])
