"""The speech recognition worker: `python -m server.workers.stt_worker --address unix:PATH`.

A gRPC shell around `Recognizer`: it turns requests into calls and errors into status codes, nothing more.
"""

import asyncio

import grpc

from server.models.store import ModelStore
from server.settings.settings import Settings
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.batching import QueueFull
from server.workers.engines.utterance import InvalidAudio
from server.workers.engines.whisper import UnknownLanguage, WhisperEngine
from server.workers.recognizer import Recognizer
from server.workers.serving import THREADS, Access, main, serve


class SpeechToText(speech_pb2_grpc.SpeechToTextServicer):
    """The service of `speech.proto`."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer

    async def Transcribe(
        self,
        request: speech_pb2.TranscribeRequest,
        context: "grpc.aio.ServicerContext[speech_pb2.TranscribeRequest, speech_pb2.TranscribeReply]",
    ) -> speech_pb2.TranscribeReply:
        """One utterance in, its text out."""
        try:
            transcript = await self._recognizer.transcribe(request.pcm, request.language, request.prompt)
        except (InvalidAudio, UnknownLanguage) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except QueueFull as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        return speech_pb2.TranscribeReply(
            text=transcript.text,
            refused_by=transcript.refused_by,
            queue_seconds=transcript.queue_seconds,
            inference_seconds=transcript.inference_seconds,
            batch_size=transcript.batch_size,
        )


async def run(settings: Settings, address: str, access: Access | None = None) -> None:
    """Load the model and serve it until told to stop."""
    folder = ModelStore.from_settings(settings).verified(settings.stt_model)
    engine = WhisperEngine(folder, settings.stt_device, threads=THREADS)
    recognizer = Recognizer(engine, settings.stt_language, settings.stt_prompt)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(SpeechToText(recognizer), server)  # type: ignore[no-untyped-call] # generated

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(recognizer.run())
        await serve(address, register, recognizer.warm_up, access=access)
        working.cancel()


if __name__ == "__main__":
    main(__doc__, run)
