"""All contenders: which processes to start, and how to see that the work is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from redis import Redis

from bench.processes import PYTHON

SERVICE = "service"
FASTSTREAM = "faststream"
STREAQ = "streaq"
FLOWER = "flower"


def nothing_queued(redis: Redis) -> bool:
    """True: for contenders whose work is done when the stream's entries are acknowledged."""
    return True


def celery_queue_empty(redis: Redis) -> bool:
    """Whether Celery's queue is empty and every task that was taken from it is acknowledged."""
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.llen("celery")
        pipeline.hlen("unacked")
        return not any(pipeline.execute())


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to store the stream's orders.

    `commands`, by the name of their process, are started in turn. The last one reads the stream, and is started when
    the others wait for work. `queue_empty` tells whether the contender's own queue, behind the stream, is empty.
    `counts_rows`: this queue forgets tasks before they are done, so the rows have to be counted instead.
    """

    name: str
    title: str
    commands: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, str] = field(default_factory=dict)
    queue_empty: Callable[[Redis], bool] = nothing_queued
    counts_rows: bool = False
    with_flower: bool = False


def _celery(app: str, *options: str) -> tuple[str, ...]:
    return (PYTHON, "-m", "celery", "-A", app, "worker", "--loglevel=WARNING", *options)


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (PYTHON, "-m", f"bench.contenders.{name}", *arguments)


def _service(events: str, *, with_flower: bool = False) -> Contender:
    return Contender(
        name=f"service-{events}",
        title=f"DBStorage, TASK_EVENTS={events}" + (" with Flower" if with_flower else ""),
        commands={"worker": (PYTHON, "-m", "celery", "-A", "dbstorage", "worker")},
        settings={"TASK_EVENTS": events, "LOG_LEVEL": "WARNING"},
        with_flower=with_flower,
    )


BARE_LOOP = Contender(name="bare-loop", title="Bare loop, JSON statement", commands={"loop": _module("bare_loop")})
#: With the statement of the service.
BARE_ARRAYS = Contender(
    name="bare-arrays", title="Bare loop, the service's statement", commands={"loop": _module("bare_loop", "arrays")}
)
#: In no order, with two batches at one time.
SERVICE_PARALLEL = Contender(
    name="service-parallel",
    title="DBStorage, ORDERING=parallel, -c 3",
    commands={"worker": (PYTHON, "-m", "celery", "-A", "dbstorage", "worker", "-c", "3")},
    settings={"TASK_EVENTS": "failures", "ORDERING": "parallel", "LOG_LEVEL": "WARNING"},
)
#: With the settings it comes with.
SERVICE_DEFAULT = _service("thin", with_flower=True)
SERVICE_FAILURES = _service("failures")
PLAIN_CELERY = Contender(
    name="plain-celery",
    title="Plain Celery",
    commands={"worker": _celery("bench.contenders.plain_celery"), "reader": _module("plain_celery")},
    queue_empty=celery_queue_empty,
)

CONTENDERS = {
    contender.name: contender
    for contender in (
        _service("all"),
        SERVICE_DEFAULT,
        SERVICE_FAILURES,
        SERVICE_PARALLEL,
        PLAIN_CELERY,
        Contender(
            name="tuned-celery",
            title="Tuned Celery",
            commands={
                "worker": _celery(
                    "bench.contenders.tuned_celery", "--without-gossip", "--without-mingle", "--without-heartbeat"
                ),
                "reader": _module("tuned_celery"),
            },
            queue_empty=celery_queue_empty,
            counts_rows=True,
        ),
        Contender(
            name=FASTSTREAM,
            title="FastStream, batch subscriber",
            commands={"subscriber": _module("faststream_batch")},
        ),
        Contender(
            name=STREAQ,
            title="streaQ, a task for each 500",
            commands={"worker": _module("streaq_task", "worker"), "reader": _module("streaq_task", "reader")},
        ),
        BARE_LOOP,
        BARE_ARRAYS,
    )
}
