"""Nothing forgets a command that the registry has."""

import re
from pathlib import Path

import pytest

from dbstorage.commands.registry import KINDS, function_of, kept_functions
from dbstorage.metrics.service_metrics import outcomes_by_function
from dbstorage.storage.outcome import Status
from dbstorage.storage.registered import function_named
from dbstorage.traffic.generate import engine_commands

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
    assert set(kind.outcomes) <= {status.value for status in Status}
    assert outcomes_by_function()[name] == kind.outcomes
    assert (name in kept_functions()) == kind.is_kept


@pytest.mark.parametrize("name", [name for kind in KINDS.values() for name in (kind.writer, kind.look) if name])
def test_what_it_names_can_be_called(name: str):
    assert callable(function_named(name))


def test_a_kind_that_is_kept_can_be_looked_for():
    assert [kind.name for kind in KINDS.values() if kind.is_kept and kind.look is None] == []
