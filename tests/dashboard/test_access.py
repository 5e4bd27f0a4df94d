import base64
import re
import subprocess
import sys
from http.cookies import SimpleCookie

import psutil
import pytest
import tornado.web
from flower import urls
from sqlalchemy import Connection

from tests.dashboard.conftest import StartFlower
from tests.dashboard.flower_process import Flower
from tests.failed_tasks.records import add, record
from tests.waiting import wait_until


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


LOGIN = basic("joe:secret")
SECRET = "a cookie secret for the tests only"
OURS = [
    "/failed",
    "/failed/1",
    "/failed/1/payload",
    "/service/assets/failed.js",
    "/failed/states?ids=1",
    "/failed/count/retry",
]
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
    assert "Without a login nothing can be changed here" in page
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
    assert open_flower.post("/failed/discard", {"up_to": task}, Origin=open_flower.origin).json["changed"] == 1


@pytest.mark.parametrize("path", [*every_path(), "/static/favicon.ico", "/static/no-such-file"])
def test_nothing_is_opened_to_other_origins_or_shown_in_their_frames(open_flower: Flower, path: str):
    headers = open_flower.get(path, Origin="http://evil.example").headers
    assert [name for name in headers if name.startswith("Access-Control-")] == []
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_what_our_pages_show_stays_in_no_cache(open_flower: Flower, connection: Connection):
    [task] = add(connection, record())
    answers = (f"/failed/{task}", f"/failed/{task}/payload", f"/failed/states?ids={task}", "/service", *OURS)
    kept = {path: open_flower.get(path).headers["Cache-Control"] for path in answers}
    assert set(kept.values()) == {"no-store"}, kept


@pytest.mark.parametrize("path", every_path())
def test_without_a_login_nothing_is_answered_under_the_name_of_a_stranger(open_flower: Flower, path: str):
    """Its owner may have pointed it at this machine: then a browser takes their page and Flower for one site."""
    refused = open_flower.get(path, Host=f"evil.example:{open_flower.port}")
    assert (refused.status, refused.text) == (
        403,
        "This Flower has no login, so it answers only under localhost, a numeric address or a name in "
        "FLOWER_ALLOWED_HOSTS.\n",
    )
    assert open_flower.post(path, Host="evil.example").status == 403


def test_names_that_flower_without_a_login_answers_under_can_be_added(start_flower: StartFlower):
    flower = start_flower(FLOWER_ALLOWED_HOSTS="flower.internal,Tools.example")
    for host in ("flower.internal", "tools.example:8080", "localhost", "127.0.0.1"):
        assert flower.get("/failed", Host=host).status == 200
    assert flower.get("/failed", Host="evil.example").status == 403


def test_with_a_login_any_name_will_do(guarded: Flower):
    assert guarded.get("/failed", Host="flower.example", Authorization=LOGIN).status == 200


@pytest.mark.parametrize("password", ["wrong", "s\u00e9cret", "\U0001f511"])
def test_a_wrong_password_of_any_letters_is_401(guarded: Flower, password: str):
    assert guarded.get("/failed", Authorization=basic(f"joe:{password}")).status == 401
    assert guarded.get("/failed", Authorization=LOGIN).status == 200


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", "Bearer x", "x y z"])
def test_what_is_no_login_is_401(guarded: Flower, header: str):
    assert guarded.get("/failed", Authorization=header).status == 401
    assert guarded.get("/failed", Authorization=LOGIN).status == 200


def test_a_password_beyond_ascii_lets_in(start_flower: StartFlower):
    flower = start_flower(FLOWER_BASIC_AUTH="jo\u00e9:s\u00e9cret")
    assert flower.get("/failed", Authorization=basic("jo\u00e9:s\u00e9cret")).status == 200
    assert flower.get("/failed").headers["WWW-Authenticate"] == 'Basic realm="flower", charset="UTF-8"'


def test_whoever_tries_passwords_is_slowed_down(start_flower: StartFlower):
    flower = start_flower(FLOWER_BASIC_AUTH="joe:secret")
    replies = [flower.get("/failed", Authorization=basic(f"joe:{number}")) for number in range(8)]
    assert [reply.status for reply in replies[:5]] == [401] * 5
    assert 429 in {reply.status for reply in replies}
    # Not even the right one is looked at meanwhile.
    refused = flower.get("/failed", Authorization=LOGIN)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.text.startswith("Too many wrong logins from 127.0.0.1: try again in ")
    assert flower.get("/healthcheck").status == 200
    wait_until(lambda: flower.get("/failed", Authorization=LOGIN).status == 200, "the end of the pause")


