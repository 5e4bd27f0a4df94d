import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.long_report import RATE, growth
from bench.long_run import PARTS, LongRun, Part

POSTGRESQL = "CPU seconds of PostgreSQL"


def run_of(rates: Sequence[float], cpu_seconds: Sequence[float]) -> LongRun:
    """A long run with these rates, and CPU seconds of PostgreSQL."""
    parts = [
        Part(1_000 / rate, rate, 2**20, {"postgresql": seconds})
        for rate, seconds in zip(rates, cpu_seconds, strict=True)
    ]
    return LongRun("bare-loop", parts, {})


def test_a_run_that_stays_the_same_does_not_grow():
    assert growth(run_of([2_000] * 10, [1.5] * 10)) == {RATE: 1.0, POSTGRESQL: 1.0}


def test_a_run_that_gets_slower_by_and_by_ends_at_what_it_has_left():
    tired = growth(run_of([2_000 - 100 * tenth for tenth in range(10)], [1 + tenth / 9 for tenth in range(10)]))
    assert tired == {RATE: 0.55, POSTGRESQL: 2.0}


def test_a_last_tenth_at_half_the_rate_is_no_fall_to_one_half():
    assert growth(run_of([2_000] * 9 + [1_000], [1.0] * 10)) == {RATE: 0.771, POSTGRESQL: 1.0}


def test_who_has_used_no_time_that_can_be_told_has_no_figure():
    assert growth(run_of([2_000] * 10, [0.0] * 10)) == {RATE: 1.0}


def results_of(directory: Path, command: str, *sizes: str) -> tuple[str, Any]:
    """What a measurement with tiny numbers wrote: the text, and the data."""
    words = [sys.executable, "-m", "bench", command, *sizes, "--rounds", "1", "--output", str(directory)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (directory / f"{command}.md").read_text(), json.loads((directory / f"{command}.json").read_text())


def test_the_service_and_the_bare_loop_empty_a_long_stream_in_turn(tmp_path: Path):
    text, data = results_of(tmp_path, "long", "--entries", "2000")
    assert [run["contender"] for run in data["runs"]] == ["service-thin", "bare-loop"]
    for run in data["runs"]:
        assert len(run["parts"]) == PARTS
        assert all(part["rate"] > 0 and part["memory"] > 0 for part in run["parts"])
    assert "| tenth | orders a second | MB of all worker processes |" in text
    assert "| orders a second | " in text[text.index("## The end against the start") :]


def test_growth_is_measured_by_rows_workers_and_processes(tmp_path: Path):
    sizes = ["--entries", "500", "--rows", "0,1000", "--workers", "2", "--processes", "2", "--batches", ""]
    _, data = results_of(tmp_path, "growth", *sizes)
    assert [step["size"] for step in data["steps"]["rows"]] == [0, 1000]
    assert [step["size"] for step in data["steps"]["rows-bare-loop"]] == [0, 1000]
    assert [step["size"] for step in data["steps"]["workers"]] == [2]
    assert [step["size"] for step in data["steps"]["processes"]] == [2]
    assert all(step["rate"] > 0 for steps in data["steps"].values() for step in steps)
