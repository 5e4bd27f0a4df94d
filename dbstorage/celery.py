"""Where `celery -A dbstorage …` looks: the application with the settings of the environment."""

import sys

from dbstorage.application import DBStorage, create_app
from dbstorage.dashboard import install_failed_page_if_flower
from dbstorage.errors import SettingsError
from dbstorage.printable import printable
from dbstorage.settings import load_settings


def _app_or_exit() -> DBStorage:
    # Celery shows an exception at import as a page of traceback; a person's mistake is worth one sentence.
    try:
        return create_app(load_settings())
    except SettingsError as error:
        print(*map(printable, str(error).split("\n")), sep="\n", file=sys.stderr)
        raise SystemExit(2) from None


app = _app_or_exit()
install_failed_page_if_flower(app.settings)
