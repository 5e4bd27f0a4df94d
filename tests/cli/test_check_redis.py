"""`dbstorage check` on Redis: what our user may not do, what holds the trimming, what was lost to it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from dbstorage.checks import redis_server
from dbstorage.cli import main
from dbstorage.embedded.redis import EmbeddedRedis
from tests.service.platform import GROUP, STREAM
from tests.service.test_least_privilege import PASSWORD, with_login
from tests.waiting import wait_until


@pytest.fixture
def own(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    """A Redis whose users are this test's own."""
    server = EmbeddedRedis(tmp_path / "own", durable=False)
    server.start()
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    yield server
    server.kill()


def found(*arguments: str) -> dict[str, list[tuple[str, str]]]:
    result = CliRunner().invoke(main, ["check", "--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    by_subject: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(result.stdout):
        by_subject.setdefault(finding["subject"], []).append((finding["grade"], finding["sentence"]))
    return by_subject


def as_user(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, *rules: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        untyped: Any = client
        untyped.execute_command("ACL", "SETUSER", "other", "reset", "on", f">{PASSWORD}", *rules)
    monkeypatch.setenv("REDIS_URL", with_login(server.url, f"other:{PASSWORD}"))


def keys(server: EmbeddedRedis) -> dict[bytes, Any]:
    with redis.Redis.from_url(server.url) as client:
        return {key: client.dump(key) for key in client.scan_iter()}


RIGHTS = [
    (("~*", "&*", "+@all", "-xclaim"), "XCLAIM"),
    (("~*", "&*", "+@all", "-pexpire"), "PEXPIRE"),
    (("~*", "&*", "+@all", "-@dangerous", "-hincrby"), "HINCRBY"),
    (("~*", "&*", "+@all", "-eval"), "EVAL"),
    (("~*", "&*", "+@all", "-@dangerous", "-xreadgroup"), "XREADGROUP"),
    (("~dbstorage:*", f"~{STREAM}", "&*", "+@all"), "exness:response-stream"),
    (("~dbstorage:*", f"~{STREAM}", "&*", "+@all", "-@dangerous"), "exness:response-stream"),
    (("~exness:*", "&*", "+@all"), "dbstorage:exness"),
]


@pytest.mark.parametrize(("rules", "named"), RIGHTS, ids=range(len(RIGHTS)))
def test_what_the_user_may_not_do_is_named_and_nothing_is_left(
    own: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, rules: tuple[str, ...], named: str
):
    before = keys(own)
    as_user(own, monkeypatch, *rules)
    refused = [sentence for grade, sentence in found()["Redis rights"] if grade == "problem"]
    assert refused
    assert all(named in sentence for sentence in refused), refused
    assert all(sentence.endswith("dbstorage grants prints the ACL line.") for sentence in refused)
    assert keys(own) == before


def test_a_user_without_info_and_acl_is_enough(own: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch):
    as_user(own, monkeypatch, "~*", "&*", "+@all", "-@dangerous")
    told = found()
    assert [sentence for each in told.values() for grade, sentence in each if grade == "problem"] == []
    assert told["Redis persistence"] == [
        ("warning", "This user may not ask (INFO): whether Redis keeps its data is unknown to us.")
    ]
    assert "CLUSTER" not in str(told)
    told_by_status = CliRunner().invoke(main, ["status"])
    assert "nobody reads" in told_by_status.stdout
    assert "NOPERM" not in told_by_status.output


def test_a_cluster_is_refused_in_one_sentence(own: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = Path(f"/proc/{own_pid(own)}/exe").resolve()
    directory = tmp_path / "cluster"
    directory.mkdir()
    port = 17_999
    arguments = ["--port", str(port), "--cluster-enabled", "yes", "--save", "", "--dir", str(directory)]
    process = subprocess.Popen([command, *arguments], stdout=subprocess.DEVNULL)
    try:
        client: Any = redis.Redis(port=port)

        def answers() -> bool:
            with suppress(redis.ConnectionError):
                return bool(client.ping())
            return False

        wait_until(answers, "the cluster's node to answer")
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
        told = found()["Redis"]
        assert [grade for grade, _ in told] == ["problem"]
        assert "is a Redis Cluster, with which neither the streams nor Celery's broker work" in told[0][1]
    finally:
        process.terminate()
        process.wait()


def own_pid(server: EmbeddedRedis) -> int:
    with redis.Redis.from_url(server.url) as client:
        information: Any = client.info("server")
    return int(information["process_id"])


def test_a_forgotten_group_that_holds_the_trimming_is_named(own: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch):
    with redis.Redis.from_url(own.url) as client:
        for _ in range(3):
            client.xadd(STREAM, {"message": "{}"})
        client.xgroup_create(STREAM, "old-debug", "0")
        client.xgroup_create(STREAM, "served", "0")
        client.xreadgroup("served", "somebody", {STREAM: ">"}, count=1)
    told = dict.fromkeys(sentence for grade, sentence in found()["Consumer group"] if grade == "warning")
    assert any(
        sentence.startswith("The group old-debug has no consumer and has 3 entries to see")
        and sentence.endswith(f"XGROUP DESTROY {STREAM} old-debug.")
        for sentence in told
    )
    assert not any("The group served" in sentence for sentence in told)
    monkeypatch.setattr(redis_server, "FORGOTTEN_SECONDS", -1)
    assert any("The group served was last served" in sentence for _, sentence in found()["Consumer group"])


def test_entries_trimmed_before_they_were_read_are_counted(own: EmbeddedRedis):
    with redis.Redis.from_url(own.url) as client:
        client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
        for _ in range(60):
            client.xadd(STREAM, {"message": "{}"})
        client.xreadgroup(GROUP, "worker", {STREAM: ">"}, count=10)
        assert not any("trimmed" in sentence for _, sentence in found()["Consumer group"])
        client.xtrim(STREAM, maxlen=20, approximate=False)
        assert any(
            grade == "problem"
            and sentence.startswith("30 entries were trimmed from the stream before the service read")
            for grade, sentence in found()["Consumer group"]
        )
