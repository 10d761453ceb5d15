"""`POST /v1/audio/transcriptions`: what is said in a recording, by the recogniser that calls have."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from msgspec import Struct

from server.access.admission import Admission
from server.dialects.languages import language_code
from server.http_api.bodies import Uploads, read_fields
from server.http_api.callers import CALLER
from server.http_api.errors import ApiError
from server.http_api.models import json_response
from server.http_api.recordings import Recording
from server.http_api.streams import EVENT_STREAM, begin
from server.pipeline import Parts
from server.settings.settings import Settings


class _Asked(Struct):
    """The fields that have a meaning here; clients send more of them (a model's name, a temperature)."""

    language: str = ""
    languages: str = ""
    prompt: str = ""
    keywords: str = ""
    response_format: Literal["json", "text", "verbose_json"] = "json"
    stream: bool = False


@dataclass(frozen=True, slots=True)
class _Segment:
    """A recognised utterance; times are seconds."""

    start: float
    end: float
    text: str


class Transcriber:
    """Recognises recordings, each utterance after the other."""

    def __init__(self, settings: Settings, parts: Parts, admission: Admission) -> None:
        self._parts = parts
        self._admission = admission
        self._uploads = Uploads(settings.max_upload_bytes)
        self._language = settings.stt_language

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """The transcript, or what there is of it as soon as it is there. Raises `ApiError`, `SttError`, ..."""
        with self._admission.admit(request[CALLER].principal, "transcription"):
            async with self._uploads.form(request) as form:
                asked = read_fields(form.fields, _Asked)
                if form.file is None:
                    raise ApiError(400, "invalid_value", "file: got none; takes a recording, as a file", "file")
                recording, language = Recording(form.file, form.filename), self._languages(asked)
                vocabulary = ", ".join(filter(None, [asked.prompt, asked.keywords]))
                async with aclosing(self._segments(recording, language, vocabulary)) as segments:
                    if asked.stream:
                        return await _streamed(request, segments, recording)
                    found = [segment async for segment in segments]
        text = " ".join(segment.text for segment in found)
        if asked.response_format == "text":
            return web.Response(text=text + "\n")
        answer: dict[str, Any] = {"text": text, "usage": _usage(recording)}
        if asked.response_format == "verbose_json":
            answer |= {
                "task": "transcribe",
                "language": language or self._language,
                "duration": round(recording.seconds, 3),
                "segments": [
                    {"id": number, "start": segment.start, "end": segment.end, "text": segment.text}
                    for number, segment in enumerate(found)
                ],
            }
        return json_response(answer)

    def _languages(self, asked: _Asked) -> str:
        """The codes of the languages that may be spoken, comma-separated; none: as the node is set."""
        named = [asked.language, *asked.languages.split(",")]
        codes = list(dict.fromkeys(filter(None, map(language_code, named))))
        understood = self._parts.stt.languages
        for code in codes:
            if understood is not None and code not in understood:
                takes = ", ".join(map(repr, sorted(understood)))
                raise ApiError(400, "invalid_value", f"language: got {code[:16]!r}; takes {takes}", "language")
        return ",".join(codes)

    async def _segments(self, recording: Recording, language: str, prompt: str) -> AsyncGenerator[_Segment, None]:
        stt = self._parts.stt.session()
        async with aclosing(recording.utterances(self._parts.vad)) as utterances:
            async for utterance in utterances:
                transcript = await stt.transcribe(utterance.pcm, language, prompt)
                if transcript.text:
                    yield _Segment(utterance.start, min(utterance.end, round(recording.seconds, 3)), transcript.text)


async def _streamed(
    request: web.Request, segments: AsyncGenerator[_Segment, None], recording: Recording
) -> web.StreamResponse:
    stream = await begin(request, EVENT_STREAM)
    text = ""
    async for segment in segments:
        delta = f" {segment.text}" if text else segment.text
        text += delta
        await stream.event({"type": "transcript.text.delta", "delta": delta})
    await stream.event({"type": "transcript.text.done", "text": text, "usage": _usage(recording)})
    return await stream.end()


def _usage(recording: Recording) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(recording.seconds, 3)}
