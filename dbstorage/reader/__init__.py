"""Reads the command stream in the worker's main process: a pure core decides, the files around it carry out.

    decides  core.py, messages.py (what it is told, and what it asks for)
    Redis    stream_actions.py, link.py, connection.py, group.py (commands and scripts), lease.py, master_watch.py
    pool     pool_jobs.py
    people   telling.py, events.py and sampling.py (Flower), lease_news.py (the log), stream_request.py (inspection)
    Celery   step.py, reader.py (events in, actions out), housekeeping.py, farewell.py

docs/architecture.md draws the states of the core.
"""
