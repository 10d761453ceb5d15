"""Voice activity detection with the real model: batches change nothing, bursts delay nobody, times are the audio's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from server.observability.metrics import REGISTRY
from server.vad_processor import FRAME_SAMPLES, SAMPLE_RATE, VadProcessor, VadStream, VoiceActivity
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import model_folder

FRAME_BYTES = 2 * FRAME_SAMPLES
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
MAX_BATCH = 32
MAX_PENDING_FRAMES = 64


@asynccontextmanager
async def running() -> AsyncIterator[VadProcessor]:
    vad = VadProcessor(model_folder("silero-vad") / "silero_vad.onnx")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(vad.run())
        yield vad
        task.cancel()


def frames(count: int) -> bytes:
    return bytes(count * FRAME_BYTES)


def voices() -> list[bytes]:
    """A second each of different speech."""
    return [clip.pcm[: 2 * SAMPLE_RATE] for clip in read_clips(BUNDLED)]


async def hear(stream: VadStream, count: int, note: Callable[[], None] = lambda: None) -> list[VoiceActivity]:
    """The stream's next `count` frames; `note` is called at each."""
    heard = []
    async for activity in stream:
        heard.append(activity)
        note()
        if len(heard) == count:
            break
    return heard


async def judge(vad: VadProcessor, pcm: bytes) -> list[float]:
    """The probability of each frame of a new stream."""
    stream = vad.stream()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.feed(pcm))
        hearing = tasks.create_task(hear(stream, len(pcm) // FRAME_BYTES))
    return [activity.probability for activity in hearing.result()]


def batches() -> float:
    return REGISTRY.get_sample_value("voice_vad_batch_size_count") or 0.0


async def test_speech_is_told_from_silence() -> None:
    async with running() as vad:
        speech, silence = await judge(vad, voices()[0]), await judge(vad, frames(30))
    assert max(silence) < 0.2
    assert np.median(speech) > 0.9


async def test_frames_judged_together_come_out_as_if_alone() -> None:
    async with running() as vad:
        alone = [await judge(vad, pcm) for pcm in voices()]
        before = batches()
        together = await asyncio.gather(*(judge(vad, pcm) for pcm in voices()))
    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, abs=1e-3)
    frames_judged = sum(map(len, together))
    assert batches() - before < frames_judged / 2, "they shared batches"


async def test_any_number_of_sessions_is_served_in_bounded_batches() -> None:
    sessions = 3 * MAX_BATCH
    async with running() as vad:
        before = batches()
        heard = await asyncio.gather(*(judge(vad, frames(4)) for _ in range(sessions)))
    assert [len(session) for session in heard] == [4] * sessions
    assert batches() - before >= sessions * 4 / MAX_BATCH


async def test_a_burst_of_one_session_delays_the_others_by_a_few_batches_at_most() -> None:
    order: list[str] = []
    busy = asyncio.Event()

    def greedy_heard() -> None:
        order.append("greedy")
        busy.set()

    async with running() as vad, asyncio.TaskGroup() as tasks:
        greedy, modest = vad.stream(), vad.stream()
        burst = 30 * SAMPLE_RATE // FRAME_SAMPLES
        tasks.create_task(greedy.feed(frames(burst)))
        tasks.create_task(hear(greedy, burst, greedy_heard))
        await busy.wait()
        for _ in range(20):
            sent_at = len(order)
            await modest.feed(frames(1))
            await hear(modest, 1)
            assert len(order) - sent_at <= 3
        assert len(order) < burst, "the burst is still being judged"


async def test_times_are_those_of_the_callers_audio_however_it_is_cut() -> None:
    async with running() as vad:
        stream = vad.stream()
        pcm = frames(10) + bytes(100)
        for start in range(0, len(pcm), 330):  # ten milliseconds and a bit, whose frames do not come out even
            await stream.feed(pcm[start : start + 330])
        heard = await hear(stream, 10)
    assert [activity.start for activity in heard] == pytest.approx([index * FRAME_SECONDS for index in range(10)])
    assert all(activity.end - activity.start == pytest.approx(FRAME_SECONDS) for activity in heard)


async def test_what_is_skipped_counts_as_time_and_is_not_judged() -> None:
    async with running() as vad:
        stream = vad.stream()
        await stream.feed(frames(1) + bytes(2 * 100))
        first = await hear(stream, 1)
        stream.skip(bytes(2 * SAMPLE_RATE))
        await stream.feed(frames(1))
        second = await hear(stream, 1)
    assert first[0].start == 0.0
    assert second[0].start == pytest.approx(FRAME_SECONDS + 100 / SAMPLE_RATE + 1.0)


async def test_after_a_skip_nothing_of_the_sound_before_it_is_remembered() -> None:
    voice = voices()[0]
    async with running() as vad:
        fresh = await judge(vad, voice)
        stream = vad.stream()
        await stream.feed(voice[: 20 * FRAME_BYTES])
        await hear(stream, 20)
        stream.skip(frames(1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.feed(voice))
            hearing = tasks.create_task(hear(stream, len(fresh)))
    assert [activity.probability for activity in hearing.result()] == pytest.approx(fresh, abs=1e-3)


async def test_a_session_waits_while_two_seconds_of_it_are_unheard() -> None:
    async with running() as vad:
        stream = vad.stream()
        feeding = asyncio.create_task(stream.feed(frames(MAX_PENDING_FRAMES + 1)))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not feeding.done()
        await hear(stream, 1)
        await feeding


async def test_it_serves_only_while_it_runs() -> None:
    async with running() as vad:
        await judge(vad, frames(1))
        assert vad.serving
    assert not vad.serving
