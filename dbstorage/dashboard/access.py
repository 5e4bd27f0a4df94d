"""Who may use Flower: logins, the host names that it answers to, and what pages of other sites may do with it."""

import hmac
import math
import sys
from base64 import b64decode
from contextlib import suppress
from typing import Any

import tornado.web
from flower.app import Flower
from flower.options import options
from flower.utils.authentication import authenticate
from flower.views import BaseHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.options import define
from tornado.web import OutputTransform, RequestHandler

from dbstorage.dashboard.hosts import is_expected, is_loopback
from dbstorage.dashboard.throttle import Throttle
from dbstorage.embedded.ports import LOOPBACK

#: Headers of every response: pages of other sites cannot show ours in a frame, and do not learn our URLs.
PROTECTION = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers would then send forms with the origin `null`, which is refused.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
BASIC = 'Basic realm="flower"'

LOOKS_ONLY = "You may look, and change nothing: FLOWER_OPERATORS says who may."

throttle = Throttle()


class Protection(OutputTransform):
    """Adds PROTECTION to every response, and removes the headers of CORS: with them, other sites could read it."""

    def __init__(self, request: HTTPServerRequest) -> None:
        super().__init__(request)

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Change the headers, and leave status and content as they are."""
        for name in [name for name in headers if name.startswith("Access-Control-")]:
            del headers[name]
        headers.update(PROTECTION)
        if headers.get("WWW-Authenticate") == BASIC:
            headers["WWW-Authenticate"] = f'{BASIC}, charset="UTF-8"'
        return status_code, headers, chunk


class Refusal(RequestHandler):
    """Answers every request with the same status and sentence."""

    def initialize(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        """Take status and sentence; `retry_after`: after how many seconds another attempt may succeed."""
        self._status, self._sentence, self._retry_after = status, sentence, retry_after

    def prepare(self) -> None:
        """Answer at once, whatever the method (GET, POST, …)."""
        self.set_status(self._status)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        if self._retry_after is not None:
            self.set_header("Retry-After", str(self._retry_after))
        self.finish(f"{self._sentence}\n")


def has_login() -> bool:
    """Whether Flower has logins."""
    return bool(options.basic_auth or options.auth)


def shows_payloads() -> bool:
    """Whether pages show payloads, which hold e-mail addresses: with logins, or where only this machine has access."""
    return has_login() or is_loopback(options.address)


def protect(settings: dict[str, Any]) -> None:
    """Put the rules of this file into Flower before it starts; `settings` are those of its Tornado application."""
    define(
        "allowed_hosts",
        default=[],
        type=str,
        multiple=True,
        help="names under which Flower without a login answers beside localhost and numeric addresses; * for all",
    )
    define(
        "operators",
        default=[],
        type=str,
        multiple=True,
        help="logins that may change something (retry, discard, pause, shut down); without it every login may",
    )
    settings["transforms"] = [Protection]
    # These functions replace methods of Flower's classes: their first argument is what a method calls `self`.
    Flower.find_handler = find_handler
    Flower.start_http_server = start_http_server
    BaseHandler.get_current_user = get_current_user
    BaseHandler.render = render


_find_handler = Flower.find_handler
_start_http_server = Flower.start_http_server


def find_handler(application: Any, request: HTTPServerRequest, **arguments: Any) -> Any:
    """Find what answers a request: a handler of Flower's or ours, or a refusal."""
    if not has_login() and not is_expected(request.host, {*options.allowed_hosts, options.address}):
        refusal = {
            "status": 403,
            "sentence": "This Flower has no login, so it answers only under localhost, a numeric address or a name in "
            "FLOWER_ALLOWED_HOSTS.",
        }
    elif "Authorization" in request.headers and (wait := throttle.wait(str(request.remote_ip))):
        seconds = math.ceil(wait)
        sentence = f"Too many wrong logins from {request.remote_ip}: try again in {seconds} s."
        refusal = {"status": 429, "sentence": sentence, "retry_after": seconds}
    else:
        return _find_handler(application, request, **arguments)
    return application.get_handler_delegate(request, Refusal, refusal)


