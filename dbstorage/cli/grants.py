import click
from sqlalchemy.exc import DBAPIError

from dbstorage.cli.output import say
from dbstorage.cli.settings import settings_for_command
from dbstorage.database.engine import create_engine
from dbstorage.database.rights import Right, flower_rights, needed_rights
from dbstorage.database.shape import inspect_shape
from dbstorage.database.sqlstate import describe
from dbstorage.errors import DatabaseUnavailableError
from dbstorage.redis_rights import acl_lines
from dbstorage.settings import Settings


@click.command()
@click.option("--role", default="dbstorage_service", show_default=True, help="The worker's role, which owns nothing.")
@click.option("--flower-role", default="dbstorage_flower", show_default=True, help="Flower's role.")
@click.option("--redis-user", default="dbstorage", show_default=True, help="The worker's user in Redis.")
@click.option("--flower-user", default="dbstorage-flower", show_default=True, help="Flower's user in Redis.")
@click.option("--engine-user", default="engine", show_default=True, help="The engine's user in Redis.")
@click.option("--sql", "only", flag_value="sql", help="Print the SQL alone.")
@click.option("--acl", "only", flag_value="acl", help="Print the lines for Redis alone.")
def grants(role: str, flower_role: str, redis_user: str, flower_user: str, engine_user: str, only: str | None) -> None:
    """Print the rights that the service needs, and no more: SQL for PostgreSQL, ACL lines for Redis.

    They are for the names in use: the schema in DATABASE_URL, the streams, the group. Run it with the URL of the role
    that migrates, whose tables these are; nothing is changed. `dbstorage grants --sql | psql …` gives the rights to
    roles that exist.
    """
    settings = settings_for_command()
    if only != "acl":
        _print_sql(settings, role, flower_role)
    if only != "sql":
        if only is None:
            say("\n-- Redis: lines of its aclfile, or of ACL SETUSER (without the word user); fill in passwords.")
        for line in acl_lines(settings, redis_user, flower_user, engine_user):
            say(line)


def _print_sql(settings: Settings, role: str, flower_role: str) -> None:
    service, flower = _rights(settings)
    for name, what, rights in (
        (role, "The worker and the dbstorage command", service),
        (flower_role, "Flower", flower),
    ):
        say(f"-- {what}. CREATE ROLE \"{name}\" LOGIN PASSWORD '…';")
        for right in rights:
            say(right.grant(name))


def _rights(settings: Settings) -> tuple[list[Right], list[Right]]:
    engine = create_engine(settings.database, application_name="dbstorage grants")
    try:
        with engine.connect() as connection:
            schema = inspect_shape(connection).schema
            return needed_rights(connection, schema), flower_rights(connection)
    except DBAPIError as error:
        raise DatabaseUnavailableError(f"{settings.database} cannot be used: {describe(error)}.") from error
    finally:
        engine.dispose()
