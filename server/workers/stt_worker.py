"""The speech recognition worker: `python -m server.workers.stt_worker --address unix:PATH`.

A gRPC shell around `Recognizer`: it turns requests into calls and errors into status codes, nothing more.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import grpc
import structlog

from server.audio.log_mel import SAMPLE_RATE
from server.errors import VoicefleetError, first_of
from server.models.catalogue import STT_MODEL_TAKES, STT_MODELS
from server.models.store import ModelStore
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.engines.faster_whisper import FasterWhisperEngine
from server.workers.engines.recognition import UnknownLanguage
from server.workers.engines.utterance import MAX_SECONDS, InvalidAudio
from server.workers.engines.whisper import WhisperEngine
from server.workers.fair_queue import QueueFull
from server.workers.preflight import check_stt
from server.workers.recognizer import Recognizer, SpeechEngine
from server.workers.serving import THREADS, Access, main, serve

MAX_MESSAGE_BYTES = MAX_SECONDS * 2 * SAMPLE_RATE + 64 * 1024
"""The longest utterance, and room for a prompt."""

log = structlog.get_logger(__name__)


class SpeechToText(speech_pb2_grpc.SpeechToTextServicer):
    """The service of `speech.proto`."""

    def __init__(self, recognizer: Recognizer, languages: Sequence[str]) -> None:
        self._recognizer = recognizer
        self._languages = languages

    async def Transcribe(
        self,
        request: speech_pb2.TranscribeRequest,
        context: "grpc.aio.ServicerContext[speech_pb2.TranscribeRequest, speech_pb2.TranscribeReply]",
    ) -> speech_pb2.TranscribeReply:
        """One utterance in, its text out."""
        try:
            call = request.call or context.peer()
            heard = request.pcm, request.language, request.prompt, call
            if request.early:
                transcript = await self._recognizer.glimpse(*heard)
            else:
                transcript = await self._recognizer.transcribe(
                    *heard,
                    fragment=request.fragment,
                    thorough=request.thorough,
                    probabilities=request.probabilities,
                )
        except (InvalidAudio, UnknownLanguage) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except QueueFull as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except Exception as error:  # of the model's libraries, whose words are for nobody
            log.error("recognition_failed", error=type(error).__name__)  # noqa: TRY400  # a traceback may hold words
            await context.abort(grpc.StatusCode.INTERNAL, "the recogniser failed at this utterance")
        return speech_pb2.TranscribeReply(
            text=transcript.text,
            refused_by=transcript.refused_by,
            queue_seconds=transcript.queue_seconds,
            inference_seconds=transcript.inference_seconds,
            batch_size=transcript.batch_size,
            sure=transcript.sure,
            tokens=(
                speech_pb2.Token(text=token.text, log_probability=token.log_probability) for token in transcript.tokens
            ),
        )

    async def ListLanguages(
        self,
        request: speech_pb2.ListLanguagesRequest,
        context: "grpc.aio.ServicerContext[speech_pb2.ListLanguagesRequest, speech_pb2.ListLanguagesReply]",
    ) -> speech_pb2.ListLanguagesReply:
        """Every language that an utterance may be in."""
        return speech_pb2.ListLanguagesReply(languages=self._languages)


_ENGINES: Mapping[str, Callable[..., SpeechEngine]] = {
    "whisper": WhisperEngine,
    "faster-whisper": FasterWhisperEngine,
}


def load_engine(settings: Settings) -> SpeechEngine:
    """The settings' model, checked and loaded. Raises `SettingsError` where it is not what they want of it."""
    check_stt(settings)
    folder = ModelStore.from_settings(settings).verified(settings.stt_model)
    try:
        engine = _ENGINES[settings.stt_engine](folder, settings.stt_device, parallel=THREADS)
    except Exception as error:  # of two libraries, each with its own
        if settings.stt_model in STT_MODELS:
            raise
        # A folder of the user's own, whose content nobody has checked.
        raise SettingsError(
            f"VOICE_STT_MODEL: got {settings.stt_model!r}, which can't be loaded ({error}); takes {STT_MODEL_TAKES}"
        ) from None
    try:
        engine.check_language(settings.stt_language)
    except UnknownLanguage as error:
        raise SettingsError(f"VOICE_STT_LANGUAGE: {error}") from None
    return engine


async def run(settings: Settings, address: str, access: Access | None = None) -> None:
    """Load the model and serve it until told to stop."""
    engine = load_engine(settings)
    recognizer = Recognizer(engine, settings.stt_language, settings.stt_prompt)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(SpeechToText(recognizer, engine.languages), server)  # type: ignore[no-untyped-call] # generated

    with first_of(VoicefleetError):
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(recognizer.run())
            await serve(address, register, recognizer.warm_up, access=access, max_message_bytes=MAX_MESSAGE_BYTES)
            working.cancel()


if __name__ == "__main__":
    main(__doc__, run)
