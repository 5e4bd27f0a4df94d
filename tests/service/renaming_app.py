"""What `celery -A tests.service.renaming_app` starts."""

from tests.service.renaming import renaming_app

app = renaming_app()
