"""Every code that the source uses is in the list of `codes.py`, with a meaning, advice, and who is at fault."""

import re
from pathlib import Path

from dbstorage.batch import alone, job
from dbstorage.codes import ANSWERS, BREAKS_A_RULE, FAILURES, Fault, about
from dbstorage.storage import failures
from dbstorage.wire.entry import TOO_LARGE

DBSTORAGE = Path(__file__).parents[1] / "dbstorage"
RAISED = re.compile(r'RejectedEntry\(\s*"([a-z_]+)"')


def test_what_is_raised_is_listed_or_names_a_rule():
    raised = {code for path in DBSTORAGE.rglob("*.py") for code in RAISED.findall(path.read_text())}
    assert raised
    assert [code for code in raised if code not in {**FAILURES, **ANSWERS} and not code.startswith("invalid_")] == []


def test_the_codes_of_storing_are_listed():
    named = {failures.USER_NOT_FOUND, failures.DATABASE_ERROR, failures.ORDER_CONFLICT, failures.NOT_STORED}
    named |= {failures.USER_LOCKED, failures.USER_QUEUED, failures.INVALID_VALUE, failures.USER_CONFLICT_CODE}
    assert named | {alone.POISON, job.INTERNAL_ERROR, TOO_LARGE} <= FAILURES.keys()
    assert job.UNAVAILABLE in ANSWERS


def test_each_has_sentences_and_a_rule_that_is_broken_is_the_senders():
    for code in (*FAILURES.values(), *ANSWERS.values()):
        assert code.meaning.endswith(".")
        assert code.advice.endswith(".")
    assert about("invalid_symbol") is BREAKS_A_RULE
    assert about("invalid_symbol").fault is Fault.SENDER
