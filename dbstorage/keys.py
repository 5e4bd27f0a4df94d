"""Every Redis key that DBStorage creates beside the platform's two streams; all begin with `dbstorage:`.

| key | type | holds |
| --- | --- | --- |
| `dbstorage:` + kombu's own names | various | Celery's broker: queue, bindings, unacknowledged tasks |
| `dbstorage:lease:<stream>:<group>` | string | which worker reads in strict order; expires |
| `dbstorage:worker:<stream>:<group>:<node>` | string | that a worker of this name is alive; expires |
| `dbstorage:alone:<stream>:<group>:<entry or task>` | string | how often a suspect began to run alone; expires |
"""

from dbstorage.settings import Settings

PREFIX = "dbstorage:"
#: Celery's queue for retries and operators' calls.
TASK_QUEUE = "tasks"


def lease_key(settings: Settings) -> str:
    """The reader's lease in strict order."""
    return f"{PREFIX}lease:{settings.command_stream}:{settings.consumer_group}"


def worker_key(settings: Settings, node_name: str) -> str:
    """The sign of life of the worker with this node name."""
    return f"{PREFIX}worker:{settings.command_stream}:{settings.consumer_group}:{node_name}"


def alone_key(settings: Settings, name: str) -> str:
    """The count of an entry's, or a task's, unfinished runs alone."""
    return f"{PREFIX}alone:{settings.command_stream}:{settings.consumer_group}:{name}"
