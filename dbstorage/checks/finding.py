from enum import StrEnum
from typing import NamedTuple


class Grade(StrEnum):
    """How serious a finding is."""

    FINE = "fine"
    #: It works, but a person should know.
    WARNING = "warning"
    #: The service cannot work like this.
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was looked at, and a sentence on what was found."""

    subject: str
    grade: Grade
    sentence: str
    #: Whether a server cannot be used, so that nothing else on it was checked.
    away: bool = False


def fine(subject: str, sentence: str) -> Finding:
    """A finding that needs no attention."""
    return Finding(subject, Grade.FINE, sentence)


def warning(subject: str, sentence: str) -> Finding:
    """A finding that a person should know of."""
    return Finding(subject, Grade.WARNING, sentence)


def problem(subject: str, sentence: str) -> Finding:
    """A finding that keeps the service from working."""
    return Finding(subject, Grade.PROBLEM, sentence)


def away(subject: str, sentence: str) -> Finding:
    """A problem: a server cannot be used."""
    return Finding(subject, Grade.PROBLEM, sentence, away=True)
