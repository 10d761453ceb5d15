"""The border of the STT worker: whatever the model raises is typed, and each request counts as some call's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.engines.utterance import InvalidAudio
from server.workers.fair_queue import QueueFull
from server.workers.recognizer import Transcript
from server.workers.stt_worker import SpeechToText
from tests.support.grpc_standin import serving
from tests.support.ports import free_ports

_SECRET = "what the caller said"


class _Recognizer:
    """Raises `error`, if there is one; keeps whose requests came."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.calls: list[str] = []

    async def transcribe(self, pcm: bytes, language: str, prompt: str, call: str, **wanted: bool) -> Transcript:
        self.calls.append(call)
        if self._error:
            raise self._error
        return Transcript("hello")


@asynccontextmanager
async def _served(recognizer: Any) -> AsyncIterator[str]:
    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(SpeechToText(recognizer, ["en"]), server)  # type: ignore[no-untyped-call] # generated

    async with serving(register, f"127.0.0.1:{free_ports(1)[0]}") as address:
        yield address


async def _ask(address: str, call: str = "") -> speech_pb2.TranscribeReply:
    options = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = speech_pb2_grpc.SpeechToTextStub(channel)  # type: ignore[no-untyped-call] # generated
        reply: speech_pb2.TranscribeReply = await stub.Transcribe(speech_pb2.TranscribeRequest(pcm=b"", call=call))
        return reply


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError(_SECRET), grpc.StatusCode.INTERNAL),
        (StopIteration(_SECRET), grpc.StatusCode.INTERNAL),
        (InvalidAudio("half a sample"), grpc.StatusCode.INVALID_ARGUMENT),
        (QueueFull(64), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=repr,
)
async def test_what_the_model_raises_is_typed_and_its_words_go_nowhere(
    error: Exception, code: grpc.StatusCode, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _served(_Recognizer(error)) as address:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _ask(address)
    assert raised.value.code() is code
    assert _SECRET not in str(raised.value.details()) + "".join(capsys.readouterr())
    assert "Error" not in str(raised.value.details())


async def test_a_request_that_names_no_call_counts_as_its_connection_s() -> None:
    recognizer = _Recognizer()
    async with _served(recognizer) as address:
        for call in ("one", "one", "two", "", ""):
            assert (await _ask(address, call)).text == "hello"
    assert recognizer.calls[:3] == ["one", "one", "two"]
    assert all(call.startswith("ipv4:127.0.0.1:") for call in recognizer.calls[3:])
    assert recognizer.calls[3] != recognizer.calls[4]
