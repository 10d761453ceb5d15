"""Our recogniser against faster-whisper: words wrong, and time, singly and in batches.

    python -m tests.bench.stt_engines --audio DIR

DIR holds a `manifest.json`: a list of {"path": a WAV file relative to DIR, "text": what is said in it}. Both run
tiny.en int8 in one thread, in one run: first each clip by itself, as it is and in the noises of `tests.bench.noises`;
then utterances of 3 s in batches, as calls bring them. faster-whisper is the node's second engine. Both have the
node's beam of 2, and the 5 that are faster-whisper's default. Its own batches are its `BatchedInferencePipeline`.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from server.audio.log_mel import SAMPLE_RATE
from server.client.transcripts import word_errors, words
from server.workers.engines.faster_whisper import FasterWhisperEngine, library
from server.workers.engines.recognition import Window
from server.workers.engines.utterance import decode, short_window_for
from server.workers.engines.whisper import BEAM_SIZE, WhisperEngine
from server.workers.recognizer import Recognizer, SpeechEngine
from tests.bench.markdown import table
from tests.bench.noise_reduction import conditions, long_enough, pcm, utterance
from tests.bench.noises import Sound
from tests.support.clips import BUNDLED, Clip, read_clips
from tests.support.recognizing import recognizing
from tests.support.speech import model_folder

_BATCHES = (1, 2, 4, 8)
_TIMES = 3
_UTTERANCE = 3 * SAMPLE_RATE


async def _heard(recognizer: Recognizer, clips: Sequence[Clip], sounds: Sequence[Sound]) -> str:
    """Words wrong, and the median time of a clip."""
    wrong, seconds = 0, []
    for clip, sound in zip(clips, sounds, strict=True):
        began = time.perf_counter()
        text = (await recognizer.transcribe(pcm(utterance(sound)).tobytes())).text
        seconds.append(time.perf_counter() - began)
        wrong += word_errors(clip.text, text)
    of = sum(len(words(clip.text)) for clip in clips)
    return f"{wrong / of:.1%}, {1e3 * statistics.median(seconds):.0f} ms"


async def _word_rows(
    recognizers: Mapping[str, Recognizer], clips: Sequence[Clip], everyone: Sequence[Clip], snr_db: float
) -> AsyncIterator[tuple[str, ...]]:
    for condition, sounds in conditions(clips, everyone, snr_db):
        row = (condition, *[await _heard(recognizer, clips, sounds) for recognizer in recognizers.values()])
        print(*row, sep=" | ", file=sys.stderr, flush=True)
        yield row


def _each_ms(recognize: Callable[[Sequence[Sound]], object], said: Sequence[Sound]) -> float:
    """Of an utterance, the best of a few batches."""
    taken = []
    for _ in range(1 + _TIMES):  # the first is slower than the rest
        began = time.perf_counter()
        recognize(said)
        taken.append(time.perf_counter() - began)
    return 1e3 * min(taken[1:]) / len(said)


def _batch_rows(ours: WhisperEngine, theirs: FasterWhisperEngine, pipeline: Any) -> list[tuple[object, ...]]:
    said = [np.resize(decode(clip.pcm), _UTTERANCE) for clip in read_clips(BUNDLED)]

    def in_our_batch(batch: Sequence[Sound]) -> object:
        return ours.recognize([Window(sound, short_window_for(sound) or 0, "en", short=True) for sound in batch])

    def in_turn(batch: Sequence[Sound]) -> object:
        return theirs.recognize([Window(sound, 15, "en") for sound in batch])

    def in_their_batch(batch: Sequence[Sound]) -> object:
        ends = [{"start": 3 * number, "end": 3 * number + 3} for number in range(len(batch))]
        segments, _ = pipeline.transcribe(
            np.concatenate(batch), language="en", beam_size=BEAM_SIZE, batch_size=len(batch), clip_timestamps=ends
        )
        return list(segments)

    rows = []
    for size in _BATCHES:
        batch = [said[number % len(said)] for number in range(size)]
        rows.append((size, *(f"{_each_ms(how, batch):.0f}" for how in (in_our_batch, in_turn, in_their_batch))))
    return rows


async def run(options: argparse.Namespace) -> None:
    """Measure, and print what was measured."""
    folder = model_folder("tiny.en")
    ours, theirs = WhisperEngine(folder, "cpu"), FasterWhisperEngine(folder, "cpu")
    everyone = read_clips(options.audio)
    clips = long_enough(everyone, options.clips)
    print(f"{len(clips)} clips, {sum(clip.seconds for clip in clips):.0f} s")
    engines: dict[str, SpeechEngine] = {
        "ours, beam of 1": WhisperEngine(folder, "cpu", beam_size=1),
        "ours": ours,
        "faster-whisper": theirs,
        "ours, beam of 5": WhisperEngine(folder, "cpu", beam_size=5),
        "faster-whisper, beam of 5": FasterWhisperEngine(folder, "cpu", beam_size=5),
    }
    async with AsyncExitStack() as stack:
        recognizers = {
            name: await stack.enter_async_context(recognizing(engine, "en")) for name, engine in engines.items()
        }
        for recognizer in recognizers.values():
            await recognizer.warm_up()
        rows = [row async for row in _word_rows(recognizers, clips, everyone, options.snr)]
    print(table(("words wrong, a clip", *recognizers), rows))
    whisper = library()
    pipeline = whisper.BatchedInferencePipeline(
        whisper.WhisperModel(str(folder), "cpu", compute_type="int8", cpu_threads=1)
    )
    columns = ("ms an utterance, in a batch of", "ours", "faster-whisper in turn", "its own batches")
    print(table(columns, _batch_rows(ours, theirs, pipeline)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=BUNDLED, help="folder of clips with its manifest.json")
    parser.add_argument("--clips", type=int, default=1000, help="at most so many of them")
    parser.add_argument("--snr", type=float, default=10.0, help="how far the noise is below the speech, in dB")
    asyncio.run(run(parser.parse_args()))
