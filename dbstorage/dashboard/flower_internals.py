"""What we use of Flower beyond its documentation; tests/dashboard/test_flower_internals.py names the versions tried.

- `flower.urls.handlers` and `settings`: Flower builds its application from them.
- `navbar.html`, `base.html`, `worker.html` and `task.html`: the texts that our entries, our banner, our link and the
  reason why nothing may be changed stand beside; `read_only`, which leaves out the buttons of the last two.
- `BaseHandler.check_xsrf_cookie`: called before every request that may change something.
- `BaseHandler.get_current_user` and `render`, `Flower.find_handler` (Tornado's) and `start_http_server` (access.py).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import flower
import tornado.web
from flower import urls
from flower.options import options
from flower.views import BaseHandler
from flower.views.error import NotFoundErrorHandler
from flower.views.monitor import Metrics
from tornado.httputil import HTTPServerRequest
from tornado.template import Loader, Template

from dbstorage.dashboard.access import LOOKS_ONLY, looks_only, protect

OWN_TEMPLATES = Path(__file__).parent / "templates"
#: Tasks that Flower remembers unless told otherwise, at 7 KB each; its own default, 100,000, would take 700 MB.
MAX_TASKS = 10_000

#: Template -> texts in it, each with what we insert behind it.
ADDITIONS: dict[str, list[tuple[str, str]]] = {
    "navbar.html": [
        (
            """<ul class="app-nav navbar-nav">
""",
            """        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'service' %} active{% end %}"
            href="{{ reverse_url('service') }}"
            {% if active_tab == 'service' %}aria-current="page"{% end %}>Service</a>
        </li>
""",
        ),
        (
            """aria-current="page"{% end %}>Broker</a>
        </li>
""",
            """        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'failed' %} active{% end %}"
            href="{{ reverse_url('failed') }}"
            {% if active_tab == 'failed' %}aria-current="page"{% end %}>Failed</a>
        </li>
""",
        ),
    ],
    "base.html": [
        (
            """<main class="app-content" id="main-content">
""",
            """      <style>
        #dbstorage-banner { border-left: 0.5rem solid #b42318; background: #fff1f0; color: #5f1410;
          padding: 0.75rem 1rem; margin-bottom: 1rem; border-radius: 0.5rem; overflow-wrap: anywhere; }
        #dbstorage-banner a { color: inherit; text-decoration: underline; }
        [data-bs-theme="dark"] #dbstorage-banner { background: #3a1512; color: #ffd9d5; border-color: #ff7b72; }
      </style>
      <div id="dbstorage-banner" role="status" hidden data-verdict="{{ reverse_url('service_verdict') }}">
        <strong data-sentence></strong> <a href="{{ reverse_url('service') }}">Service</a>
      </div>
""",
        ),
        (
            """<script src="{{ static_url('js/flower.js') }}"></script>
""",
            """    <script src="{{ reverse_url('service_asset', 'banner.js') }}"></script>
""",
        ),
    ],
    "worker.html": [
        (
            """<h1 id="workername">{{ worker['name'] }}</h1>
    </div>
""",
            """    {% if refusal %}<p class="mb-0" data-refusal>{{ refusal }}</p>{% end %}
""",
        ),
    ],
    "task.html": [
        (
            """<div class="detail-actions">
""",
            """      {% if refusal %}<p class="mb-0" data-refusal>{{ refusal }}</p>{% end %}
      {% if task.state in ("FAILURE", "RETRY") %}
      <a class="btn btn-outline-primary" href="{{ reverse_url('failed') }}?task_id={{ url_escape(task.uuid) }}"
         title="Revoke and Terminate do not end the retries of a failed task: discard it there.">Failed task</a>
      {% end %}
""",
        ),
    ],
}


class TemplateLoader(Loader):
    """Loads Flower's templates and ours; adds ours to its bar, to all of its pages, and to its page of a task."""

    def _create_template(self, name: str) -> Template:
        if (OWN_TEMPLATES / name).is_file():
            return Template((OWN_TEMPLATES / name).read_bytes(), name=name, loader=self)
        if name not in ADDITIONS:
            return super()._create_template(name)
        text = (Path(self.root) / name).read_text()
        for expected, addition in ADDITIONS[name]:
            if text.count(expected) != 1:
                print(
                    f"Flower {flower.__version__} is not supported: its template {name} has changed. "
                    "Install the version that requirements.lock names.",
                    file=sys.stderr,
                )
                raise SystemExit(2)
            text = text.replace(expected, expected + addition)
        return Template(text, name=name, loader=self)


class AuthenticatedMetrics(Metrics):  # type: ignore[misc]  # Flower has no types
    """`/metrics` behind the login; Flower itself leaves it open."""

    @tornado.web.authenticated
    async def get(self) -> None:
        """Answer as Flower does, once it is known who asks."""
        await super().get()


class AuthenticatedNotFound(NotFoundErrorHandler):  # type: ignore[misc]
    """Any other path: without a login one does not even learn that it does not exist."""

    @tornado.web.authenticated
    def get(self) -> None:
        """Answer as Flower does, once it is known who asks."""
        super().get()

    @tornado.web.authenticated
    def post(self) -> None:
        """Answer as Flower does, once it is known who asks."""
        super().post()


_flower_check = BaseHandler.check_xsrf_cookie


def check_origin(handler: Any) -> None:
    """Refuse requests that pages of other origins send, and logins that may look only; raises HTTPError 403.

    Called before every request that may change something. Flower itself refuses other origins only where it has a
    login. A program that is no browser sends no origin.
    """
    request: HTTPServerRequest = handler.request
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site and site != "same-origin":
        raise tornado.web.HTTPError(403, "Cross-site request forbidden")
    if not site and origin and urlsplit(origin).netloc != request.host:
        raise tornado.web.HTTPError(403, "Cross-origin request forbidden")
    _flower_check(handler)
    if handler.current_user and looks_only(handler):
        raise tornado.web.HTTPError(403, "%s", LOOKS_ONLY)


def install(routes: Sequence[Any]) -> None:
    """Change Flower before it starts: routes, templates, what is protected, and how much it remembers."""
    handlers = [AuthenticatedMetricsRoute if _pattern(handler) == r"/metrics" else handler for handler in urls.handlers]
    assert _pattern(handlers[-1]) == ".*", "Flower's last route is the one for unknown paths"
    urls.handlers[:] = [*handlers[:-1], *routes, (r".*", AuthenticatedNotFound)]
    loader = TemplateLoader(urls.settings["template_path"])
    for name in ADDITIONS:
        loader.load(name)
    urls.settings["template_loader"] = loader
    protect(urls.settings)
    BaseHandler.check_xsrf_cookie = check_origin
    # Flower's command line, environment and configuration file are read later, and win.
    options.max_tasks = MAX_TASKS


AuthenticatedMetricsRoute = (r"/metrics", AuthenticatedMetrics)


def _pattern(handler: Any) -> str:
    return str(handler[0] if isinstance(handler, tuple) else handler.regex.pattern)
