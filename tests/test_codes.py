"""Every code that the source uses is in the list of `codes.py`, with a meaning, advice, and who is at fault."""

import re
from pathlib import Path

from dbstorage.codes import ANSWERS, BREAKS_A_RULE, FAILURES, Fault, about

DBSTORAGE = Path(__file__).parents[1] / "dbstorage"
RAISED = re.compile(r'RejectedEntry\(\s*"([a-z_]+)"')
DECIDED = re.compile(r'Outcome\(\s*Status\.FAILED,\s*"([a-z_]+)"')
#: Told to whoever calls a task through the broker; no record is kept of it.
OF_A_CALL = {"missing_request_id"}


def test_what_is_raised_is_listed_or_names_a_rule():
    raised = {code for path in DBSTORAGE.rglob("*.py") for code in RAISED.findall(path.read_text())}
    decided = {code for path in DBSTORAGE.rglob("*.py") for code in DECIDED.findall(path.read_text())}
    assert raised
    assert decided - {*FAILURES, *ANSWERS} == OF_A_CALL
    assert [code for code in raised if code not in {**FAILURES, **ANSWERS} and not code.startswith("invalid_")] == []


def test_the_contract_has_every_error_of_an_answer():
    contract = (DBSTORAGE.parent / "docs" / "contract.md").read_text()
    assert [code for code in ANSWERS if f"`{code}`" not in contract] == []


def test_each_has_sentences_and_a_rule_that_is_broken_is_the_senders():
    for code in (*FAILURES.values(), *ANSWERS.values()):
        assert code.meaning.endswith(".")
        assert code.advice.endswith(".")
    assert about("invalid_symbol") is BREAKS_A_RULE
    assert about("invalid_symbol").fault is Fault.SENDER
