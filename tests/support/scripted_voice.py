"""A TTS worker in the test's own process that speaks as a script says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc

from server.workers import speech_pb2, speech_pb2_grpc
from tests.support.grpc_standin import serving

Script = Callable[[int, grpc.aio.ServicerContext], AsyncIterator[bytes] | AsyncIterator[speech_pb2.AudioChunk]]


class ScriptedVoice(speech_pb2_grpc.TextToSpeechServicer):
    """Speaks as `script` says, which is told how many requests came before; keeps the requests."""

    def __init__(self, script: Script, voices: Sequence[str] = ("anna", "bert"), sample_rate: int = 24_000) -> None:
        self._script = script
        self._voices = [speech_pb2.Voice(name=name) for name in voices]
        self._sample_rate = sample_rate
        self.streams = 0
        self.requests: list[speech_pb2.SynthesizeRequest] = []
        self.left = asyncio.Event()

    async def Synthesize(
        self, request: speech_pb2.SynthesizeRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[speech_pb2.AudioChunk]:
        self.requests.append(request)
        try:
            async for said in self._script(len(self.requests) - 1, context):
                yield speech_pb2.AudioChunk(pcm=said) if isinstance(said, bytes) else said
        finally:
            self.left.set()

    async def ListVoices(
        self, request: speech_pb2.ListVoicesRequest, context: grpc.aio.ServicerContext
    ) -> speech_pb2.ListVoicesReply:
        return speech_pb2.ListVoicesReply(
            engine="script", sample_rate=self._sample_rate, voices=self._voices, streams=self.streams
        )


@asynccontextmanager
async def served(worker: ScriptedVoice, address: str = "") -> AsyncIterator[str]:
    """Serve it inside the block; gives its address, if need be a new one."""

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_TextToSpeechServicer_to_server(worker, server)  # type: ignore[no-untyped-call] # generated

    async with serving(register, address) as own:
        yield own
