"""The Celery tasks: what the reader feeds in batches, one at a time through the broker."""