def test_without_a_login_other_machines_see_no_payload(
    start_flower: StartFlower, open_flower: Flower, connection: Connection
):
    [task] = add(connection, record(payload=b'{"userEmail": "joe@private.example"}'))
    flower = start_flower("--address=0.0.0.0", FLOWER_UNAUTHENTICATED_API="true")
    page = flower.get(f"/failed/{task}")
    assert page.status == 200
    assert "joe@private.example" not in page.text
    assert "Without a login, payloads are shown on this machine only" in page.text
    refused = flower.get(f"/failed/{task}/payload")
    assert refused.status == 403
    assert "joe@private.example" not in refused.text
    assert "joe@private.example" in open_flower.get(f"/failed/{task}").text


def test_without_a_login_and_an_address_it_listens_on_this_machine_only(start_flower: StartFlower):
    assert list(listening(start_flower("--address="))) == ["127.0.0.1"]


def test_with_a_login_it_listens_to_all(start_flower: StartFlower):
    assert "127.0.0.1" not in listening(start_flower("--address=", FLOWER_BASIC_AUTH="joe:secret"))


def listening(flower: Flower) -> set[str]:
    assert flower.process
    connections = psutil.Process(flower.process.pid).net_connections(kind="inet")
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


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
    assert guarded.post("/failed/discard", {"up_to": task}, Authorization=basic("joe:wrong")).status == 401
    assert guarded.get("/metrics", Authorization=LOGIN).text.startswith("# HELP")
    assert guarded.get("/no-such-page", Authorization=LOGIN).status == 404
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert guarded.post("/failed/discard", {"up_to": task}, Authorization=LOGIN, **headers).status == 403
    changed = guarded.post("/failed/discard", {"up_to": task}, Authorization=LOGIN, Origin=guarded.origin)
    assert changed.json["changed"] == 1


def test_behind_a_prefix_every_link_has_it(guarded: Flower, connection: Connection):
    [task] = add(connection, record())
    for path in ("/failed", f"/failed/{task}", "/tasks"):
        page = guarded.get(path, Authorization=LOGIN).text
        links = re.findall(r'(?:href|src|data-states|data-(?:count|apply)-\w+)="(/[^"]*)"', page)
        assert len(links) > 10
        assert [link for link in links if not link.startswith("/tools/flower/")] == []
    assert (
        guarded.get("/service/assets/failed.js", Authorization=LOGIN)
        .headers["Content-Type"]
        .startswith("text/javascript")
    )


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
    assert changed.json["changed"] == 1

    stranger = tornado.web.create_signed_value(SECRET, "user", "joe@evil.example").decode()
    assert social.get("/failed", Cookie=f'user="{stranger}"').status == 302


def test_with_operators_named_other_logins_may_look_and_change_nothing(
    start_flower: StartFlower, connection: Connection
):
    flower = start_flower(FLOWER_BASIC_AUTH="joe:secret,ann:other", FLOWER_OPERATORS="joe")
    [task] = add(connection, record())
    look, act = {"Authorization": basic("ann:other")}, {"Authorization": LOGIN}
    for path in ("/failed", f"/failed/{task}", "/failed?by=sentence", "/service"):
        seen, used = flower.get(path, **look), flower.get(path, **act)
        assert (seen.status, used.status) == (200, 200)
        assert "You may look, and change nothing" in seen.text
        assert "data-change=" not in seen.text
        assert "You may look, and change nothing" not in used.text
    everything: list[tuple[str, dict[str, object]]] = [
        ("/failed/discard", {"up_to": task}),
        ("/failed/mend", {"up_to": task, "set": "symbol=btc"}),
        ("/failed/mend/check", {"set": "symbol=btc"}),
        ("/failed/actions/1/cancel", {}),
        ("/service/pause", {"reason": "a test"}),
        # Flower's own.
        ("/api/worker/shutdown/x", {}),
        ("/api/task/revoke/x", {}),
    ]
    for path, fields in everything:
        refused = flower.post(path, fields, **look)
        assert refused.status == 403, path
        assert "You may look, and change nothing: FLOWER_OPERATORS says who may." in refused.text
        assert flower.post(path, fields).status == 401
    assert flower.get("/failed/actions", **look).json == {"actions": []}
    assert flower.post("/failed/discard", {"up_to": task}, **act).json["changed"] == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "FLOWER_OPERATORS names logins, and this Flower has none: set FLOWER_BASIC_AUTH or FLOWER_AUTH too."),
        ({"FLOWER_BASIC_AUTH": "ann:secret"}, "FLOWER_OPERATORS names joe, for whom FLOWER_BASIC_AUTH has no login."),
    ],
)
def test_operators_who_cannot_log_in_are_a_sentence_and_exit_code_2(
    module_environment: dict[str, str], settings: dict[str, str], sentence: str
):
    command = [sys.executable, "-m", "celery", "-A", "dbstorage", "flower", "--port=0"]
    environment = {**module_environment, "FLOWER_OPERATORS": "joe", **settings}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith(sentence)


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
