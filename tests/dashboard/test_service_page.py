"""The page Service and the banner, as a browser gets them."""

import pytest
import redis
from sqlalchemy import Connection

from dbstorage.redis_access.keys import paused_key
from dbstorage.settings import load_settings
from tests.dashboard.conftest import StartFlower
from tests.dashboard.flower_process import Flower

NOWHERE = {"DATABASE_URL": "postgresql://joe:secret@127.0.0.1:1/nowhere", "REDIS_URL": "redis://:secret@127.0.0.1:1/0"}


def test_service_stands_first_in_the_bar_and_the_banner_on_every_page(open_flower: Flower):
    for path in ("/service", "/failed", "/workers", "/tasks"):
        text = open_flower.get(path).text
        assert text.index(">Service</a>") < text.index(">Workers</a>")
        assert 'id="dbstorage-banner"' in text
        assert "/service/assets/banner.js" in text


def test_the_state_behind_the_page_has_verdict_servers_failures_and_operations(
    open_flower: Flower, connection: Connection
):
    state = open_flower.get("/service/state").json
    assert state["verdict"]["standing"] == "unread"
    assert state["redis"]["up"]
    assert state["database"]["failed_tasks"] == {}
    assert state["operations"] == []
    assert open_flower.get("/service/verdict").json == {
        "standing": "unread", "sentence": "nobody reads: no worker runs",
    }  # fmt: skip


def test_pausing_is_on_record_and_is_seen(open_flower: Flower, connection: Connection):
    assert open_flower.post("/service/pause", {"reason": "a new disk"}).json == {"sentence": "The service is paused."}
    verdict = open_flower.get("/service/verdict").json
    assert verdict["standing"] == "paused"
    assert verdict["sentence"].endswith("by somebody at 127.0.0.1: a new disk")
    assert open_flower.post("/service/resume").json == {"sentence": "The service goes on."}
    assert open_flower.post("/service/resume").json == {"sentence": "The service was not paused."}
    operations = [(one["what"], one["reason"]) for one in open_flower.get("/service/state").json["operations"]]
    assert operations[:2] == [("resume", None), ("pause", "a new disk")]


def test_who_may_only_look_pauses_nothing(start_flower: StartFlower, module_environment: dict[str, str]):
    flower = start_flower()
    assert flower.post("/service/pause").status == 401
    assert "Without a login" in flower.get("/service").text
    settings = load_settings(module_environment)
    with redis.Redis.from_url(settings.redis_url) as client:
        assert not client.exists(paused_key(settings))


def test_with_a_login_nothing_is_told_without_it_and_the_trail_names_the_person(
    start_flower: StartFlower, connection: Connection
):
    flower = start_flower(FLOWER_BASIC_AUTH="joe:secret")
    for path in (
        "/service",
        "/service/state",
        "/service/verdict",
        "/service/assets/service.js",
        "/service/find?what=a",
    ):
        assert flower.get(f"/service{path}").status == 401
    login = "Basic am9lOnNlY3JldA=="
    assert flower.post("/service/pause", {"reason": "x"}, Authorization=login).status == 200
    assert flower.post("/service/resume", Authorization=login).status == 200
    operations = flower.get("/service/state", Authorization=login).json["operations"]
    assert [one["who"] for one in operations[:2]] == ["joe", "joe"]
    # A page of another site cannot do it with somebody's login.
    assert flower.post("/service/pause", Authorization=login, Origin="http://evil.example").status == 403


def test_without_redis_and_postgresql_the_page_is_there_and_says_so(start_flower: StartFlower):
    flower = start_flower(FLOWER_UNAUTHENTICATED_API="true", CELERY_BROKER_URL=NOWHERE["REDIS_URL"], **NOWHERE)
    assert flower.get("/service").status == 200
    state = flower.get("/service/state")
    assert state.status == 200
    assert state.json["verdict"]["standing"] == "away"
    assert "Redis cannot be used: " in state.json["verdict"]["sentence"]
    assert "secret" not in state.text
    assert flower.get("/service/verdict").json["standing"] == "away"
    assert flower.post("/service/pause").status == 503
    found = flower.get("/service/find?what=o-1")
    assert found.status == 503
    assert "The database cannot be used" in found.text


@pytest.mark.parametrize("name", ["..%2fservice.py", "nothing.js", "uplot-LICENSE", "..", "banner.js%00"])
def test_only_assets_are_served(open_flower: Flower, name: str):
    assert open_flower.get(f"/service/assets/{name}").status == 404


def test_find_shows_text_of_strangers_as_text(open_flower: Flower, connection: Connection):
    page = open_flower.get("/service/find?what=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "never seen" in page.text
    assert open_flower.get("/service/find").status == 302
