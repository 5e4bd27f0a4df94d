"""The sdist and the wheel, used where no checkout is.

Slow (10 s): both are built, the wheel of the sdist is installed, and the whole service is started from it.
"""

import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from dbstorage import __version__
from tests.typed import serving, shell

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_checkout_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)


def build(project: Path, directory: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=120)


def contents(wheel: Path) -> dict[str, int]:
    """The files of a wheel with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {file.filename: file.CRC for file in archive.infolist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the sdist and the wheel of the checkout."""
    directory = tmp_path_factory.mktemp("built")
    build(CHECKOUT, directory)
    return directory


@pytest.fixture(scope="module")
def wheel_of_sdist(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    [project] = directory.iterdir()
    build(project, directory)
    [wheel] = directory.glob("*.whl")
    return wheel


def test_the_sdist_makes_the_same_wheel_as_the_checkout(built: Path, wheel_of_sdist: Path):
    [wheel] = built.glob("*.whl")
    assert contents(wheel) == contents(wheel_of_sdist)


def test_the_wheel_holds_templates_and_migrations_and_nothing_else_beside_the_packages(wheel_of_sdist: Path):
    held = set(contents(wheel_of_sdist))
    templates = (CHECKOUT / "dbstorage" / "dashboard" / "templates").iterdir()
    assert held >= {path.relative_to(CHECKOUT).as_posix() for path in templates}
    versions = (CHECKOUT / "migrations" / "versions").glob("*.py")
    assert held >= {f"dbstorage/{path.relative_to(CHECKOUT).as_posix()}" for path in versions}
    assert {name.partition("/")[0] for name in held} == {
        "dbstorage", "tasks", f"dbstorage-{__version__}.dist-info",
    }  # fmt: skip


def test_the_sdist_holds_what_the_tests_need(built: Path):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert held >= {"Makefile", "requirements.lock", "alembic.ini", "docs/architecture.md", "tests/conftest.py"}


@pytest.fixture(scope="module")
def programs(wheel_of_sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of the installed wheel are."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory)
    python = directory / "bin" / "python"
    [packages] = directory.glob("lib/python*/site-packages")
    # The dependencies as they are here. Of .pth files in there none is read, so an editable DBStorage is not found.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel_of_sdist)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, timeout=120)
    return python.parent


def test_an_installed_wheel_says_its_version(programs: Path, tmp_path: Path):
    assert shell(f"{programs}/dbstorage --version", tmp_path) == f"dbstorage, version {__version__}\n"
    where = shell(
        f'{programs}/python -c "import dbstorage, tasks; print(dbstorage.__file__, tasks.__file__)"', tmp_path
    )
    assert all(Path(file).is_relative_to(programs.parent) for file in where.split())


def test_an_installed_wheel_migrates_stores_and_shows_what_failed(
    programs: Path, tmp_path: Path, redis_url: str, empty_database_url: str
):
    servers = {"REDIS_URL": redis_url, "DATABASE_URL": empty_database_url}
    with serving(f"{programs}/dbstorage up", tmp_path, "DBStorage is up", **servers):
        [flower] = re.findall(r"^  Flower +(http\S+)$", (tmp_path / "serving.log").read_text(), re.MULTILINE)
        with urlopen(f"{flower}/failed") as page:
            assert "<title>Failed" in page.read().decode()
        sent = shell(
            f"{programs}/dbstorage generate --users 2 --orders 5 | {programs}/dbstorage send -", tmp_path, **servers
        )
        assert "Failed: none." in sent
