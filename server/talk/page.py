"""The talk page's HTTP side: its files, and the address and the pass with which it calls the node.

It is served beside /health, on connections that are few and short; the call itself is a WebSocket as any other. Where
callers need no key, any page in a browser on this machine could ask here; so only loopback's own names are answered to,
and a name that was rebound to 127.0.0.1 is none. A pass is given to the node's own page only.
"""

import re
from collections.abc import Callable, Collection, Mapping
from importlib.resources import files
from pathlib import PurePath
from typing import Literal, Protocol, get_args
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from server.access.auth import InvalidCredentials, credential_from
from server.addresses import is_loopback
from server.conversation.config import Speculation

log = structlog.get_logger(__name__)

PATH = "/talk"
_TOKEN_PATH = f"{PATH}/token"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


def is_of_page(path: str) -> bool:
    """Whether the page has an answer to requests for that path."""
    return path == PATH or path.startswith(f"{PATH}/")


class Reception(Protocol):
    """Who lets callers in."""

    def give_pass(self, credential: str | None) -> str | None:
        """A pass for whoever shows `credential`; None where nobody needs one. Raises `InvalidCredentials`."""
        ...

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of that origin may call."""
        ...


class TalkPage:
    """The page of a node that takes calls at `path` on `port`, by `scheme`.

    `voices` are the names to choose from, `speculation` is the most that a session may choose. `needs_key`: callers
    have to show a key or a token.
    """

    def __init__(
        self,
        reception: Reception,
        scheme: Literal["ws", "wss"],
        port: int,
        path: str,
        voices: Callable[[], Collection[str]],
        speculation: Speculation,
        needs_key: bool,
    ) -> None:
        self._reception = reception
        self._scheme = scheme
        self._port = port
        self._path = path
        self._voices = voices
        levels: tuple[Speculation, ...] = get_args(Speculation)
        self._speculation = levels[: levels.index(speculation) + 1]
        self._needs_key = needs_key
        self._files = _read_files()

    def answer(self, request: web.BaseRequest) -> web.Response:
        """The answer to a request of the page's; `is_of_page` is true of its path."""
        host = _HOST.fullmatch(_host_of(request))
        if host is None:
            return _refusal(400, "the Host header is no host's name")
        if not (self._needs_key or is_loopback(host["name"].strip("[]"))):
            return _refusal(421, "this node takes no keys, so its page is for localhost only; open it by that name")
        call = self._call_address(request, host["name"])
        if request.path == _TOKEN_PATH:
            return self._token(request, call)
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "this address takes GET and HEAD", {"Allow": "GET, HEAD"})
        if request.path not in self._files:
            return _refusal(404, "the talk page has no such file")
        content_type, body = self._files[request.path]
        return web.Response(
            body=body,
            content_type=content_type,
            charset="utf-8",
            headers=_HEADERS | {"Content-Security-Policy": _policy(call)},
        )

    def _call_address(self, request: web.BaseRequest, host: str) -> str:
        """Where the page is to call: the same host, as the browser knows it."""
        if request.headers.get("X-Forwarded-Proto") == "https":  # a proxy has the certificate, and one name for all
            return f"wss://{_host_of(request)}{self._path}"
        return f"{self._scheme}://{host}:{self._port}{self._path}"

    def _token(self, request: web.BaseRequest, call: str) -> web.Response:
        if request.method != "POST":
            return _refusal(405, "this address takes POST", {"Allow": "POST"})
        origin = request.headers.get("Origin")  # a browser always says it here
        if origin is not None and _server_of(origin) != _host_of(request):
            return _refused("origin", 403, "this is for the node's own page")
        if origin is not None and not self._reception.allows_origin(origin):
            return _refused("origin", 403, f"pages of {origin} may not call; VOICE_ALLOWED_ORIGINS has to name it")
        try:
            token = self._reception.give_pass(credential_from(request.headers, ()))
        except InvalidCredentials as error:
            return _refused(error.reason, 401, str(error), {"WWW-Authenticate": "Bearer"})
        choices = {"voices": sorted(self._voices()), "speculation": self._speculation}
        return web.json_response({"url": call, "token": token} | choices, headers=_HEADERS)


def _host_of(request: web.BaseRequest) -> str:
    """What the browser takes this server to be; aiohttp would look a missing one up."""
    return request.headers.get("Host", "").lower()


def _read_files() -> Mapping[str, tuple[str, bytes]]:
    """Each file's path, content type and content; small enough to be kept."""
    found = {
        f"{PATH}/{file.name}": (_TYPES[suffix], file.read_bytes())
        for file in files(__package__).iterdir()
        if (suffix := PurePath(file.name).suffix) in _TYPES
    }
    return {PATH: found[f"{PATH}/index.html"]} | found


def _policy(call: str) -> str:
    """Nothing but the page's own files runs or is shown, and it talks to this node only."""
    server = urlsplit(call)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' {server.scheme}://{server.netloc}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _server_of(origin: str) -> str:
    """Host and port of an origin, as a `Host` header names them; empty if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _refused(reason: str, status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    log.info("talk_refused", reason=reason, status=status)
    return _refusal(status, text, headers)


def _refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=_HEADERS | dict(headers or {}))
