"""What a person does about a failed task, by its code."""

from dbstorage.codes import FAILURES, about

#: Codes that a task can fail with, beside `invalid_…`, which name the rule that is broken.
CODES: tuple[str, ...] = tuple(FAILURES)


def advice(code: str) -> str:
    """One or two sentences that advise an operator about a task that failed with this code."""
    return about(code).advice
