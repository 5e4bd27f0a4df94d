"""Running a range of the command stream again, for a database that went back or lost some of it."""

from dbstorage.replay.run import ReplayReport, replay

__all__ = ["ReplayReport", "replay"]
