"""Every command of README.md is typed as it stands, in a directory that looks like a checkout after `make run`."""

import re
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.typed import SERVER_VARIABLES, serving, shell

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text()
#: They make .venv and run these very tests, or need Docker: `.ci/run` and tests/deploy see to them.
COVERED_ELSEWHERE = ("make run", "make test", "docker compose up")
#: Commands that serve until they are stopped, and what they print when they do.
SERVING = {"celery -A dbstorage worker": " ready.", "celery -A dbstorage flower": "Visit me at"}

Block = list[str]


def shell_blocks() -> list[Block]:
    """The command lines of each shell block, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [[re.sub(r"\s+# .*", "", line) for line in block.splitlines()] for block in blocks]


def blocks_on(own_servers: bool) -> list[Block]:
    blocks = [[line for line in block if line not in COVERED_ELSEWHERE] for block in shell_blocks()]
    return [block for block in blocks if block and block[0].startswith("export REDIS_URL=") is own_servers]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person sees in the checkout, but for the data, which is the test's own."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("alembic.ini", "dbstorage", "examples", "migrations", "tasks"):
        (directory / name).symlink_to(CHECKOUT / name)
    commands = directory / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("alembic", "celery"):
        (commands / name).symlink_to(Path(sys.executable).parent / name)
    # As installed from pyproject.toml, where it may not be.
    script = commands / "dbstorage"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, '.')\nfrom dbstorage.cli import main\nmain()\n"
    )
    script.chmod(0o755)
    return directory


def test_the_commands_beside_make_run(directory: Path):
    """Slow (16 s): the whole service starts, and each command is a process of its own."""
    printed = {}
    with serving(".venv/bin/dbstorage up", directory, "DBStorage is up"):
        up = (directory / "serving.log").read_text()
        for block in blocks_on(own_servers=False):
            preparation = [line for line in block if line.startswith("eval ")]
            for line in block:
                printed[line] = shell("; ".join([*preparation, line]), directory)
    [sent] = [output for line, output in printed.items() if "sample.jsonl" in line]
    assert "Answered: 83 of 83 questions.\nFailed: none.\n" in sent
    [history] = [output for line, output in printed.items() if "history" in line]
    assert len(re.findall(r"^2026-01-05T", history, re.MULTILINE)) == 5
    [listed] = [output for line, output in printed.items() if "failed list" in line]
    assert 'symbol is "doge"; expected btc, sol or eth.' in listed
    [mended] = [output for line, output in printed.items() if "find o-1" in line]
    assert mended.startswith("o-1: stored")
    # What `make run` itself proposes stands in the README too.
    proposed = re.findall(r"^  (.venv/bin/dbstorage .*)", up, re.MULTILINE)
    assert len(proposed) == 2
    assert all(line in README for line in proposed)


def test_the_commands_on_servers_of_ones_own(directory: Path, redis_url: str, empty_database_url: str):
    [block] = blocks_on(own_servers=True)
    exports = [line for line in block if line.startswith("export ")]
    assert [line.removeprefix("export ").partition("=")[0] for line in exports] == list(SERVER_VARIABLES)
    for line in block[len(exports) :]:
        servers = {"REDIS_URL": redis_url, "DATABASE_URL": empty_database_url}
        ready = SERVING.get(line.removeprefix(".venv/bin/"))
        if ready is None:
            shell(line, directory, **servers)
        else:
            with serving(line, directory, ready, FLOWER_PORT="0", **servers):
                # Flower says so before it has started its threads; a SIGTERM just then would never end it.
                for address in re.findall(r"Visit me at (\S+)", (directory / "serving.log").read_text()):
                    urlopen(address).close()


def test_every_command_is_tried():
    commands = [line for block in shell_blocks() for line in block]
    assert set(COVERED_ELSEWHERE) <= set(commands)
    tried = [line for own in (False, True) for block in blocks_on(own) for line in block]
    assert sorted([*tried, *COVERED_ELSEWHERE]) == sorted(commands)
