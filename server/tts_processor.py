"""Speech synthesis as a session sees it: a clause in, its audio out, from the TTS worker behind it.

It survives the worker's death once per clause without a gap or a doubled sample. It neither resamples nor paces.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, Self

import grpc
import structlog

from server.errors import VoicefleetError
from server.node import metrics
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.client import open_channel, wait_until_serving

Failure = Literal["busy", "unavailable", "timeout"]

_BYTES_PER_SAMPLE = 2
_START_SECONDS = 120.0  # a large model on a cold disk
_RESTART_SECONDS = 10.0
_LONGEST_GAP_SECONDS = 5.0  # between two chunks of a worker that is well

_FAILURES: dict[grpc.StatusCode, Failure] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
}

log = structlog.get_logger(__name__)


class TtsError(VoicefleetError):
    """A clause could not be spoken; `failure` says in a word why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"speech synthesis failed ({failure}): {detail}")
        self.failure: Failure = failure


class TtsProcessor:
    """The gateway's one link to the TTS worker at `address`; shared by all sessions.

    Known once connected: `sample_rate` in Hz, and `voices`, the names of what the engine can speak with.
    """

    sample_rate: int
    voices: frozenset[str]

    def __init__(self, address: str, default_voice: str = "") -> None:
        """`default_voice` speaks where a session names none, or one that the engine lacks; empty: the engine's own."""
        self._address = address
        self._default_voice = default_voice

    async def connect(self) -> None:
        """Wait until the worker serves, two minutes at most, and ask it what it can do. Raises `TtsError`."""
        self._channel = open_channel(self._address)
        self._stub = speech_pb2_grpc.TextToSpeechStub(self._channel)  # type: ignore[no-untyped-call] # generated
        if not await wait_until_serving(self._channel, _START_SECONDS):
            raise TtsError("unavailable", f"no worker serves at {self._address}")
        try:
            reply = await self._stub.ListVoices(speech_pb2.ListVoicesRequest(), timeout=_LONGEST_GAP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _tts_error(error) from None
        self.sample_rate = reply.sample_rate
        self.voices = frozenset(voice.name for voice in reply.voices)
        if self._default_voice and self._default_voice not in self.voices:
            log.warning("unknown_default_voice", voice=self._default_voice, known=sorted(self.voices))

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def synthesize(self, text: str, voice: str = "", speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """Speak `text`: chunks of 16-bit little-endian mono PCM at `sample_rate`; none if it holds nothing to speak.

        A voice that the engine lacks is replaced, as clients send the names of other vendors' voices. Closing the
        generator frees the worker's slot. Raises `TtsError`.
        """
        request = speech_pb2.SynthesizeRequest(text=text, voice=self._known(voice), speed=speed)
        with metrics.queue_depth.labels("tts").track_inprogress():
            try:
                async with aclosing(self._stream(request)) as chunks:
                    async for pcm in chunks:
                        request.skip_samples += len(pcm) // _BYTES_PER_SAMPLE
                        yield pcm
            except TtsError as error:
                if error.failure == "busy":
                    raise
            else:
                return
            metrics.worker_retries.labels("tts").inc()
            await wait_until_serving(self._channel, _RESTART_SECONDS)
            async with aclosing(self._stream(request)) as chunks:
                async for pcm in chunks:
                    yield pcm

    def _known(self, voice: str) -> str:
        return next((name for name in (voice, self._default_voice) if name in self.voices), "")

    async def _stream(self, request: speech_pb2.SynthesizeRequest) -> AsyncGenerator[bytes, None]:
        call = self._stub.Synthesize(request)
        try:
            while True:
                async with asyncio.timeout(_LONGEST_GAP_SECONDS):
                    chunk = await call.read()
                if chunk is grpc.aio.EOF:
                    return
                yield chunk.pcm
        except TimeoutError:
            raise TtsError("timeout", f"the worker gave no audio for {_LONGEST_GAP_SECONDS:.0f} s") from None
        except grpc.aio.AioRpcError as error:
            raise _tts_error(error) from None
        finally:
            call.cancel()


def _tts_error(error: grpc.aio.AioRpcError) -> TtsError:
    failure = _FAILURES.get(error.code(), "unavailable")
    if failure == "busy":
        metrics.queue_refused.labels("tts").inc()
    return TtsError(failure, error.details() or error.code().name)
