import os

from dbstorage.embedded.running_servers import running_servers
from dbstorage.errors import SettingsError
from dbstorage.settings import Settings, load_settings

SERVER_VARIABLES = ("REDIS_URL", "DATABASE_URL")


def settings_for_command(*, redis_needed: bool = True) -> Settings:
    """The settings of a command that talks to the service.

    Server URLs that are not in the environment are those of the `dbstorage up` that runs in the current
    directory. Raises SettingsError.
    """
    given = {name: value for name, value in os.environ.items() if value.strip()}
    servers = running_servers()
    try:
        return load_settings({**(servers or {}), **given}, redis_needed=redis_needed)
    except SettingsError as error:
        if servers or all(name in given for name in SERVER_VARIABLES[0 if redis_needed else 1 :]):
            raise
        hint = "`dbstorage up` does not run in this directory either; it would start both servers."
        raise SettingsError([*error.sentences, hint]) from None


def use_running_servers() -> None:
    """Have programs that read the environment themselves find the servers of the `dbstorage up` here."""
    for name, url in (running_servers() or {}).items():
        if not os.environ.get(name, "").strip():
            os.environ[name] = url
