"""The Celery worker: its connections to the broker, remote control, task requests and signals, undocumented parts."""
