"""What `celery -A tests.service.example_column_app` starts."""

import tests.service.example_column  # noqa: F401  # first of all
from dbstorage.application import create_app
from dbstorage.settings import load_settings

app = create_app(load_settings())