def start_http_server(application: Any) -> int | None:
    """Start to listen. Without logins Flower listens on the loopback address, unless another one was set."""
    if problem := wrong_operators():
        print(problem, file=sys.stderr)
        raise SystemExit(2)
    if not options.address and not options.unix_socket and not has_login():
        options.address = LOOPBACK
    port: int | None = _start_http_server(application)
    return port


def get_current_user(handler: Any) -> Any:
    """The login that a request comes with, True where none is needed, None where it is missing.

    Raises HTTPError 401 where FLOWER_BASIC_AUTH asks for a login, and it is wrong or missing.
    """
    address = handler.request.remote_ip
    if options.basic_auth:
        given = handler.request.headers.get("Authorization", "")
        if not any([_matches(given, login) for login in options.basic_auth]):
            if given:
                throttle.failed(address)
            raise tornado.web.HTTPError(401)
        throttle.succeeded(address)
    if not options.auth:
        return True
    user = handler.get_secure_cookie("user")
    name = user.decode(errors="replace") if user else ""
    return name if name and authenticate(options.auth, name) else None


def person(handler: Any) -> str:
    """The name under which an operation is recorded: the login, or without logins the address of the browser."""
    if options.basic_auth:
        encoded = handler.request.headers.get("Authorization", "").partition(" ")[2]
        with suppress(ValueError):
            return b64decode(encoded.strip()).decode(errors="replace").partition(":")[0] or "somebody"
    if isinstance(handler.current_user, str):
        return handler.current_user
    return f"somebody at {handler.request.remote_ip}"


def operators() -> set[str]:
    """The logins of FLOWER_OPERATORS; empty where everybody who may use Flower may also change something."""
    return {name.strip() for name in options.operators} - {""}


def looks_only(handler: Any) -> bool:
    """Whether whoever sent the request may not change anything."""
    return bool(operators()) and person(handler) not in operators()


def refusal(handler: Any) -> str | None:
    """Why the request may change nothing, in a sentence; None where it may."""
    if options.read_only:
        return "Flower is in read-only mode."
    if not has_login() and not handler.unauthenticated_api:
        return (
            "Without a login nothing can be changed here: start Flower with FLOWER_BASIC_AUTH=user:password, "
            "or use the command dbstorage."
        )
    # Not `current_user`, which checks the login and raises HTTPError: the page on a wrong login is rendered here, too.
    return LOOKS_ONLY if getattr(handler, "_current_user", None) and looks_only(handler) else None


_render = BaseHandler.render


def render(handler: Any, *arguments: Any, **values: Any) -> None:
    """Render a page of Flower's or ours. It leaves out buttons that the user may not press, and says why."""
    values["refusal"] = sentence = refusal(handler)
    if sentence is not None and "read_only" in values:
        values["read_only"] = True
    _render(handler, *arguments, **values)


def wrong_operators() -> str | None:
    """What is wrong with FLOWER_OPERATORS, in a sentence; None where nothing is."""
    if not operators():
        return None
    if not has_login():
        return "FLOWER_OPERATORS names logins, and this Flower has none: set FLOWER_BASIC_AUTH or FLOWER_AUTH too."
    logins = {login.partition(":")[0] for login in options.basic_auth}
    unknown = sorted(operators() - logins) if logins else []
    if unknown:
        return f"FLOWER_OPERATORS names {', '.join(unknown)}, for whom FLOWER_BASIC_AUTH has no login."
    return None


def _matches(given: str, login: str) -> bool:
    scheme, _, encoded = given.partition(" ")
    try:
        credentials = b64decode(encoded.strip(), validate=True)
    except ValueError:
        return False
    # Bytes: compare_digest takes no text beyond ASCII.
    return scheme.lower() == "basic" and hmac.compare_digest(credentials, login.encode())
