"""The TTS workers that a gateway knows: the channel to each, and each one's health, voices and streams, kept fresh.

It speaks nothing and chooses none; `TtsProcessor` and `Balancer` do.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Self

import grpc
import structlog

from server.errors import VoicefleetError, first_of
from server.observability import metrics
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.balancing import Balancer
from server.workers.clause_audio import SAMPLE_RATES
from server.workers.client import CHECK_SECONDS, POLL_SECONDS, Credentials, open_channel, says_serving

_START_SECONDS = 120.0  # a large model on a cold disk

# What a worker may say of itself.
_VOICES = 1000
_VOICE_CHARACTERS = 100
_STREAMS = 10_000

log = structlog.get_logger(__name__)


class NobodyServes(VoicefleetError):
    """No worker can be asked for speech; the message says of each why."""


class Unfit(VoicefleetError):
    """A worker that answers, and yet can't be asked for speech."""


@dataclass(slots=True)
class _Link:
    """The way to one worker, and what it said of itself last."""

    address: str
    channel: grpc.aio.Channel
    stub: speech_pb2_grpc.TextToSpeechStub
    voices: frozenset[str] = frozenset()
    healthy: bool | None = None  # None before the first check
    trouble: str = "not asked yet"  # why its last check failed
    look: asyncio.Event = field(default_factory=asyncio.Event)  # set to have it checked at once


class TtsPool:
    """The workers at `addresses`, watched inside the `async with` block.

    Each has to have the sample rate (Hz) of the first that served; one with another is left out, since calls have begun
    with that rate. One that is down joins when it serves.
    """

    sample_rate: int = 0

    def __init__(self, addresses: Iterable[str], credentials: Credentials) -> None:
        self.balancer = Balancer(addresses)
        self._credentials = credentials
        self._links: dict[str, _Link] = {}
        self._changed = asyncio.Event()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Wait until one worker serves, two minutes at most. Raises `NobodyServes`."""
        with first_of(NobodyServes):
            async with AsyncExitStack() as stack:
                for address in self.balancer.addresses:
                    channel = await stack.enter_async_context(open_channel(address, self._credentials.tls))
                    stub = speech_pb2_grpc.TextToSpeechStub(channel)  # type: ignore[no-untyped-call] # generated
                    self._links[address] = _Link(address, channel, stub)
                tasks = await stack.enter_async_context(asyncio.TaskGroup())
                watches = [tasks.create_task(self._watch(link)) for link in self._links.values()]
                stack.callback(lambda: [watch.cancel() for watch in watches])
                await self._wait_for_the_first()
                self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is under way."""
        await self._open.aclose()

    @property
    def workers(self) -> Mapping[str, bool]:
        """Whether each worker serves, by its address."""
        return {address: self.balancer.healthy(address) for address in self.balancer.addresses}

    @property
    def voices(self) -> frozenset[str]:
        """The names that can be asked for: those that every worker has which serves (or ever did, if none does now)."""
        serving = [link for link in self._links.values() if link.healthy]
        known = [link.voices for link in serving or self._links.values() if link.voices]
        return frozenset.intersection(*known) if known else frozenset()

    @property
    def changed(self) -> asyncio.Event:
        """Set after the next check of any worker; then there is a new one."""
        return self._changed

    def synthesize(
        self, address: str, request: speech_pb2.SynthesizeRequest
    ) -> "grpc.aio.UnaryStreamCall[speech_pb2.SynthesizeRequest, speech_pb2.AudioChunk]":
        """Ask that worker."""
        return self._links[address].stub.Synthesize(request, metadata=self._credentials.metadata)

    def look_at(self, address: str) -> None:
        """Check that worker now."""
        self._links[address].look.set()

    def nobody_serves(self) -> NobodyServes:
        """Why none can be asked."""
        troubles = "; ".join(f"{link.address}: {link.trouble}" for link in self._links.values())
        return NobodyServes(f"no worker serves ({troubles})")

    async def _wait_for_the_first(self) -> None:
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not any(self.workers.values()):
                    await self.changed.wait()
        except TimeoutError:
            raise self.nobody_serves() from None

    async def _watch(self, link: _Link) -> None:
        while True:
            link.look.clear()
            await self._check(link)
            self._changed.set()
            self._changed = asyncio.Event()
            pause = CHECK_SECONDS if self.balancer.usable(link.address) else POLL_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await link.look.wait()

    async def _check(self, link: _Link) -> None:
        asked_at = time.monotonic()
        healthy: bool | None = False
        streams = 0
        try:
            streams = await self._ask(link)
            healthy = True
        except Unfit as error:
            link.trouble = str(error)
        except grpc.aio.AioRpcError as error:
            link.trouble = error.details() or error.code().name
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                healthy = None
        except Exception as error:
            link.trouble = f"it can't be asked ({type(error).__name__})"
        self.balancer.checked(link.address, asked_at, healthy, streams)
        self._tell(link)

    async def _ask(self, link: _Link) -> int:
        """The streams that it can speak. Raises `Unfit`, or `AioRpcError` where it gives no answer."""
        if not await says_serving(link.channel, CHECK_SECONDS):
            raise Unfit("it says that it does not serve: it still starts, or its device is lost")
        reply = await link.stub.ListVoices(
            speech_pb2.ListVoicesRequest(), timeout=CHECK_SECONDS, metadata=self._credentials.metadata
        )
        if reply.sample_rate not in SAMPLE_RATES:
            takes = ", ".join(map(str, sorted(SAMPLE_RATES)))
            raise Unfit(f"it says that it speaks at {reply.sample_rate} Hz; takes {takes}")
        if len(reply.voices) > _VOICES or reply.streams > _STREAMS:
            raise Unfit(
                f"it says that it has {len(reply.voices)} voices and speaks {reply.streams} streams; "
                f"takes {_VOICES} and {_STREAMS} at most"
            )
        if self.sample_rate not in (0, reply.sample_rate):
            raise Unfit(f"it speaks at {reply.sample_rate} Hz; takes {self.sample_rate} Hz, as the others do")
        self.sample_rate = reply.sample_rate
        link.voices = frozenset(voice.name for voice in reply.voices if len(voice.name) <= _VOICE_CHARACTERS)
        return int(reply.streams)

    def _tell(self, link: _Link) -> None:
        healthy = self.balancer.healthy(link.address)
        if healthy != link.healthy:
            if healthy:
                log.info("tts_worker_joined", address=link.address)
            else:
                log.warning("tts_worker_left_out", address=link.address, reason=link.trouble)
        link.healthy = healthy
        metrics.tts_worker_up.labels(link.address).set(healthy)
        metrics.tts_worker_streams.labels(link.address).set(self.balancer.streams(link.address))
