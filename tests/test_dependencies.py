"""docs/dependencies.md names every dependency, and its licence as the installed package does."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[1]
DOCUMENT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PROJECT = DOCUMENT["project"]
GROUPS = {"To run": PROJECT["dependencies"], **PROJECT["optional-dependencies"], **DOCUMENT["dependency-groups"]}
PAGE = (CHECKOUT / "docs" / "dependencies.md").read_text()


def rows(section: str) -> dict[str, tuple[str, str]]:
    """package -> what for and licence, in the section with this title, or whose title names this extra."""
    [text] = re.findall(rf"^## (?:{section}|[^\n]*\(`{section}`\))\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return {
        name: (reason, licence)
        for name, reason, licence in re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \|$", text, re.M)
    }


def licence_of(package: str) -> str:
    """What the installed package says."""
    told = metadata(package)
    if "License-Expression" in told:
        return told["License-Expression"]
    classifiers = [line.split(" :: ") for line in told.get_all("Classifier") or []]
    names = [line[-1] for line in classifiers if line[:2] == ["License", "OSI Approved"]]
    return " and ".join(names) or told["License"]


def needed(requirement: Requirement, found: set[str]) -> Iterator[str]:
    """The names of what a requirement brings along, on this system."""
    for text in requires(requirement.name) or []:
        inner = Requirement(text)
        name = canonicalize_name(inner.name)
        wanted = inner.marker is None or any(
            inner.marker.evaluate({"extra": extra}) for extra in {"", *requirement.extras}
        )
        if wanted and name not in found:
            found.add(name)
            yield name
            yield from needed(inner, found)


@pytest.mark.parametrize("group", GROUPS)
def test_every_dependency_stands_on_its_page_with_a_reason(group: str):
    assert list(rows(group)) == [Requirement(text).name for text in GROUPS[group]]


@pytest.mark.parametrize("group", GROUPS)
def test_licences_are_those_that_the_packages_name(group: str):
    for name, (_, licence) in rows(group).items():
        try:
            assert licence_of(name) == licence, name
        except PackageNotFoundError:
            continue  # not for this system


def listed(text: str) -> dict[str, str]:
    """package -> licence, from the tables that list packages by their licence."""
    table = re.findall(r"^\| ([^|]+?) \| (`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*) \|$", text, re.MULTILINE)
    return {name: licence for licence, names in table for name in re.findall(r"`(.+?)`", names)}


def test_what_dependencies_bring_along_is_listed_by_licence():
    direct = [Requirement(text) for text in PROJECT["dependencies"]]
    found: set[str] = {canonicalize_name(requirement.name) for requirement in direct}
    brought = {name: licence_of(name) for requirement in direct for name in needed(requirement, found)}
    to_run = listed(PAGE.partition("\n## For servers")[0])
    # What only other systems need is listed too.
    assert {name: licence for name, licence in to_run.items() if name in brought} == brought


def test_every_locked_package_stands_on_the_page_with_its_licence():
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE))
    direct = {name for group in GROUPS if group not in ("mutants", "sbom") for name in rows(group)}
    assert set(listed(PAGE)) | direct == locked
    for name, licence in listed(PAGE).items():
        try:
            # Some name it otherwise in the version for another Python.
            assert licence_of(name).removesuffix(" License") == licence.removesuffix(" License"), name
        except PackageNotFoundError:
            continue  # not for this system


def test_production_installs_the_locked_versions_and_none_of_the_servers():
    whole, run = (
        dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (CHECKOUT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-run.lock")
    )
    assert run.items() <= whole.items()
    assert {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]} <= set(run)
    embedded = {canonicalize_name(Requirement(text).name) for text in PROJECT["optional-dependencies"]["embedded"]}
    assert embedded.isdisjoint(run)
    assert "pytest" not in run


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock"])
def test_every_locked_package_has_hashes_and_no_address(name: str):
    text = (CHECKOUT / name).read_text()
    packages = re.split(r"^(?=[a-z0-9._-]+==)", text, flags=re.MULTILINE)[1:]
    assert packages
    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert "://" not in text
