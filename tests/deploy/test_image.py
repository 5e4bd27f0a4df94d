import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from dbstorage.embedded.ports import choose_port
from tests.deploy.checkers import ROOT, check
from tests.metrics.scraping import get
from tests.service.worker import StartWorker
from tests.waiting import wait_until

DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: Instructions with their continuation lines, comments left out.
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    if line.strip()
]
FINAL = INSTRUCTIONS[max(index for index, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]


def final(instruction: str) -> list[str]:
    return [arguments for word, arguments in FINAL if word == instruction]


def copied() -> list[str]:
    """Paths that are copied from the project."""
    sources = [
        arguments.split()[:-1] for word, arguments in INSTRUCTIONS if word == "COPY" and "--from" not in arguments
    ]
    return sorted({path for paths in sources for path in paths})


def test_the_dockerfile_passes_its_linter() -> None:
    check("hadolint", "Dockerfile")


def test_the_final_stage_has_no_build_tools_and_is_not_root() -> None:
    assert not [arguments for arguments in final("RUN") if re.search(r"apt|pip|gcc|curl", arguments)]
    assert final("USER") == ["10001"]
    assert FINAL.index(["USER", "10001"]) < FINAL.index(["CMD", final("CMD")[0]])


def test_the_image_runs_the_worker_itself_as_process_1() -> None:
    # Not through a shell, which would keep SIGTERM to itself.
    assert json.loads(final("CMD")[0]) == ["celery", "-A", "dbstorage", "worker"]
    assert final("STOPSIGNAL") == ["SIGTERM"]


def test_what_is_copied_is_all_that_the_build_may_see() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:].rstrip("/") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert let_through == set(copied())
    assert not [path for path in copied() if not (ROOT / path).exists()]


def test_the_copied_files_make_a_package_that_migrates(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for path in copied():
        subprocess.run(["cp", "-r", ROOT / path, context / path], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=context, check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"dbstorage/celery.py", "tasks/commands.py", "dbstorage/migrations/env.py", "dbstorage/alembic.ini"} <= set(
        names
    )
    assert not [name for name in names if name.startswith("tests")]


def test_what_is_installed_is_locked_with_its_hashes() -> None:
    installs = [arguments for word, arguments in INSTRUCTIONS if word == "RUN" and " install " in arguments]
    assert "--no-deps --require-hashes --requirement requirements-run.lock" in installs[0]
    assert all("--no-deps" in arguments for arguments in installs)


def test_the_health_check_follows_livez(start_worker: StartWorker, environment: dict[str, str]) -> None:
    [health_check] = final("HEALTHCHECK")
    _python, *arguments = json.loads(health_check.partition("CMD ")[2])
    port = choose_port()

    def exit_code() -> int:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**environment, "METRICS_PORT": str(port)},
            capture_output=True,
            timeout=30,
        )
        return done.returncode

    assert exit_code() != 0
    start_worker(METRICS_PORT=str(port))
    wait_until(lambda: get(port, "/livez")[0] == 200, "the worker to be alive")
    assert exit_code() == 0


def test_both_stages_have_the_same_python_by_its_exact_tag() -> None:
    bases = {arguments.split()[0] for word, arguments in INSTRUCTIONS if word == "FROM"}
    [base] = bases
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base)
