"""Real PostgreSQL and Redis servers from Python wheels, for `dbstorage up` and for the tests."""
