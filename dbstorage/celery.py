"""Where `celery -A dbstorage …` looks: the application with the settings of the environment."""

import sys

from dbstorage.own_tasks import load_own_tasks

# First of all: the imports below lead to `tasks`.
load_own_tasks()

from dbstorage.application import DBStorage, create_app  # noqa: E402
from dbstorage.dashboard import install_pages_if_flower  # noqa: E402
from dbstorage.errors import SettingsError  # noqa: E402
from dbstorage.printable import printable  # noqa: E402
from dbstorage.settings import load_settings  # noqa: E402


def _app_or_exit() -> DBStorage:
    # Celery shows an exception at import as a page of traceback; a person's mistake is worth one sentence.
    try:
        return create_app(load_settings())
    except SettingsError as error:
        print(*map(printable, str(error).split("\n")), sep="\n", file=sys.stderr)
        raise SystemExit(2) from None


app = _app_or_exit()
install_pages_if_flower(app.settings)
