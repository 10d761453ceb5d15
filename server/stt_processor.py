"""Speech recognition as a session sees it: an utterance in, its text out, from the STT worker behind it.

It survives the worker's death once per utterance, and lets no session send it more than a few utterances at a time. It
hears no silence and ends no turn; the conversation does.
"""

import asyncio
import math
import secrets
from dataclasses import dataclass
from typing import Literal, Self

import grpc

from server.conversation.events import Token
from server.errors import VoicefleetError
from server.limits import Limits
from server.observability import metrics
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.client import open_channel, wait_until_serving
from server.workers.engines.utterance import LONGEST_PROMPT, MAX_SECONDS

Failure = Literal["busy", "unavailable", "invalid_audio", "timeout"]

_BYTES_PER_SECOND = 32_000
_START_SECONDS = 120.0  # a large model on a cold disk
_RESTART_SECONDS = 10.0
_LIST_SECONDS = 5.0
_DEADLINE_SECONDS = 10.0  # of an utterance, beside its own length

_AT_ONCE = 2  # utterances of a session: one, and one that begins on the chance that the first goes on
_SHORTEST_SECONDS = 15.0  # what the shortest utterance costs as much as (`Window.cost`)

# What a worker may say, with room to spare: nobody speaks more than thirty characters a second.
_GATES = frozenset({"", "silence", "no_speech", "log_prob", "repetition"})
_CHARACTERS = 1000
_CHARACTERS_PER_SECOND = 100
_MOST_BYTES_OF_A_CHARACTER = 4
_LARGEST_BATCH = 1024
_LANGUAGES = 1000
_LANGUAGE_CHARACTERS = 16
_DETAIL_CHARACTERS = 200

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
    """What was said. Without text, `refused_by` names the gate: silence, no_speech, log_prob or repetition.

    `sure`, of a glimpse: to recognise the same audio with more time would find the same. `tokens` are the text's, if
    their probabilities were asked for and the worker's engine knows them.
    """

    text: str
    refused_by: str
    queue_seconds: float
    inference_seconds: float
    sure: bool
    tokens: tuple[Token, ...] = ()


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

    def session(self, max_waiting_seconds: float = Limits.max_waiting_audio_seconds) -> "SttSession":
        """A new session's way to the worker, with room for so much audio that waits."""
        return SttSession(self, max_waiting_seconds)

    async def transcribe(
        self,
        pcm: bytes,
        language: str = "",
        prompt: str = "",
        call: str = "",
        fragment: bool = False,
        thorough: bool = False,
        probabilities: bool = False,
    ) -> Transcript:
        """Text of 16-bit little-endian mono PCM at 16 kHz. Cancelling takes it out of the queue. Raises `SttError`.

        `language` may be several, comma-separated, of which one is detected. `call` is whose share of the worker it
        takes; empty: that of this gateway. A `fragment` is what is heard so far of a voice that goes on.
        `thorough`: a glimpse of nearly the same audio was not sure. `probabilities`: those of the text's tokens are
        wanted, too.
        """
        request = self._request(pcm, language, prompt, call)
        request.fragment, request.thorough, request.probabilities = fragment, thorough, probabilities
        with metrics.queue_depth.labels("stt").track_inprogress():
            try:
                reply = await self._transcribe(request)
            except SttError as error:
                metrics.speech_errors.labels("stt").inc()
                if error.failure == "busy":
                    metrics.queue_refused.labels("stt").inc()
                raise
        if reply.refused_by:
            metrics.stt_refused.labels(reply.refused_by).inc()
        if reply.batch_size:
            metrics.stt_batch_size.observe(reply.batch_size)
        return _transcript(reply)

    async def glimpse(self, pcm: bytes, language: str, prompt: str, call: str) -> Transcript | None:
        """As `transcribe`, but at once and less surely; None where that can't be: the first to go under load."""
        try:
            request = self._request(pcm, language, prompt, call)
            request.early = True
            reply = await self._ask(request)
        except SttError as error:
            metrics.early_words.labels(error.failure).inc()
            return None
        metrics.early_words.labels("heard").inc()
        return _transcript(reply)

    def _request(self, pcm: bytes, language: str, prompt: str, call: str) -> speech_pb2.TranscribeRequest:
        language, prompt = language or self._language, (prompt or self._prompt)[-LONGEST_PROMPT:]
        return speech_pb2.TranscribeRequest(pcm=pcm, language=language, prompt=prompt, call=call)

    async def _list_languages(self) -> frozenset[str] | None:
        try:
            reply = await self._stub.ListLanguages(speech_pb2.ListLanguagesRequest(), timeout=_LIST_SECONDS)
        except grpc.aio.AioRpcError:  # a worker from before it could be asked
            return None
        return frozenset(code for code in reply.languages[:_LANGUAGES] if len(code) <= _LANGUAGE_CHARACTERS)

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
        seconds = len(request.pcm) / _BYTES_PER_SECOND
        if seconds > MAX_SECONDS:  # it would not fit into a message
            raise SttError("invalid_audio", f"got {seconds:.0f} s of audio; an utterance takes {MAX_SECONDS} s at most")
        try:
            reply: speech_pb2.TranscribeReply = await self._stub.Transcribe(
                request, timeout=_DEADLINE_SECONDS + seconds
            )
        except grpc.aio.AioRpcError as error:
            raise _stt_error(error) from None
        except Exception as error:
            raise SttError("unavailable", type(error).__name__) from None
        if not _is_possible(reply, seconds):
            raise SttError("unavailable", "the worker gave an answer that can't be")
        return reply


