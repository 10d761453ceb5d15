"""The border of the TTS worker: whatever an engine raises and whoever asks, what comes out is typed, and fair."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.engine import EngineBusy, EngineFailed, Progress, Unspeakable, UnusableProgress
from server.workers.tts_worker import TextToSpeech
from tests.support.grpc_standin import serving
from tests.support.speech_workers import ToneEngine

_SECRET = "what the caller said"


class _Engine(ToneEngine):
    """Raises `error` after a chunk of `before`; without one, it talks until it is left."""

    def __init__(self, error: Exception | None = None, before: bytes = b"") -> None:
        super().__init__()
        self._error = error
        self._before = before
        self.speaking = 0

    async def synthesize(
        self, text: str, voice: str, speed: float, needed_in: float = 0.0, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        self.speaking += 1
        try:
            if self._before:
                yield self._before
            if self._error:
                raise self._error
            while True:
                yield bytes(2)
                await asyncio.sleep(0.01)
        finally:
            self.speaking -= 1


@asynccontextmanager
async def _served(engine: ToneEngine) -> AsyncIterator[speech_pb2_grpc.TextToSpeechStub]:
    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_TextToSpeechServicer_to_server(TextToSpeech(engine), server)  # type: ignore[no-untyped-call] # generated

    async with serving(register) as address, grpc.aio.insecure_channel(address) as channel:
        yield speech_pb2_grpc.TextToSpeechStub(channel)  # type: ignore[no-untyped-call] # generated


@pytest.mark.parametrize("before", [b"", bytes(2)], ids=["at once", "after some audio"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (IndexError(_SECRET), grpc.StatusCode.INVALID_ARGUMENT),
        (KeyError(_SECRET), grpc.StatusCode.INVALID_ARGUMENT),
        (RecursionError(_SECRET), grpc.StatusCode.INVALID_ARGUMENT),
        (EngineFailed("the device failed"), grpc.StatusCode.INTERNAL),
        (EngineBusy("all are busy"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=repr,
)
async def test_what_an_engine_raises_is_typed_and_its_words_go_nowhere(
    error: Exception, code: grpc.StatusCode, before: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _served(_Engine(error, before)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.")):
                pass
    assert raised.value.code() is code
    said = str(raised.value.details()) + "".join(capsys.readouterr())
    assert _SECRET not in said
    assert "Error" not in str(raised.value.details())


async def test_what_is_unspeakable_ends_without_audio_and_without_an_error() -> None:
    async with _served(_Engine(Unspeakable("no word"))) as stub:
        assert [chunk async for chunk in stub.Synthesize(speech_pb2.SynthesizeRequest(text="..."))] == []


@pytest.mark.parametrize("seconds", [-0.1, 60.1, float("nan"), float("inf")])
async def test_a_time_that_no_clause_is_needed_in_is_refused_with_what_is_taken(seconds: float) -> None:
    async with _served(_Engine()) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.", needed_in_seconds=seconds)).read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == f"needed_in_seconds: got {seconds}; takes 0 to 60.0"


class _TwoPieces(ToneEngine):
    """Says ten samples of each piece, and what it drew for them."""

    async def synthesize(
        self, text: str, voice: str, speed: float, needed_in: float = 0.0, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        assert progress
        if progress.piece > 1:
            raise UnusableProgress(f"piece: got {progress.piece}; the text has 2")
        for piece in range(progress.piece, 2):
            progress.piece, progress.samples, progress.tokens = piece, 10 * piece, [piece, progress.heard]
            yield bytes([piece]) * 20


async def _chunks(request: speech_pb2.SynthesizeRequest) -> list[speech_pb2.AudioChunk]:
    async with _served(_TwoPieces()) as stub:
        return [chunk async for chunk in stub.Synthesize(request)]


async def test_what_an_engine_drew_goes_with_its_audio() -> None:
    told = [(chunk.pcm, chunk.progress) for chunk in await _chunks(speech_pb2.SynthesizeRequest(text="Hello."))]
    assert told == [
        (bytes(20), speech_pb2.Progress(piece=0, tokens=[0, 0])),
        (b"\1" * 20, speech_pb2.Progress(piece=1, samples=10, tokens=[1, 0])),
    ]
    async with _served(_Engine(before=bytes(2))) as stub:
        plain = await stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.")).read()
    assert not plain.HasField("progress"), "it keeps none"


async def test_an_engine_goes_on_with_the_piece_it_is_told_and_what_was_heard_of_it_is_left_out() -> None:
    progress = speech_pb2.Progress(piece=1, samples=10)
    chunks = await _chunks(speech_pb2.SynthesizeRequest(text="Hello.", skip_samples=13, progress=progress))
    assert [chunk.pcm for chunk in chunks] == [b"\1" * 14]
    assert list(chunks[0].progress.tokens) == [1, 13]


@pytest.mark.parametrize(
    ("progress", "details"),
    [
        (speech_pb2.Progress(piece=2), "piece: got 2; the text has 2"),
        (speech_pb2.Progress(samples=10), "progress: got a piece that begins after 10 samples; takes 9"),
    ],
)
async def test_a_progress_that_fits_nothing_is_refused(progress: speech_pb2.Progress, details: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _chunks(speech_pb2.SynthesizeRequest(text="Hello.", skip_samples=9, progress=progress))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == details


async def test_a_call_has_two_streams_at_once_and_takes_nobody_else_s() -> None:
    engine = _Engine()
    async with _served(engine) as stub:
        greedy = [stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.", call="greedy")) for _ in range(8)]
        first = await asyncio.gather(*(stream.read() for stream in greedy), return_exceptions=True)
        refused = [answer for answer in first if isinstance(answer, grpc.aio.AioRpcError)]
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert engine.speaking == len(first) - len(refused) == 2
        for call in ("modest", "", "", ""):  # without a name it is the engine that bounds them
            assert (await stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.", call=call)).read()).pcm
        for stream in greedy:
            stream.cancel()
        async with asyncio.timeout(5):
            while engine.speaking > 4:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.01)
        assert (await stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.", call="greedy")).read()).pcm
