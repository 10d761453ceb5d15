"""Reading what a client sends: JSON, and forms with a file, with bounds on their size, their parts and their time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web

from server.dialects.accepted import accepted_values
from server.http_api.errors import ApiError
from server.observability import metrics

_BODY_SECONDS = 60.0
_MOST_PARTS = 64
_MOST_FIELD_BYTES = 65_536
_MOST_HELD_BYTES = 536_870_912  # of recordings, on the whole node

_T = TypeVar("_T")


async def read_json(request: web.Request, type: type[_T]) -> _T:
    """The body of a request, which is JSON. Raises `ApiError`, `TimeoutError` and `web.HTTPException`."""
    async with asyncio.timeout(_BODY_SECONDS):
        body = await request.read()
    try:
        return msgspec.json.decode(body or b"{}", type=type)
    except msgspec.ValidationError as error:
        raise _explained(error, type) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ApiError(400, "invalid_json", "the body is not JSON") from None


def read_fields(fields: Mapping[str, str], type: type[_T]) -> _T:
    """What the fields of a form say. Raises `ApiError`."""
    try:
        return msgspec.convert(fields, type, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(error, type) from None


@dataclass(slots=True)
class Form:
    """A form's fields by their names, and the file in it.

    The values of a list, whose fields are named `NAME[]`, are joined by commas as `NAME`.
    """

    fields: dict[str, str] = field(default_factory=dict)
    file: bytearray | None = None
    filename: str = ""
    size: int = 0
    """Bytes of all parts."""


class Uploads:
    """Reads forms of up to `most_bytes` each. All that are held at once have a bound too."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = 0

    @asynccontextmanager
    async def form(self, request: web.Request) -> AsyncIterator[Form]:
        """The form of a request, until the block ends. Raises `ApiError` and `TimeoutError`."""
        form = Form()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                await self._read(request, form)
            yield form
        finally:
            self._hold(-form.size)

    async def _read(self, request: web.Request, form: Form) -> None:
        try:
            reader = await request.multipart()
            for _ in range(_MOST_PARTS):
                part = await reader.next()
                if part is None:
                    return
                await self._read_part(part, form)
        except (ValueError, AssertionError):  # aiohttp's words for what is no form
            raise ApiError(400, "invalid_form", "the body is not multipart/form-data") from None
        raise ApiError(400, "invalid_form", f"the form has too many parts; takes at most {_MOST_PARTS}")

    async def _read_part(self, part: BodyPartReader | MultipartReader, form: Form) -> None:
        if isinstance(part, MultipartReader) or not part.name:
            raise ApiError(400, "invalid_form", "a part of the form has no name, or parts of its own; takes neither")
        most = self._most_bytes if part.filename is not None else _MOST_FIELD_BYTES
        content = bytearray()
        while piece := await part.read_chunk():
            content += piece
            form.size += len(piece)
            self._hold(len(piece))
            if len(content) > most or form.size > self._most_bytes:
                raise ApiError(
                    413, "request_too_large", f"{part.name[:64]}: takes at most {most:,} bytes", part.name[:64]
                )
        if part.filename is None:
            name, value = part.name.removesuffix("[]"), content.decode("utf-8", "replace")
            before = form.fields.get(name) if name != part.name else None
            form.fields[name] = f"{before}, {value}" if before else value
        else:
            form.file, form.filename = content, part.filename

    def _hold(self, n_bytes: int) -> None:
        self._held += n_bytes
        metrics.http_upload_bytes.set(self._held)
        if n_bytes > 0 and self._held > _MOST_HELD_BYTES:
            raise ApiError(503, "full", "too many recordings are being transcribed", headers={"Retry-After": "5"})


def _explained(error: msgspec.ValidationError, asked: type) -> ApiError:
    """msgspec says what it expected and where, and never more than a word of what it got."""
    message, _, path = str(error).partition(" - at ")
    path = path.strip("`")
    param = path.removeprefix("$").removeprefix(".")
    choices = accepted_values(asked, path)
    takes = f"; takes {' or '.join(choices)}" if param and choices else ""
    return ApiError(400, "invalid_value", f"{param}: {message}{takes}" if param else message, param or None)
