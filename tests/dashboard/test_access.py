import base64
import re
import subprocess
import sys
from http.cookies import SimpleCookie

import pytest
import tornado.web
from flower import urls
from sqlalchemy import Connection

from tests.dashboard.conftest import StartFlower
from tests.dashboard.flower_process import Flower
from tests.failed_tasks.records import add, record

LOGIN = "Basic " + base64.b64encode(b"joe:secret").decode()
SECRET = "a cookie secret for the tests only"
OURS = ["/failed", "/failed/1", "/failed/1/payload", "/failed/failed.js", "/failed/states?ids=1", "/failed/count/retry"]
#: What Flower leaves open on purpose, and how one logs in.
OPEN = ("/healthcheck", "/static", "/login", "/logout")


@pytest.fixture(scope="module")
def guarded(start_flower: StartFlower) -> Flower:
    """Flower with basic authentication, behind a prefix."""
    return start_flower("--url_prefix=tools/flower", prefix="/tools/flower", FLOWER_BASIC_AUTH="joe:secret")


@pytest.fixture(scope="module")
def social(start_flower: StartFlower) -> Flower:
    """Flower with a login at another site."""
    return start_flower(
        "--auth=.*@example.com",
        "--auth_provider=flower.views.auth.GithubLoginHandler",
        f"--cookie_secret={SECRET}",
        FLOWER_OAUTH2_KEY="key",
        FLOWER_OAUTH2_SECRET="secret",
        FLOWER_OAUTH2_REDIRECT_URI="http://localhost/login",
    )


def every_path() -> list[str]:
    """A path for each of Flower's routes, and ours."""
    patterns = [handler[0] if isinstance(handler, tuple) else handler.regex.pattern for handler in urls.handlers]
    paths = [re.sub(r"\(.*?\)|\.\*", "x", pattern.rstrip("$")).replace("/?", "") for pattern in patterns]
    return [*(path for path in paths if path.startswith("/")), "/no-such-page", *OURS]


def test_without_authentication_writes_are_refused_as_flowers_api_refuses_them(
    start_flower: StartFlower, connection: Connection
):
    flower = start_flower()
    [task] = add(connection, record())
    refused = flower.post("/failed/discard", {"up_to": task})
    assert refused.status == 401
    assert "FLOWER_UNAUTHENTICATED_API" in refused.text
    assert refused.text == flower.post("/api/task/revoke/x").text
    page = flower.get("/failed").text
    assert f'data-id="{task}"' in page
    assert "Without authentication tasks cannot be retried or discarded here" in page
    assert "data-change=" not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://evil.example", "Content_Type": "text/plain"},
    ],
)
def test_a_page_of_another_origin_is_refused_even_where_the_api_is_open(
    open_flower: Flower, connection: Connection, headers: dict[str, str]
):
    [task] = add(connection, record())
    for path in ("/failed/discard", "/api/task/revoke/x", "/api/worker/shutdown/x"):
        assert open_flower.post(path, {"up_to": task}, **headers).status == 403
    assert open_flower.post("/failed/discard", {"up_to": task}, Origin=open_flower.origin).json == {"changed": 1}


def test_pages_with_payloads_are_not_opened_to_other_origins(open_flower: Flower):
    assert open_flower.get("/tasks").headers["Access-Control-Allow-Origin"] == "*", "so Flower does with an open API"
    for path in OURS:
        assert "Access-Control-Allow-Origin" not in open_flower.get(path, Origin="http://evil.example").headers


@pytest.mark.parametrize("path", every_path())
def test_with_authentication_everything_is_401_without_a_login(guarded: Flower, path: str):
    if path.startswith(OPEN):
        return
    reply = guarded.get(path)
    # Flower's routes that only change something know no GET.
    without_get = reply.status == 405 and guarded.get(path, Authorization=LOGIN).status == 405
    assert reply.status == 401 or without_get


def test_with_authentication_a_login_opens_everything(guarded: Flower, connection: Connection):
    [task] = add(connection, record())
    assert guarded.post("/failed/discard", {"up_to": task}).status == 401
    wrong = "Basic " + base64.b64encode(b"joe:wrong").decode()
    assert guarded.post("/failed/discard", {"up_to": task}, Authorization=wrong).status == 401
    assert guarded.get("/metrics", Authorization=LOGIN).text.startswith("# HELP")
    assert guarded.get("/no-such-page", Authorization=LOGIN).status == 404
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert guarded.post("/failed/discard", {"up_to": task}, Authorization=LOGIN, **headers).status == 403
    changed = guarded.post("/failed/discard", {"up_to": task}, Authorization=LOGIN, Origin=guarded.origin)
    assert changed.json == {"changed": 1}


def test_behind_a_prefix_every_link_has_it(guarded: Flower, connection: Connection):
    [task] = add(connection, record())
    for path in ("/failed", f"/failed/{task}", "/tasks"):
        page = guarded.get(path, Authorization=LOGIN).text
        links = re.findall(r'(?:href|src|data-script-states|data-(?:count|apply)-\w+)="(/[^"]*)"', page)
        assert len(links) > 10
        assert [link for link in links if not link.startswith("/tools/flower/")] == []
    assert guarded.get("/failed/failed.js", Authorization=LOGIN).headers["Content-Type"].startswith("text/javascript")


def test_with_a_login_elsewhere_pages_lead_there_and_writes_need_the_token(social: Flower, connection: Connection):
    [task] = add(connection, record())
    for path in ["/metrics", "/no-such-page", *OURS]:
        reply = social.get(path)
        assert (reply.status, reply.headers["Location"].partition("?")[0]) == (302, "/login")
    assert social.post("/failed/discard", {"up_to": task}).status == 403

    user = tornado.web.create_signed_value(SECRET, "user", "joe@example.com").decode()
    page = social.get("/failed", Cookie=f'user="{user}"')
    assert f'data-id="{task}"' in page.text
    token = SimpleCookie(page.headers["Set-Cookie"])["_xsrf"].value
    assert social.post("/failed/discard", {"up_to": task}, Cookie=f'user="{user}"').status == 403
    cookies = f'user="{user}"; _xsrf="{token}"'
    assert social.post("/failed/discard", {"up_to": task}, Cookie=cookies).status == 403
    changed = social.post("/failed/discard", {"up_to": task}, Cookie=cookies, X_XSRFToken=token)
    assert changed.json == {"changed": 1}

    stranger = tornado.web.create_signed_value(SECRET, "user", "joe@evil.example").decode()
    assert social.get("/failed", Cookie=f'user="{stranger}"').status == 302


def test_in_read_only_mode_nothing_can_be_changed(start_flower: StartFlower, connection: Connection):
    flower = start_flower("--read_only", FLOWER_BASIC_AUTH="joe:secret")
    [task] = add(connection, record())
    assert flower.post("/failed/discard", {"up_to": task}, Authorization=LOGIN).status == 403
    page = flower.get("/failed", Authorization=LOGIN).text
    assert "Flower is in read-only mode." in page
    assert "data-change=" not in page


def test_flower_remembers_as_many_tasks_as_it_is_told(module_environment: dict[str, str]):
    program = (
        "import sys, flower.command as command; sys.argv = ['celery', '-A', 'dbstorage', 'flower', *sys.argv[1:]]\n"
        "def stop(**options): print(options['options'].max_tasks); raise SystemExit(0)\n"
        "command.Flower = stop\n"
        "from celery.__main__ import main; main()\n"
    )

    def told(**settings: str) -> str:
        environment = {**module_environment, **settings}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert told() == "10000"
    assert told(FLOWER_MAX_TASKS="77") == "77"
