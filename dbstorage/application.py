"""The Celery application for given settings; nothing is read from the environment here."""

import gc
import os
import signal
import sys
from typing import Any

from celery import Celery, signals

from dbstorage.batch.resources import resources_of
from dbstorage.logs import set_up_logging
from dbstorage.metrics.metrics_step import MetricsStep
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.reader.step import ReaderStep
from dbstorage.redis_access.keys import TASK_QUEUE, amqp_prefix, prefix
from dbstorage.settings import LogFormat, Scope, Settings
from dbstorage.tracing import speak
from dbstorage.urls.broker_url import broker_address
from dbstorage.urls.redis_url import is_redis, is_sentinel
from dbstorage.worker.broker_connections import register_broker_transport
from dbstorage.worker.celery_internals.publishing import EVENT_SERIALIZER, register_event_serializer
from dbstorage.worker.celery_internals.worker_process import log_file_of
from dbstorage.worker.controls import register_controls, register_pause
from dbstorage.worker.unusable_redis import unusable_servers

#: The exit code of a worker whose settings name servers that can never do.
UNUSABLE = 2
#: Seconds after which a task taken by a worker that died is given to another; tasks take milliseconds.
VISIBILITY_TIMEOUT = 60
#: How many more objects than now may be there before the garbage collector looks for circles. A batch has up to 3,000.
GARBAGE_THRESHOLD = 20_000
BROKER_SOCKET_TIMEOUT = 1


class DBStorage(Celery):  # type: ignore[misc]  # Celery has no types
    """The application with its settings, and what this process counts."""

    settings: Settings
    metrics: ServiceMetrics


def create_app(settings: Settings) -> DBStorage:
    """The application for these settings."""
    app = DBStorage(
        "dbstorage",
        events="dbstorage.worker.celery_internals.publishing:BatchingEvents",
        include=["tasks.commands"],
    )
    register_event_serializer()
    register_broker_transport()
    register_pause()
    app.settings = settings
    app.metrics = ServiceMetrics(settings.scope)
    app.conf.update(configuration(settings))
    app.steps["worker"].add(MetricsStep)
    app.steps["consumer"].add(ReaderStep)
    # A receiver of this signal is what keeps Celery from setting up logging its own way.
    # It is sent in the main process, and in a pool process where each has a file of its own (%I).
    signals.setup_logging.connect(lambda logfile=None, **_: set_up_logging(settings, logfile), weak=False)
    signals.celeryd_init.connect(prepare_worker, weak=False)
    signals.worker_init.connect(prepare_pool, weak=False)
    return app


def prepare_worker(sender: str, instance: Any, options: dict[str, Any], **_: Any) -> None:
    """Called first of all in a worker, before Celery itself warns of anything."""
    settings: Settings = instance.app.settings
    set_up_logging(settings, log_file_of(options.get("logfile"), sender))
    sentences = list(unusable_servers(settings))
    if sentences:
        print(*sentences, sep="\n", file=sys.stderr)
        raise SystemExit(UNUSABLE)
    register_controls()
    # Celery's banner is no line of JSON.
    instance.quiet = instance.quiet or settings.log_format is LogFormat.JSON


def prepare_pool(sender: Any, **_: Any) -> None:
    """Called before the pool's processes are forked."""
    # Made here once, it is memory that they share: 5 MB of each.
    resources_of(sender.app.settings)
    # Else the garbage collector writes to every page that they share with the main process: 40 MB more in all.
    gc.freeze()
    # Objects that come and go with a batch are in no circle: they need not be searched for one.
    gc.set_threshold(GARBAGE_THRESHOLD)
    main_process = os.getpid()
    signals.worker_process_init.connect(lambda **_: end_orphan(main_process), weak=False)
    signals.worker_process_init.connect(lambda **_: speak(), weak=False)


def end_orphan(main_process: int) -> None:
    """End this pool process if its worker is gone: killed before Celery could ask the system to tell of that."""
    if main_process not in (os.getpid(), os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's own settings."""
    broker = broker_address(settings.broker_url)
    transport_options: dict[str, Any] = {}
    names: dict[str, str] = {"task_default_queue": TASK_QUEUE}
    if is_redis(settings.broker_url):
        transport_options = {
            **broker.transport_options,
            "global_keyprefix": prefix(settings.scope),
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": BROKER_SOCKET_TIMEOUT,
            "socket_connect_timeout": BROKER_SOCKET_TIMEOUT,
            "socket_keepalive": True,
            # A master that is frozen for good would be waited for until this is noticed.
            **({"health_check_interval": 5} if is_sentinel(settings.broker_url) else {}),
        }
    else:
        names = amqp_names(settings.scope)
    return {
        "broker_url": broker.url,
        # Celery itself prefers CELERY_BROKER_URL, as it was written, to the setting before: not to these two.
        "broker_read_url": broker.url,
        "broker_write_url": broker.url,
        "broker_use_ssl": broker.ssl or False,
        "broker_transport_options": transport_options,
        "broker_connection_timeout": broker.connect_timeout,
        "broker_connection_max_retries": None,
        # A Redis that became a replica refuses commands: that is waited out as well.
        "broker_channel_error_retry": True,
        "broker_connection_retry_on_startup": True,
        "event_serializer": EVENT_SERIALIZER,
        **names,
        "task_acks_late": True,
        "task_ignore_result": True,
        "worker_consumer": "dbstorage.worker.celery_internals.consumer:PatientConsumer",
        "worker_concurrency": 2,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_remote_control": True,
        "result_backend": None,
        "enable_utc": True,
    }


def amqp_names(scope: Scope) -> dict[str, str]:
    """Celery's settings that name a queue or an exchange; on Redis the prefix of all keys does what they do here."""
    own = amqp_prefix(scope)
    return {
        "task_default_queue": f"{own}{TASK_QUEUE}",
        "task_default_exchange": f"{own}{TASK_QUEUE}",
        "task_default_routing_key": f"{own}{TASK_QUEUE}",
        "control_exchange": f"{own}control",
        "event_exchange": f"{own}events",
        "event_queue_prefix": f"{own}events",
    }