class SttSession:
    """One session's utterances on their way to the worker: two at a time, the rest in a queue of the session's own."""

    def __init__(self, processor: SttProcessor, max_waiting_seconds: float) -> None:
        self._processor = processor
        self._max_waiting_seconds = max_waiting_seconds
        self._call = secrets.token_hex(8)
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._waiting_seconds = 0.0

    async def transcribe(
        self,
        pcm: bytes,
        language: str = "",
        prompt: str = "",
        fragment: bool = False,
        thorough: bool = False,
        probabilities: bool = False,
    ) -> Transcript:
        """As `SttProcessor.transcribe`; `busy` where too much of the session's audio waits already."""
        seconds = max(_SHORTEST_SECONDS, len(pcm) / _BYTES_PER_SECOND)
        if self._room.locked() and self._waiting_seconds + seconds > self._max_waiting_seconds:
            metrics.limits_met.labels("max_waiting_audio_seconds").inc()
            metrics.queue_refused.labels("stt").inc()
            metrics.speech_errors.labels("stt").inc()
            raise SttError("busy", f"{self._waiting_seconds:.0f} s of this call's audio are waiting already")
        self._waiting_seconds += seconds
        try:
            with metrics.queue_depth.labels("stt").track_inprogress():
                await self._room.acquire()
        finally:
            self._waiting_seconds -= seconds
        try:
            return await self._processor.transcribe(
                pcm, language, prompt, self._call, fragment, thorough, probabilities
            )
        finally:
            self._room.release()

    async def glimpse(self, pcm: bytes, language: str = "", prompt: str = "") -> Transcript | None:
        """As `SttProcessor.glimpse`; None also where this call has enough to be recognised already."""
        return None if self._room.locked() else await self._processor.glimpse(pcm, language, prompt, self._call)


def _stt_error(error: grpc.aio.AioRpcError) -> SttError:
    """What the worker says of itself is for its operator, what it says of the request is for whoever made it."""
    failure = _FAILURES.get(error.code(), "unavailable")
    if failure == "unavailable":
        return SttError(failure, f"the worker answered {error.code().name}")
    return SttError(failure, (error.details() or error.code().name)[:_DETAIL_CHARACTERS])


def _transcript(reply: speech_pb2.TranscribeReply) -> Transcript:
    tokens = tuple(Token(token.text, token.log_probability) for token in reply.tokens)
    return Transcript(reply.text, reply.refused_by, reply.queue_seconds, reply.inference_seconds, reply.sure, tokens)


def _is_possible(reply: speech_pb2.TranscribeReply, seconds: float) -> bool:
    """Whether so long an utterance can have had that answer."""
    most = _CHARACTERS + _CHARACTERS_PER_SECOND * seconds
    return (
        len(reply.text) <= most
        and len(reply.tokens) + sum(len(token.text) for token in reply.tokens) <= _MOST_BYTES_OF_A_CHARACTER * most
        and all(math.isfinite(token.log_probability) and token.log_probability <= 0 for token in reply.tokens)
        and reply.refused_by in _GATES
        and all(math.isfinite(cost) and cost >= 0 for cost in (reply.queue_seconds, reply.inference_seconds))
        and reply.batch_size <= _LARGEST_BATCH
    )
