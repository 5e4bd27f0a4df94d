"""The undocumented parts of Celery that we use; tests/worker/test_celery_internals.py names the versions tried.

Each file has one subject and names what it depends on: events, the consumer, the pool, remote control, tasks and the
worker itself. Undocumented parts of kombu, below Celery, are used in `worker/broker_connections.py`, Flower's in
`dashboard/flower_internals.py`.
"""
