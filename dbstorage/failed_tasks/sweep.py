"""Sending retries that are due: the table is the only place that knows of them, the broker only carries them."""

import logging
from typing import Any

from amqp.exceptions import AMQPError
from celery import current_app
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from dbstorage.database.sqlstate import describe
from dbstorage.settings import Settings
from dbstorage.storage.resources import resources_of

logger = logging.getLogger(__name__)

#: Tasks that wait in the broker at most; more would be sent twice before they run.
MOST_IN_BROKER = 500
#: Seconds after which a retry whose message got lost is sent again.
SENT_AGAIN_AFTER = 15

ANY_DUE = text(
    "SELECT EXISTS (SELECT FROM dbstorage.failed_tasks "
    "WHERE stream = :stream AND consumer_group = :group AND state = 'retrying' AND retry_at <= now())"
)
TAKE_DUE = text(
    """
    UPDATE dbstorage.failed_tasks SET retry_at = now() + make_interval(secs => :again_after)
    WHERE id IN (
        SELECT id FROM dbstorage.failed_tasks
        WHERE stream = :stream AND consumer_group = :group AND state = 'retrying' AND retry_at <= now()
        ORDER BY retry_at, id LIMIT :most FOR UPDATE SKIP LOCKED
    )
    RETURNING id, task_id, function, attempts, order_id, user_id
    """
)


def send_due_retries(settings: Settings) -> int:
    """Send the tasks whose next attempt is due; returns how many. Never raises: the next sweep tries again."""
    try:
        resources = resources_of(settings)
        with resources.engine.connect() as connection:
            due = connection.scalar(ANY_DUE, settings.scope._asdict())
        if not due:
            return 0
        with current_app.connection_for_write() as broker:
            most = MOST_IN_BROKER - _waiting(broker)
            if most <= 0:
                return 0
            with resources.engine.begin() as connection:
                taken = connection.execute(
                    TAKE_DUE, {"most": most, "again_after": SENT_AGAIN_AFTER, **settings.scope._asdict()}
                ).all()
            with broker.channel() as channel, current_app.amqp.Producer(channel) as producer:
                for row in taken:
                    send_retry(row, producer=producer)
            return len(taken)
    except SQLAlchemyError as error:
        logger.debug("Retries that are due could not be looked up: %s", describe(error))
    except (OSError, KombuError, AMQPError, RedisError) as error:
        # Rows that were taken come up again in SENT_AGAIN_AFTER.
        logger.warning("Retries that are due wait for the broker: %s.", str(error).rstrip("."))
    except Exception:
        logger.warning("Retries that are due could not be sent.", exc_info=True)
    return 0


def send_retry(row: Any, **options: Any) -> None:
    """Send one failed task through the broker, as the same task again."""
    shown = ", ".join(
        f"{name} {value}" for name, value in (("orderId", row.order_id), ("userId", row.user_id)) if value
    )
    current_app.tasks[row.function].apply_async(
        kwargs={"failed_task_id": row.id},
        task_id=row.task_id,
        retries=row.attempts,
        argsrepr=f"({shown})",
        kwargsrepr=f"{{'failed_task_id': {row.id}}}",
        **options,
    )


def _waiting(broker: Any) -> int:
    """Tasks that wait in the broker's queue."""
    queue = current_app.conf.task_default_queue
    with broker.channel() as channel:
        return int(channel.queue_declare(queue=queue, passive=False, durable=True, auto_delete=False).message_count)
