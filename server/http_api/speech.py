"""`POST /v1/audio/speech`: a text spoken by the voice that calls have, sent while it is being made."""

import time
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta, Struct

from server.access.admission import Admission
from server.audio.formats import AudioFormat, Encoder
from server.audio.wav import wav_header
from server.dialects.openai.session import voice_name
from server.http_api.bodies import read_json
from server.http_api.callers import CALLER
from server.http_api.errors import ApiError
from server.http_api.streams import EVENT_STREAM, begin
from server.llm.clauses import ClauseCutter, pause_after
from server.tts_processor import TtsProcessor

_MOST_CHARACTERS = 4096
_FORMAT = AudioFormat.of("audio/pcm", 24_000)


class _Asked(Struct):
    """The fields that have a meaning here; clients send more of them (a model's name, instructions)."""

    input: Annotated[str, Meta(max_length=_MOST_CHARACTERS)]
    voice: str | dict[str, Any] = ""
    response_format: Literal["wav", "pcm", "mp3", "opus", "aac", "flac"] = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"

    @property
    def is_raw(self) -> bool:
        return self.response_format == "pcm"

    @property
    def in_events(self) -> bool:
        """Whether the audio goes into events. WAV in the place of another format never does: it has to be declared."""
        return self.stream_format == "sse" and self.response_format in ("wav", "pcm")


class SpeechMaker:
    """Speaks texts, clause by clause."""

    def __init__(self, tts: TtsProcessor, admission: Admission) -> None:
        self._tts = tts
        self._admission = admission

    async def speak(self, request: web.Request) -> web.StreamResponse:
        """The audio, from its first chunk on. Raises `ApiError`, `TtsError`, ..."""
        asked = await read_json(request, _Asked)
        with self._admission.admit(request[CALLER].principal, "speech"):
            async with aclosing(self._audio(asked)) as audio:
                first = await anext(audio, None)
                if first is None:
                    raise ApiError(400, "invalid_value", "input: holds nothing that the voice can say", "input")
                if asked.in_events:
                    return await _in_events(request, first, audio)
                stream = await begin(request, "audio/pcm" if asked.is_raw else "audio/wav")
                await stream.send(first)
                async for chunk in audio:
                    await stream.send(chunk)
                return await stream.end()

    async def _audio(self, asked: _Asked) -> AsyncGenerator[bytes, None]:
        """What the client gets, in chunks."""
        encoder = Encoder(_FORMAT, self._tts.sample_rate)
        begun = False
        async with aclosing(self._pcm(asked)) as chunks:
            async for pcm in chunks:
                if audio := encoder.encode(pcm):
                    yield audio if begun or asked.is_raw else wav_header(_FORMAT.rate) + audio
                    begun = True
        if begun:
            yield encoder.flush()

    async def _pcm(self, asked: _Asked) -> AsyncGenerator[bytes, None]:
        """What the voice says, with pauses.

        All but the beginning is needed no sooner than a listener would come to it: it is made at once where the voice
        has time, and never before a call's audio that is due.
        """
        tts, cutter = self._tts.session(), ClauseCutter()
        rate, needed_at, pause = tts.sample_rate, 0.0, b""
        for clause in [*cutter.push(asked.input), *cutter.flush()]:
            async with aclosing(
                tts.synthesize(clause, voice_name(asked.voice), asked.speed, needed_at=needed_at)
            ) as audio:
                async for pcm in audio:
                    chunk, pause = pause + pcm, b""
                    needed_at = max(needed_at, time.monotonic()) + len(chunk) / 2 / rate
                    yield chunk
            pause = bytes(2 * round(pause_after(clause) * rate)) if needed_at else b""


async def _in_events(request: web.Request, first: bytes, audio: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    stream = await begin(request, EVENT_STREAM)
    await stream.event(_delta(first))
    async for chunk in audio:
        await stream.event(_delta(chunk))
    await stream.event({"type": "speech.audio.done"})
    return await stream.end()


def _delta(chunk: bytes) -> dict[str, str]:
    return {"type": "speech.audio.delta", "audio": b64encode(chunk).decode()}
