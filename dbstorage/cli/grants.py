import os

import click
from psycopg2.extensions import encrypt_password
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dbstorage.cli.output import say
from dbstorage.cli.settings import settings_for_command
from dbstorage.database.catalog import quoted_name
from dbstorage.database.engine import create_engine
from dbstorage.database.rights import Right, flower_rights, needed_rights
from dbstorage.database.shape import inspect_shape
from dbstorage.database.sqlstate import describe
from dbstorage.errors import DatabaseUnavailableError, SettingsError
from dbstorage.failed_tasks.connected import lock_named
from dbstorage.redis_access.acl import acl_lines
from dbstorage.settings import Settings


@click.command()
@click.option("--role", default="dbstorage_service", show_default=True, help="The worker's role, which owns nothing.")
@click.option("--flower-role", default="dbstorage_flower", show_default=True, help="Flower's role.")
@click.option("--redis-user", default="dbstorage", show_default=True, help="The worker's user in Redis.")
@click.option("--flower-user", default="dbstorage-flower", show_default=True, help="Flower's user in Redis.")
@click.option("--engine-user", default="engine", show_default=True, help="The engine's user in Redis.")
@click.option("--give", is_flag=True, help="Create the roles and give them these rights, instead of printing them.")
@click.option("--sql", "only", flag_value="sql", help="Print the SQL alone.")
@click.option("--acl", "only", flag_value="acl", help="Print the lines for Redis alone.")
def grants(
    role: str, flower_role: str, redis_user: str, flower_user: str, engine_user: str, give: bool, only: str | None
) -> None:
    """Print the rights that the service needs, and no more: SQL for PostgreSQL, ACL lines for Redis.

    They are for the names in use: the schema in DATABASE_URL, the streams, the group. Run it with the URL of the role
    that owns the tables, as for `dbstorage migrate`. Without --give nothing is changed.

    `dbstorage grants --sql | psql …` gives the rights to roles that exist. --give creates the two roles, with the
    passwords in SERVICE_PASSWORD and FLOWER_PASSWORD, and gives them the rights. It may be run again at any time.
    """
    settings = settings_for_command()
    if give:
        _give(settings, {role: "SERVICE_PASSWORD", flower_role: "FLOWER_PASSWORD"})
        return
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


def _give(settings: Settings, variables: dict[str, str]) -> None:
    passwords = {role: os.environ.get(variable, "") for role, variable in variables.items()}
    missing = [variables[role] for role, password in passwords.items() if not password]
    if missing:
        raise SettingsError([f"{name} is not set: expected the password of a role." for name in missing])
    by_role = dict(zip(variables, _rights(settings), strict=True))
    engine = create_engine(settings.database, application_name="dbstorage grants")
    try:
        with lock_named(engine) as connection, connection.begin():
            for role, rights in by_role.items():
                there = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
                verb = "ALTER" if there else "CREATE"
                # The server sees no password, so neither its log nor pg_stat_statements keeps one.
                verifier = encrypt_password(
                    passwords[role], role, connection.connection.driver_connection, "scram-sha-256"
                )
                connection.exec_driver_sql(f"{verb} ROLE {quoted_name(role)} LOGIN PASSWORD %s", (verifier,))
                for right in rights:
                    connection.exec_driver_sql(right.grant(role))
                say(f"The role {role} has the rights that it needs.")
    except DBAPIError as error:
        raise DatabaseUnavailableError(f"The rights could not be given: {describe(error)}.") from error
    finally:
        engine.dispose()


def _rights(settings: Settings) -> tuple[list[Right], list[Right]]:
    engine = create_engine(settings.database, application_name="dbstorage grants")
    try:
        with lock_named(engine) as connection:
            schema = inspect_shape(connection).schema
            return needed_rights(connection, schema), flower_rights(connection, schema)
    except DBAPIError as error:
        raise DatabaseUnavailableError(f"{settings.database} cannot be used: {describe(error)}.") from error
    finally:
        engine.dispose()
