"""Failures once they are recorded.

    operators  lookup.py, groups.py, filters.py, changes.py (retry, discard …), edit.py, trail.py (who did what)
    retries    sweep.py (runs what is due), whole.py (entries that were too large), retry_progress.py
    shown      readable.py, conflict.py, advice.py
    database   connected.py

docs/failed-tasks.md says what operators do with them.
"""
