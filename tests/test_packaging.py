"""The sdist and the wheel, used outside of a checkout.

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
from tests.typed import environment, serving, shell

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
    assert {"dbstorage/py.typed", "tasks/py.typed", "dbstorage/alembic.ini"} <= held
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


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """A directory in which files of somebody else's have the names of our packages."""
    for name in ("tasks.py", "dbstorage.py", "celery.py", "migrations.py", "flowerconfig.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file')\n")
    return tmp_path


def test_an_installed_wheel_migrates_in_an_empty_directory(programs: Path, tmp_path: Path, empty_database_url: str):
    database = {"DATABASE_URL": empty_database_url}
    shell(f"{programs}/dbstorage migrate", tmp_path, **database)
    assert "(head)" in shell(f"{programs}/dbstorage migrate current", tmp_path, **database)
    alembic = f'ALEMBIC_CONFIG="$({programs}/dbstorage migrate --config)" {programs}/python -m alembic'
    assert "(head)" in shell(f"{alembic} current", tmp_path, **database)
    shell(f"{programs}/dbstorage migrate downgrade base", tmp_path, **database)
    assert "(head)" not in shell(f"{alembic} current", tmp_path, **database)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_migrated_is_told_in_a_sentence(programs: Path, tmp_path: Path):
    def ended(**variables: str) -> subprocess.CompletedProcess[str]:
        command = [f"{programs}/dbstorage", "migrate"]
        return subprocess.run(command, cwd=tmp_path, env=environment(**variables), capture_output=True, text=True)

    unset = ended()
    assert (unset.returncode, unset.stderr.count("\n")) == (2, 1)
    assert unset.stderr.startswith("DATABASE_URL is not set")
    away = ended(DATABASE_URL="postgresql://joe:secret@127.0.0.1:1/db")
    assert away.returncode == 1
    assert "PostgreSQL at postgresql://joe@127.0.0.1:1/db cannot be used" in away.stderr
    assert "Traceback" not in away.stderr


def test_worker_and_flower_start_from_an_installed_wheel_wherever_one_is(
    programs: Path, shadowed: Path, redis_url: str, database_url: str
):
    servers = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with serving(f"{programs}/dbstorage worker --hostname one@here", shadowed, "one@here ready.", **servers):
        sent = shell(
            f"{programs}/dbstorage generate --users 2 --orders 5 | {programs}/dbstorage send -", shadowed, **servers
        )
        assert "Failed: none." in sent
    (shadowed / "named.py").write_text("max_tasks = 7\n")
    with serving(f"{programs}/dbstorage flower --port=0 --conf=named.py", shadowed, "Visit me at", **servers):
        pass
    with serving(f"{programs}/dbstorage flower --port=0", shadowed, "Visit me at", **servers):
        [address] = re.findall(r"Visit me at (\S+)", (shadowed / "serving.log").read_text())
        with urlopen(f"{address}/failed") as page:
            assert "<title>Failed" in page.read().decode()


def test_the_task_modules_are_ours_whatever_lies_in_the_current_directory(
    programs: Path, tmp_path: Path, redis_url: str, database_url: str
):
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong tasks')\n")
    servers = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with serving(f"{programs}/python -m celery -A dbstorage worker", tmp_path, " ready.", **servers):
        pass


def test_without_its_servers_an_installed_wheel_says_what_to_install(programs: Path, tmp_path: Path):
    command = (
        "import sys, importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'psutil' else find(name, *more)\n"
        "sys.modules['psutil'] = None\n"
        "from dbstorage.cli import main; main(['up'], prog_name='dbstorage')"
    )
    ended = subprocess.run(
        [f"{programs}/python", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "No server to start: install them with `pip install 'dbstorage[embedded]'`" in ended.stderr
    assert "Traceback" not in ended.stderr
