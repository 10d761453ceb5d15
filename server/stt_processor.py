"""Speech recognition as a session sees it: an utterance in, its text out, from the STT worker behind it.

It survives the worker's death once per utterance. It hears no silence and ends no turn; the conversation does.
"""

from dataclasses import dataclass
from typing import Literal, Self

import grpc

from server.errors import VoicefleetError
from server.observability import metrics
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.client import open_channel, wait_until_serving

Failure = Literal["busy", "unavailable", "invalid_audio", "timeout"]

_BYTES_PER_SECOND = 32_000
_START_SECONDS = 120.0  # a large model on a cold disk
_RESTART_SECONDS = 10.0
_LIST_SECONDS = 5.0
_DEADLINE_SECONDS = 10.0  # of an utterance, beside its own length

_FAILURES: dict[grpc.StatusCode, Failure] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",
    grpc.StatusCode.INVALID_ARGUMENT: "invalid_audio",
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
}


class SttError(VoicefleetError):
    """An utterance could not be recognised; `failure` says in a word why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"speech recognition failed ({failure}): {detail}")
        self.failure: Failure = failure


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. Without text, `refused_by` names the gate: silence, no_speech, log_prob or repetition."""

    text: str
    refused_by: str
    queue_seconds: float
    inference_seconds: float


class SttProcessor:
    """The gateway's one link to the STT worker at `address`; shared by all sessions."""

    def __init__(self, address: str, language: str = "", prompt: str = "") -> None:
        """`language` and `prompt` hold for utterances that bring none; where both are empty, the worker's own do."""
        self._address = address
        self._language = language
        self._prompt = prompt
        self.languages: frozenset[str] | None = None
        """ISO 639-1 codes of those that the worker understands; None: it does not say."""

    async def connect(self) -> None:
        """Wait until the worker serves, two minutes at most. Raises `SttError`."""
        self._channel = open_channel(self._address)
        self._stub = speech_pb2_grpc.SpeechToTextStub(self._channel)  # type: ignore[no-untyped-call] # generated
        if not await wait_until_serving(self._channel, _START_SECONDS):
            raise SttError("unavailable", f"no worker serves at {self._address}")
        self.languages = await self._list_languages()

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def transcribe(self, pcm: bytes, language: str = "", prompt: str = "") -> Transcript:
        """Text of 16-bit little-endian mono PCM at 16 kHz. Cancelling takes it out of the queue. Raises `SttError`.

        `language` may be several, comma-separated, of which one is detected.
        """
        request = speech_pb2.TranscribeRequest(
            pcm=pcm, language=language or self._language, prompt=prompt or self._prompt
        )
        with metrics.queue_depth.labels("stt").track_inprogress():
            try:
                reply = await self._transcribe(request)
            except SttError:
                metrics.speech_errors.labels("stt").inc()
                raise
        if reply.refused_by:
            metrics.stt_refused.labels(reply.refused_by).inc()
        if reply.batch_size:
            metrics.stt_batch_size.observe(reply.batch_size)
        return Transcript(reply.text, reply.refused_by, reply.queue_seconds, reply.inference_seconds)

    async def _list_languages(self) -> frozenset[str] | None:
        try:
            reply = await self._stub.ListLanguages(speech_pb2.ListLanguagesRequest(), timeout=_LIST_SECONDS)
        except grpc.aio.AioRpcError:  # a worker from before it could be asked
            return None
        return frozenset(reply.languages)

    async def _transcribe(self, request: speech_pb2.TranscribeRequest) -> speech_pb2.TranscribeReply:
        try:
            return await self._ask(request)
        except SttError as error:
            if error.failure != "unavailable":
                raise
        metrics.worker_retries.labels("stt").inc()
        await wait_until_serving(self._channel, _RESTART_SECONDS)
        return await self._ask(request)

    async def _ask(self, request: speech_pb2.TranscribeRequest) -> speech_pb2.TranscribeReply:
        deadline = _DEADLINE_SECONDS + len(request.pcm) / _BYTES_PER_SECOND
        try:
            reply: speech_pb2.TranscribeReply = await self._stub.Transcribe(request, timeout=deadline)
        except grpc.aio.AioRpcError as error:
            failure = _FAILURES.get(error.code(), "unavailable")
            if failure == "busy":
                metrics.queue_refused.labels("stt").inc()
            raise SttError(failure, error.details() or error.code().name) from None
        except Exception as error:
            raise SttError("unavailable", type(error).__name__) from None
        return reply
