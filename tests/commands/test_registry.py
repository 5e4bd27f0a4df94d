"""Nothing forgets a command that the registry has."""

import re
from pathlib import Path

import pytest

from dbstorage.commands.registry import KINDS, function_of, kept_functions
from dbstorage.metrics.service_metrics import outcomes_by_function
from dbstorage.storage.outcome import Status
from dbstorage.traffic.generate import engine_commands
from dbstorage.wire.entry import FLAT_FIELDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", KINDS)
def test_the_contract_has_a_section_for_each(name: str):
    contract = (DOCS / "contract.md").read_text()
    assert re.search(rf"^#+ .*{name}", contract, re.MULTILINE), f"docs/contract.md has no section on {name}"


@pytest.mark.parametrize("name", KINDS)
def test_the_generator_makes_each(name: str):
    made = engine_commands(seed=1, users=3, orders=3, users_again=1, orders_again=1, questions=3)
    assert name in {command["function"] for command in made}


@pytest.mark.parametrize("name", KINDS)
def test_each_is_told_by_its_type_and_has_fields_and_outcomes(name: str):
    kind = KINDS[name]
    assert kind.name == name
    assert function_of(kind.command) == name
    assert FLAT_FIELDS[name] == kind.flat_fields
    assert set(kind.outcomes) <= {status.value for status in Status}
    assert outcomes_by_function()[name] == kind.outcomes
    assert (name in kept_functions()) == kind.is_kept
