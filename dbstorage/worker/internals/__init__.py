"""The parts of Celery that its documentation does not promise; tests/worker/test_internals.py names the versions.

Each file has one subject and names what it leans on: events, the consumer, the pool, remote control, tasks and the
worker itself. What is less public in kombu, below Celery, stands in `worker/broker_connections.py`; Flower's in
`dashboard/internals.py`.
"""
