"""Writes orders while the batch before them commits (docs/decisions.md)."""

import time
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from dbstorage.batch.batch_writer import LATELY_SECONDS, BatchWriter
from dbstorage.batch.resources import Resources
from dbstorage.batch.turn import OvertakenError, PlaceInLine, WithdrawnError
from dbstorage.database.sqlstate import diagnostics_of
from dbstorage.storage.refused import TOO_SLOW
from dbstorage.storage.work import Work


def may_write_ahead(resources: Resources) -> bool:
    """Whether the database is known to be the service's, and was not too slow for a batch lately."""
    return resources.is_open and time.monotonic() - resources.slow_at > LATELY_SECONDS


def write_ahead(resources: Resources, works: Sequence[Work], place: PlaceInLine) -> bool:
    """Write orders before it is their turn, and commit them when it is; returns whether they are stored.

    If not, nothing is written, whatever the reason was: they run again, in their turn. Raises WithdrawnError.
    """
    writer = BatchWriter(resources)
    writer.place = place
    try:
        with resources.engine.begin() as connection:
            result = writer.write_whole(connection, works, ahead=True)
    except WithdrawnError:
        raise
    except OvertakenError:
        return False
    except Exception as error:  # noqa: BLE001
        place.runs_again()
        # Another server may answer by now, and the tables may have changed.
        resources.forget_database()
        if isinstance(error, SQLAlchemyError) and diagnostics_of(error).sqlstate == TOO_SLOW:
            resources.slow_at = time.monotonic()
        return False
    writer.decide(works, result)
    return True
