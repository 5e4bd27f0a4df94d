import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.long_report import ratios
from bench.long_run import PARTS, LongRun, Part


def run_of(rates: Sequence[float], speeds: Sequence[float]) -> LongRun:
    """A long run whose PostgreSQL takes a second on a machine of speed 1 for each part."""
    parts = [
        Part(1_000 / rate, rate, 2**20, speed, {"service": 0.5 / speed, "postgresql": 1 / speed})
        for rate, speed in zip(rates, speeds, strict=True)
    ]
    return LongRun("bare-loop", parts, {})


def test_a_machine_that_tires_is_not_the_contender():
    tired = ratios(run_of([2_000] * 9 + [1_000], [200] * 9 + [100]))
    assert tired["orders/s as measured"] == 0.5
    assert tired["orders/s at equal machine speed"] == 1.0
    assert tired["PostgreSQL's"] == 1.0


def test_a_contender_that_tires_is_not_the_machine():
    tired = ratios(run_of([2_000] * 9 + [1_000], [200] * 10))
    assert tired["orders/s as measured"] == tired["orders/s at equal machine speed"] == 0.5


def test_who_does_not_take_part_has_no_figure():
    assert "Flower's" not in ratios(run_of([2_000] * 10, [200] * 10))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a measurement of growth with tiny numbers wrote."""
    directory = tmp_path_factory.mktemp("results")
    sizes = ["--entries", "2000", "--rows", "0,1000", "--step-entries", "500", "--workers", "2", "--batches", ""]
    command = [sys.executable, "-m", "bench", "growth", *sizes, "--rounds", "1", "--output", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def test_the_service_and_the_bare_loop_empty_a_long_stream_in_turn(results: Path):
    runs = json.loads((results / "growth.json").read_text())["long"]
    assert [run["contender"] for run in runs] == ["service-thin", "bare-loop"]
    for run in runs:
        assert len(run["parts"]) == PARTS
        assert all(part["rate"] > 0 and part["machine_speed"] > 0 and part["memory"] > 0 for part in run["parts"])


def test_growth_is_told_as_measured_and_at_equal_machine_speed(results: Path):
    text = (results / "growth.md").read_text()
    assert "| tenth | orders/s | at equal machine speed | MB of all worker processes |" in text
    assert "| orders/s at equal machine speed |" in text
    steps = json.loads((results / "growth.json").read_text())["steps"]
    assert [step["size"] for step in steps["rows"]] == [step["size"] for step in steps["rows-bare-loop"]] == [0, 1000]
    assert [step["size"] for step in steps["workers"]] == [2]
