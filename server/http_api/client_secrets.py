"""`POST /v1/realtime/client_secrets`: a short-lived key for a browser, with the settings of its session inside."""

import secrets
import time
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from server.access.client_secrets import PREFIX
from server.access.entrance import Entrance
from server.dialects.openai.beta import in_ga_names
from server.dialects.openai.session import DEFAULT_MODEL, Session
from server.dialects.openai.session_change import change_session
from server.http_api.bodies import read_json
from server.http_api.callers import CALLER
from server.http_api.errors import ApiError
from server.http_api.models import json_response
from server.limits import Limits
from server.pipeline import Parts
from server.settings.settings import Settings


class _ExpiresAfter(Struct):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600


class _Asked(Struct):
    expires_after: _ExpiresAfter = msgspec.field(default_factory=_ExpiresAfter)
    session: dict[str, Any] = msgspec.field(default_factory=dict)


class ClientSecretMaker:
    """Makes them."""

    def __init__(self, settings: Settings, parts: Parts, entrance: Entrance) -> None:
        self._settings = settings
        self._limits = Limits.of(settings)
        self._abilities = parts.abilities(settings)
        self._entrance = entrance

    async def make(self, request: web.Request) -> web.Response:
        """A new one. Raises `ApiError` and what `change_session` does."""
        caller = request[CALLER]
        if caller.session:
            raise ApiError(403, "client_secret", f"an {PREFIX} key makes no other one; takes an API key or a token")
        asked = await read_json(request, _Asked)
        session_id = f"sess_{secrets.token_hex(8)}"
        base = Session(id=session_id, model=DEFAULT_MODEL, instructions=self._settings.instructions)
        session = change_session(base, in_ga_names(asked.session, "session"), self._abilities, self._limits)
        encoded = msgspec.json.encode(session)
        expires_at = int(time.time()) + asked.expires_after.seconds
        value = self._entrance.client_secrets.make(caller.principal, encoded, expires_at)
        response = json_response({"value": value, "expires_at": expires_at, "session": session.shown()})
        response.headers["Cache-Control"] = "no-store"
        return response
