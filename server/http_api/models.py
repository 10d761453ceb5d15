"""`GET /v1/models`: the names of what this node hears, thinks and speaks with."""

import time
from pathlib import PurePath

import msgspec
from aiohttp import web

from server.dialects.openai.session import DEFAULT_MODEL
from server.http_api.errors import ApiError
from server.settings.settings import Settings


class Models:
    """The node's models. Requests may name any other: it is mapped to these."""

    def __init__(self, settings: Settings) -> None:
        since = int(time.time())
        # Of workers that something else runs it is not known what they have.
        names = [DEFAULT_MODEL, *([] if settings.stt_address else [PurePath(settings.stt_model).name])]
        names += [] if settings.tts_address else [settings.tts]
        self._models = {
            name: {"id": name, "object": "model", "created": since, "owned_by": "voicefleet"} for name in names
        }

    async def list(self, _: web.Request) -> web.Response:
        """All of them."""
        return json_response({"object": "list", "data": list(self._models.values())})

    async def show(self, request: web.Request) -> web.Response:
        """One of them. Raises `ApiError`."""
        name = request.match_info["id"]
        if name not in self._models:
            takes = ", ".join(map(repr, self._models))
            raise ApiError(404, "model_not_found", f"model: got {name[:64]!r}; there are {takes}", "model")
        return json_response(self._models[name])


def json_response(content: object) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")
