"""The speech synthesis worker: `python -m server.workers.tts_worker --address unix:PATH`.

A gRPC shell around a `TtsEngine`: it turns requests into calls and errors into status codes, nothing more.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import grpc
import structlog

from server.models.catalogue import TTS_MODELS
from server.models.store import ModelStore
from server.settings.settings import Settings
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.engine import (
    EngineBusy,
    EngineFailed,
    EngineMissing,
    Progress,
    TtsEngine,
    UnknownVoice,
    Unspeakable,
    UnusableProgress,
)
from server.workers.engines.hibari import HibariEngine
from server.workers.preflight import check_tts
from server.workers.serving import THREADS, Access, in_own_thread, main, serve

_BYTES_PER_SAMPLE = 2
_STREAMS_PER_CALL = 2  # one that ends and one that begins
_EARLIEST_SECONDS = 60.0  # before its audio is needed

log = structlog.get_logger(__name__)


class TextToSpeech(speech_pb2_grpc.TextToSpeechServicer):
    """The service of `speech.proto`."""

    def __init__(self, engine: TtsEngine) -> None:
        self._engine = engine
        self._streams: Counter[str] = Counter()  # of each call that has any

    async def Synthesize(
        self,
        request: speech_pb2.SynthesizeRequest,
        context: "grpc.aio.ServicerContext[speech_pb2.SynthesizeRequest, speech_pb2.AudioChunk]",
    ) -> AsyncIterator[speech_pb2.AudioChunk]:
        """Text in, audio out; leaving early closes the engine's generator, which frees its slot."""
        if not 0.0 <= request.needed_in_seconds <= _EARLIEST_SECONDS:
            takes = f"needed_in_seconds: got {request.needed_in_seconds}; takes 0 to {_EARLIEST_SECONDS}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, takes)
        told = request.progress
        if told.samples > request.skip_samples:
            begins = f"progress: got a piece that begins after {told.samples} samples; takes {request.skip_samples}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, begins)
        progress = Progress(told.piece, told.samples, tuple(told.tokens), heard=request.skip_samples)
        skip = (request.skip_samples - told.samples) * _BYTES_PER_SAMPLE
        try:
            async with aclosing(self._speech(request, progress)) as chunks:
                async for pcm in chunks:
                    if len(pcm) > skip:
                        yield speech_pb2.AudioChunk(pcm=pcm[skip:], progress=_told(progress))
                    skip = max(0, skip - len(pcm))
        except Unspeakable:
            return
        except (UnknownVoice, UnusableProgress) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except EngineBusy as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except EngineFailed as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        except Exception as error:  # of the engine's libraries, whose words are for nobody; the next text may be better
            log.error("clause_failed", error=type(error).__name__)  # noqa: TRY400  # a traceback may hold words
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the engine can't say this text")

    async def _speech(self, request: speech_pb2.SynthesizeRequest, progress: Progress) -> AsyncGenerator[bytes, None]:
        """What the engine says. Raises what it does, and `EngineBusy` where the call has its share already."""
        if request.call and self._streams[request.call] >= _STREAMS_PER_CALL:
            raise EngineBusy(f"{_STREAMS_PER_CALL} clauses are spoken for this call already")
        self._streams[request.call] += 1
        try:
            speech = self._engine.synthesize(
                request.text, request.voice, request.speed or 1.0, request.needed_in_seconds, progress
            )
            async with aclosing(speech) as chunks:
                async for pcm in chunks:
                    yield pcm
        finally:
            self._streams[request.call] -= 1
            self._streams += Counter()  # which forgets those that have none

    async def ListVoices(
        self,
        request: speech_pb2.ListVoicesRequest,
        context: "grpc.aio.ServicerContext[speech_pb2.ListVoicesRequest, speech_pb2.ListVoicesReply]",
    ) -> speech_pb2.ListVoicesReply:
        """What the engine is, which voices it has, and how many streams it can speak."""
        return speech_pb2.ListVoicesReply(
            engine=self._engine.name,
            sample_rate=self._engine.sample_rate,
            streams=self._engine.streams(),
            voices=[
                speech_pb2.Voice(
                    name=voice.name,
                    language=voice.language,
                    description=voice.description,
                    is_default=voice.is_default,
                )
                for voice in self._engine.voices()
            ],
        )


def _told(progress: Progress) -> speech_pb2.Progress | None:
    """None of an engine that keeps none."""
    if not progress.tokens:
        return None
    return speech_pb2.Progress(piece=progress.piece, samples=progress.samples, tokens=progress.tokens)


def load_engine(settings: Settings) -> TtsEngine:
    """The engine that `settings.tts` names, its model checked and loaded."""
    check_tts(settings)
    folder = ModelStore.from_settings(settings).verified(TTS_MODELS[settings.tts])
    if settings.tts == "chatterbox":
        return _chatterbox(settings, folder)
    return HibariEngine(folder / "hibari.onnx", threads=THREADS)


def _chatterbox(settings: Settings, folder: Path) -> TtsEngine:
    try:
        from server.workers.engines.chatterbox.loading import chatterbox_engine  # noqa: PLC0415 # it brings torch along
    except ModuleNotFoundError as error:
        raise EngineMissing("chatterbox", error.name) from None
    return chatterbox_engine(settings, folder)


async def run(settings: Settings, address: str, access: Access | None = None) -> None:
    """Load the voice and serve it until told to stop."""
    engine = await in_own_thread(load_engine, settings)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_TextToSpeechServicer_to_server(TextToSpeech(engine), server)  # type: ignore[no-untyped-call] # generated

    try:
        await serve(address, register, engine.warm_up, engine.healthy, access)
    finally:
        await engine.close()


if __name__ == "__main__":
    main(__doc__, run)
