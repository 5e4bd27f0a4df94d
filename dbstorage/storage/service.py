"""The service as the database knows it: its stream and group, and which life of the stream is being stored."""

from typing import NamedTuple

from sqlalchemy import Connection

from dbstorage.settings import Scope


class Service(NamedTuple):
    """What our tables keep with each row; `life` grows when the stream is made anew, because its ids begin anew."""

    stream: str
    group: str
    life: int


#: The life of a service that has stored nothing yet.
FIRST_LIFE = 1


def find_service(connection: Connection, scope: Scope) -> Service:
    """The service as of now; reads only."""
    statement = "SELECT life FROM dbstorage.services WHERE stream = %s AND consumer_group = %s"
    life = connection.exec_driver_sql(statement, tuple(scope)).scalar()
    return Service(scope.stream, scope.group, int(life or FIRST_LIFE))
