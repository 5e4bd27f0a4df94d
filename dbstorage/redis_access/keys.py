"""All names of ours in Redis and on the broker; they are derived from the service's stream and group.

Two services on one Redis, or on one virtual host of RabbitMQ, so never see each other's work. Keys in Redis:

| key | type | holds |
| --- | --- | --- |
| `dbstorage:<stream>:<group>:` + kombu's own names | various | Celery's broker: queue, bindings, unacknowledged tasks |
| `dbstorage:<stream>:<group>:lease` | string | which worker reads in strict order; expires |
| `dbstorage:<stream>:<group>:worker:<node>` | string | that a worker of this name is alive; expires |
| `dbstorage:<stream>:<group>:creation` | string | which creation of the group this is |
| `dbstorage:<stream>:<group>:stored` | string | which database has applied the stream up to where |
| `dbstorage:<stream>:<group>:trimmed` | hash | how many entries were trimmed unread, by the entry that was read last |
| `dbstorage:<stream>:<group>:alone:<entry or task>` | string | how often a suspect began to run alone; expires |
| `dbstorage:<stream>:<group>:paused` | string | that an operator has paused the service: reason, who, since (JSON) |
| `dbstorage:<stream>:<group>:workers` | hash | what each worker last said of itself (JSON); expires |
| `dbstorage:<stream>:<group>:history` | stream | what each worker did in 10 s, for an hour; expires |
"""

import hashlib

from dbstorage.settings import Scope, Settings

#: Celery's queue for operators' calls.
TASK_QUEUE = "tasks"
#: Bytes of a prefix on AMQP, whose names have 255 at most and end in a node's name.
LONGEST_AMQP_PREFIX = 120


def prefix(scope: Scope) -> str:
    """What every Redis key of this service begins with, kombu's included.

    A stream's name may hold colons, a group's are written `%3A`: no two services have one prefix.
    """
    group = scope.group.replace("%", "%25").replace(":", "%3A")
    return f"dbstorage:{scope.stream}:{group}:"


def amqp_prefix(scope: Scope) -> str:
    """What every queue and exchange of this service begins with; a long one is replaced by its hash."""
    whole = prefix(scope)
    if len(whole.encode()) <= LONGEST_AMQP_PREFIX:
        return whole
    return f"dbstorage:{hashlib.sha256(whole.encode()).hexdigest()[:32]}:"


def lease_key(settings: Settings) -> str:
    """The reader's lease in strict order."""
    return f"{prefix(settings.scope)}lease"


def worker_key(settings: Settings, node_name: str) -> str:
    """The sign of life of the worker with this node name."""
    return f"{prefix(settings.scope)}worker:{node_name}"


def creation_key(settings: Settings) -> str:
    """Which creation of the group this is."""
    return f"{prefix(settings.scope)}creation"


def stored_key(settings: Settings) -> str:
    """Up to where which database has applied the stream."""
    return f"{prefix(settings.scope)}stored"


def trimmed_key(settings: Settings) -> str:
    """How many entries were trimmed from the stream before anybody read them."""
    return f"{prefix(settings.scope)}trimmed"


def alone_key(settings: Settings, name: str) -> str:
    """The count of an entry's, or a task's, unfinished runs alone."""
    return f"{prefix(settings.scope)}alone:{name}"


def paused_key(settings: Settings) -> str:
    """An operator's pause; it stays until somebody resumes."""
    return f"{prefix(settings.scope)}paused"


def workers_key(settings: Settings) -> str:
    """What the workers say of themselves, by node name."""
    return f"{prefix(settings.scope)}workers"


def history_key(settings: Settings) -> str:
    """The last hour of the service."""
    return f"{prefix(settings.scope)}history"
