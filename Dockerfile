# One image for the worker, the migrations and Flower; the command says which.

FROM python:3.13.14-slim-trixie AS build
WORKDIR /source
RUN python -m venv --without-pip /venv
# Dependencies first: they change less often than the code.
COPY requirements-run.lock ./
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps --require-hashes --requirement requirements-run.lock
COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY dbstorage dbstorage
COPY tasks tasks
COPY migrations migrations
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps . \
    && python -m compileall -q /venv

FROM python:3.13.14-slim-trixie
# A number, so that an orchestrator can tell that it is not root.
RUN groupadd --gid 10001 dbstorage \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin dbstorage
COPY --from=build /venv /venv
WORKDIR /app
# `alembic upgrade head` looks for them here.
COPY alembic.ini ./
COPY migrations migrations
ENV PATH="/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    METRICS_PORT=9100
USER 10001
EXPOSE 9100
# Celery is process 1 and the only one to get the signal: its pool finishes the batch in hand.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['METRICS_PORT']}/livez\", timeout=4)"]
CMD ["celery", "-A", "dbstorage", "worker"]
