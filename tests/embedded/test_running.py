import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from dbstorage.embedded.lock import directory_lock
from dbstorage.embedded.running_servers import forget_servers, note_servers, running_servers
from dbstorage.errors import EmbeddedServerError

REDIS_URL = "redis://127.0.0.1:6379/0"
DATABASE_URL = "postgresql://dbstorage:secret@127.0.0.1:5432/dbstorage"


def test_noted_servers_are_found_by_their_owner_only_and_forgotten(tmp_path: Path):
    note_servers(tmp_path, REDIS_URL, DATABASE_URL)
    assert running_servers(tmp_path) == {"REDIS_URL": REDIS_URL, "DATABASE_URL": DATABASE_URL}
    assert stat.S_IMODE((tmp_path / "servers.json").stat().st_mode) == 0o600
    forget_servers(tmp_path)
    assert running_servers(tmp_path) is None


def test_the_note_of_another_user_tells_nothing_but_to_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In a directory that others write to, commands would go to a stranger's servers."""
    note_servers(tmp_path, REDIS_URL, DATABASE_URL)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert running_servers(tmp_path) is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert running_servers(tmp_path) is not None


def test_the_note_of_a_process_that_has_ended_tells_nothing(tmp_path: Path):
    note_servers(tmp_path, REDIS_URL, DATABASE_URL)
    note = json.loads((tmp_path / "servers.json").read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "servers.json").write_text(json.dumps({**note, "pid": ended.pid}))
    assert running_servers(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"REDIS_URL": "x", "DATABASE_URL": "y", "pid": "z"}'])
def test_a_damaged_note_tells_nothing(tmp_path: Path, content: str):
    (tmp_path / "servers.json").write_text(content)
    assert running_servers(tmp_path) is None


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path):
    with directory_lock(tmp_path), pytest.raises(EmbeddedServerError, match=f"already runs .*process {os.getpid()}"):
        directory_lock(tmp_path).__enter__()
    with directory_lock(tmp_path):
        pass


def test_a_directory_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match=r"Nothing can be kept in .*/file/inside: Not a directory"):
        directory_lock(tmp_path / "file" / "inside").__enter__()
