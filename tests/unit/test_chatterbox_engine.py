"""The engine with its thread, as the worker drives it: never trained, small, and for what it says to whom."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest
from torch import Tensor

from server.workers.engine import EngineBusy, EngineFailed, Progress, UnknownVoice, Unspeakable, UnusableProgress, Voice
from server.workers.engines.chatterbox import engine as engine_module
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.core import Core
from server.workers.engines.chatterbox.engine import ChatterboxEngine
from server.workers.engines.chatterbox.flow import FlowHop, WindowedFlow
from tests.support.chatterbox import small_checkpoint, voice
from tests.support.chatterbox_worker import Room


class OneVoice:
    """A library with a voice called sam."""

    sam = voice(1, seconds=1.0)
    looked = 0

    def list(self) -> Sequence[Voice]:
        return [Voice("sam", "en", "never heard", is_default=True)]

    def look_again(self) -> None:
        self.looked += 1

    def get(self, name: str) -> Conditionals:
        if name not in ("", "sam"):
            raise UnknownVoice(name, ["sam"])
        return self.sam


class Device(WindowedFlow):
    """A device that breaks down, or stops answering, when told to."""

    def __init__(self) -> None:
        super().__init__(small_checkpoint().flow)
        self.broken = False
        self.threads: set[int] = set()
        self.answers = threading.Event()
        self.answers.set()

    def render(self, hops: Sequence[FlowHop]) -> list[Tensor]:
        self.threads.add(threading.get_ident())
        self.answers.wait()
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().render(hops)


def made(device: Device, rows: int = 4) -> ChatterboxEngine:
    checkpoint = small_checkpoint()
    core = Core(checkpoint, device, rows, 256, None)
    return ChatterboxEngine(core, checkpoint.tokenize, OneVoice(), token_cap=len, capacity=lambda *_: Room(1))


@pytest.fixture(scope="module")
def engine() -> Iterator[ChatterboxEngine]:
    """For tests that leave it as they found it: warming one up takes seconds."""
    engine = made(Device())
    asyncio.run(engine.warm_up())
    yield engine
    asyncio.run(engine.close())


@asynccontextmanager
async def running(device: Device, rows: int = 4) -> AsyncIterator[ChatterboxEngine]:
    engine = made(device, rows)
    await engine.warm_up()
    try:
        yield engine
    finally:
        await engine.close()


async def all_of(engine: ChatterboxEngine, text: str, speaker: str = "", speed: float = 1.0) -> bytes:
    return b"".join([pcm async for pcm in engine.synthesize(text, speaker, speed)])


async def test_it_speaks_pieces_one_after_the_other_with_a_pause_and_the_same_again(engine: ChatterboxEngine) -> None:
    text = "This is the first sentence. And this is the second one."
    first = await all_of(engine, text)
    again = await all_of(engine, text)
    one = await all_of(engine, "This is the first sentence.")

    assert len(first) > 2 * 24_000
    assert again == first
    assert first.startswith(one)
    assert first[len(one) : len(one) + 9600] == bytes(9600)
    assert engine.totals.audio_seconds > 2.0


async def test_many_at_once_are_all_spoken_as_they_would_be_alone(engine: ChatterboxEngine) -> None:
    texts = [f"Sentence number {number} for somebody." for number in range(4)]
    together = await asyncio.gather(*(all_of(engine, text) for text in texts))
    alone = [await all_of(engine, text) for text in texts]

    assert len(set(together)) == 4
    for one, other in zip(together, alone, strict=True):
        assert abs(len(one) - len(other)) <= 2 * 120  # the silence at the end is cut in frames of 5 ms
        assert engine.healthy()


async def test_what_cannot_be_spoken_is_refused_by_name(engine: ChatterboxEngine) -> None:
    with pytest.raises(UnknownVoice, match=r"'nobody'.*sam"):
        await all_of(engine, "Hello there.", "nobody")
    with pytest.raises(Unspeakable):
        await all_of(engine, "...")
    assert await all_of(engine, "Still there, all of it.", "sam")


async def test_a_stream_is_refused_where_no_row_is_left_however_many_can_be_in_time() -> None:
    async with running(Device(), rows=2) as engine:
        assert engine.streams() == 1
        async with aclosing(engine.synthesize("One of the two that there are.", "", 1.0)) as one:
            await anext(one)
            async with aclosing(engine.synthesize("Two of the two that there are.", "", 1.0)) as two:
                await anext(two)
                with pytest.raises(EngineBusy, match="2 streams"):
                    await all_of(engine, "Three is one too many.")
                assert [pcm async for pcm in two]
            assert await all_of(engine, "Now there is room for it.")


@pytest.mark.parametrize("chunks", [1, 3, 4])  # in a piece, after the pause, in the next piece
async def test_another_engine_goes_on_where_one_broke_off(engine: ChatterboxEngine, chunks: int) -> None:
    text = "This is the first sentence. And this is the second one."
    whole, progress, heard = await all_of(engine, text), Progress(), b""
    async with aclosing(engine.synthesize(text, "", 1.0, progress=progress)) as audio:
        for _ in range(chunks):
            heard += await anext(audio)
    told = Progress(progress.piece, progress.samples, progress.tokens, heard=len(heard) // 2)
    skipped = len(heard) - 2 * told.samples  # before the engine goes on
    rest = b"".join([pcm async for pcm in engine.synthesize(text, "", 1.0, progress=told)])
    assert len(progress.tokens) > 0
    assert heard + rest[skipped:] == whole


@pytest.mark.parametrize(
    ("progress", "message"),
    [
        (Progress(piece=1), "piece: got 1; the text has 1"),
        (Progress(tokens=[1] * 30), "tokens: got 30 up to 1; takes 25 up to 6562"),
        (Progress(tokens=[6563]), "tokens: got 1 up to 6563; takes 25 up to 6562"),
    ],
)
async def test_a_progress_of_another_text_is_refused(
    engine: ChatterboxEngine, progress: Progress, message: str
) -> None:
    with pytest.raises(UnusableProgress, match=message):
        await anext(engine.synthesize("Twenty-five letters here.", "", 1.0, progress=progress))


async def test_leaving_early_frees_the_place_and_the_row(engine: ChatterboxEngine) -> None:
    for _ in range(6):  # more than there are rows
        async with aclosing(engine.synthesize("Somebody interrupts this sentence soon.", "", 1.0)) as audio:
            await anext(audio)
    assert await all_of(engine, "And then there is silence.")


async def test_a_device_that_fails_ends_every_stream_and_is_reported() -> None:
    device = Device()
    async with running(device) as engine:
        device.answers.clear()
        tasks = [asyncio.create_task(all_of(engine, f"Sentence number {number}.")) for number in range(3)]
        await asyncio.sleep(0)
        device.broken = True
        device.answers.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert [type(result) for result in results] == [EngineFailed] * 3
        assert not engine.healthy()
        with pytest.raises(EngineFailed):
            await all_of(engine, "Nobody will hear this.")


async def test_one_thread_warms_the_device_up_and_works_with_it() -> None:
    """cuDNN's plans belong to a thread (pytorch#104701): another one would have to find them anew."""
    async with running(device := Device()) as engine:
        await all_of(engine, "A sentence for somebody.")

        assert len(device.threads) == 1
        assert threading.get_ident() not in device.threads


async def test_a_device_that_fails_in_the_warm_up_is_reported() -> None:
    device = Device()
    device.broken = True
    engine = made(device)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        await engine.warm_up()

    assert not engine.healthy()
    await engine.close()


async def test_a_device_that_stops_answering_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    async with running(device) as engine:
        assert engine.healthy()
        device.answers.clear()
        task = asyncio.create_task(all_of(engine, "This one gets stuck."))
        monkeypatch.setattr(engine_module, "_STUCK_SECONDS", 0.0)
        async with asyncio.timeout(20.0):
            while engine.healthy():  # noqa: ASYNC110 # another thread makes it so
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        device.answers.set()

        assert await task
        assert engine.healthy()


async def test_closing_ends_the_streams_that_are_left() -> None:
    async with running(Device()) as engine:
        left = engine.synthesize(
            "This text is so long that it can't be made in one go: " + "and on it goes, " * 8, "", 1.0
        )
        await anext(left)
    with pytest.raises(EngineFailed, match="closed"):
        async for _ in left:
            pass
    with pytest.raises(EngineFailed):
        await all_of(engine, "Nobody will hear this.")
