from pathlib import Path

import pytest

from dbstorage.cli.settings import settings_for_command
from dbstorage.embedded.running_servers import DEFAULT_DIRECTORY, note_servers
from dbstorage.errors import SettingsError


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `.dbstorage` of the directory in which the command is typed; neither URL is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    DEFAULT_DIRECTORY.mkdir()
    return tmp_path / DEFAULT_DIRECTORY


def test_a_command_finds_the_servers_that_run_here(directory: Path):
    note_servers(directory, "redis://127.0.0.1:7000/0", "postgresql://joe:secret@127.0.0.1:7001/db")
    settings = settings_for_command()
    assert settings.redis_url == "redis://127.0.0.1:7000/0"
    assert str(settings.database) == "postgresql://joe@127.0.0.1:7001/db"


def test_the_environment_comes_first(directory: Path, monkeypatch: pytest.MonkeyPatch):
    note_servers(directory, "redis://127.0.0.1:7000/0", "postgresql://joe:secret@127.0.0.1:7001/db")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/0")
    monkeypatch.setenv("DATABASE_URL", " ")
    settings = settings_for_command()
    assert settings.redis_url == "redis://elsewhere:6379/0"
    assert str(settings.database) == "postgresql://joe@127.0.0.1:7001/db"


def test_without_any_servers_the_error_names_both_ways():
    with pytest.raises(SettingsError) as caught:
        settings_for_command()
    first, second, hint = caught.value.sentences
    assert first.startswith("REDIS_URL is not set")
    assert second.startswith("DATABASE_URL is not set")
    assert hint.startswith("`dbstorage up` does not run in this directory either")


def test_another_wrong_setting_stands_for_itself(directory: Path, monkeypatch: pytest.MonkeyPatch):
    note_servers(directory, "redis://127.0.0.1:7000/0", "postgresql://joe:secret@127.0.0.1:7001/db")
    monkeypatch.setenv("BATCH_SIZE", "none")
    with pytest.raises(SettingsError) as caught:
        settings_for_command()
    assert caught.value.sentences == ["BATCH_SIZE is 'none': expected a whole number from 1 to 10000."]
