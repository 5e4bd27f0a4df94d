"""Decides whose fault a refusal of PostgreSQL is, from its diagnostics alone; in doubt it is never the entry's."""

from collections.abc import Mapping, Set
from enum import StrEnum
from typing import NamedTuple

from dbstorage.database.catalog import quoted
from dbstorage.database.sqlstate import Diagnostics


class Blame(StrEnum):
    """Whose fault a refusal is."""

    #: A value of the entry is refused, and always will be.
    ENTRY = "entry"
    #: The database cannot take what it should: everything waits until it is mended.
    DATABASE = "database"
    #: The diagnostics leave it open: whether others of the same command pass will tell.
    OPEN = "open"


class WrittenColumns(NamedTuple):
    """Where the values of entries go."""

    #: The schema of the platform's tables, unquoted.
    schema: str
    #: Table -> the columns that are written from the entry.
    columns: Mapping[str, Set[str]]
    #: Of these, the columns whose few values are of our own making, such as "symbol": no entry can choose a wrong one.
    made: Set[str] = frozenset()


#: The database's encoding has no such character, or takes no such bytes.
_CHARACTERS = ("22021", "22P05")
#: A constraint or a unique index, named in the diagnostics together with its table.
_CONSTRAINTS = ("23001", "23503", "23505", "23514", "23P01")
NOT_NULL = "23502"
UNIQUE = "23505"
SEQUENCE_USED_UP = "2200H"
MAY_NOT = "42501"
#: What PostgreSQL says of our own statements before it looks at a value: no relation, column, schema, grant or prepared
#: statement, or a relation in a state that does not allow it.
_STATEMENTS = ("42", "3F", "26", "34", "55")


def blame(found: Diagnostics, written: WrittenColumns, constrained: Set[str] | None = None) -> Blame:
    """Say whose fault a refusal is.

    `constrained` are the columns that the constraint named in the diagnostics is over, expressions included; None where
    it names none, or one that is not there (any more).
    """
    if found.context:
        # Raised within a trigger or a function: it may refuse this entry alone or everything.
        return Blame.OPEN
    if found.sqlstate in _CHARACTERS:
        return Blame.ENTRY
    if found.sqlstate == SEQUENCE_USED_UP or found.sqlstate.startswith(_STATEMENTS):
        return Blame.DATABASE
    ours = written.columns.get(found.table) if found.schema == written.schema else None
    if not ours:
        return Blame.OPEN
    if found.sqlstate == NOT_NULL:
        # We write no NULL but where the contract has one, and then the shape of the tables says so.
        return Blame.OPEN if found.column in ours or not found.column else Blame.DATABASE
    if found.sqlstate in _CONSTRAINTS and found.constraint and constrained is not None:
        if not constrained & ours:
            return Blame.DATABASE
        if constrained <= ours and not constrained <= written.made:
            return Blame.ENTRY
    return Blame.OPEN


def remedy(found: Diagnostics, written: WrittenColumns, constrained: Set[str] | None = None) -> str:
    """What mends a fault of the database, as a sentence without its full stop; empty where nobody can tell."""
    if found.raised:
        return ""
    table = quoted(found.schema, found.table)
    if found.sqlstate == UNIQUE and constrained and len(constrained) == 1:
        [column] = constrained
        return (
            f"the numbers of the sequence are behind the rows: run SELECT setval(pg_get_serial_sequence('{table}', "
            f"'{column}'), (SELECT max(\"{column}\") FROM {table}))"
        )
    if found.sqlstate == SEQUENCE_USED_UP:
        return "the sequence is used up: give it and its column a larger type (ALTER SEQUENCE … AS bigint)"
    if found.sqlstate == NOT_NULL and found.column:
        return f'give the column "{found.column}" of {table} a default, or let it take NULL'
    if found.sqlstate == MAY_NOT:
        return "the role in DATABASE_URL lacks a right, dbstorage grants prints what it needs"
    if found.sqlstate in _CONSTRAINTS and found.constraint:
        constraint = f'the constraint "{found.constraint}" of {table}'
        others = sorted((constrained or frozenset()) - written.columns.get(found.table, frozenset()))
        if constrained and not others:
            return f"{constraint} has to let through what DBStorage writes"
        named = f" ({', '.join(others)})" if others else ""
        return f"{constraint} is over columns that DBStorage does not write{named}"
    if found.sqlstate.startswith("57014"):
        return "a statement took too long, or a table is locked"
    return ""
