"""Word error rate and latency of the recogniser on transcribed clips: `python -m tests.bench.stt_accuracy --audio DIR`.

DIR holds a `manifest.json`: a list of {"path": a WAV file relative to DIR, "text": what is said in it}. Compares beam 1
with beam 5 and the shortest windows with 30 s ones, and with short ones where they are sure, as the worker takes them;
then the latency of a short and a longer utterance by threads.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.audio.log_mel import SAMPLE_RATE
from server.client.transcripts import word_errors, words
from server.models.store import ModelStore
from server.settings.loading import load_settings
from server.workers.engines.utterance import LONGEST_WINDOW, WINDOWS, decode
from server.workers.engines.whisper import WhisperEngine
from tests.support.clips import Clip, read_clips
from tests.support.recognizing import heard_in_a_window, recognizing


@dataclass
class _Score:
    """What a configuration made of the clips."""

    wrong: int = 0
    words: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, clip: Clip, text: str, seconds: float) -> None:
        self.wrong += word_errors(clip.text, text)
        self.words += len(words(clip.text))
        self.refused += not text
        self.seconds.append(seconds)

    def __str__(self) -> str:
        mean, median = statistics.mean(self.seconds) * 1000, statistics.median(self.seconds) * 1000
        return (
            f"{self.wrong} of {self.words} words wrong, WER {self.wrong / self.words:.1%}, {self.refused} refused, "
            f"a clip {mean:.0f} ms, median {median:.0f} ms"
        )


def _hear(engine: WhisperEngine, pcm: bytes, shortest: int) -> tuple[str, float]:
    """The text that is heard in windows of so many seconds and more, and the seconds it took."""
    samples = decode(pcm)
    windows = sorted({shortest, *(window for window in WINDOWS if window > shortest)})
    seconds = next(window for window in windows if len(samples) <= window * SAMPLE_RATE)
    started = time.perf_counter()
    return heard_in_a_window(engine, samples, seconds), time.perf_counter() - started


async def _heard_as_the_worker(engine: WhisperEngine, clips: Sequence[Clip]) -> _Score:
    score = _Score()
    async with recognizing(engine) as recognizer:
        for clip in clips:
            started = time.perf_counter()
            text = (await recognizer.transcribe(clip.pcm)).text
            score.add(clip, text, time.perf_counter() - started)
    return score


def _accuracy(folder: Path, clips: Sequence[Clip], verbose: bool) -> None:
    for beam_size in (1, 2, 5):
        engine = WhisperEngine(folder, "cpu", beam_size=beam_size)
        for shortest in (10, 15, LONGEST_WINDOW):
            score = _Score()
            for clip in clips:
                text, seconds = _hear(engine, clip.pcm, shortest)
                score.add(clip, text, seconds)
                if verbose and word_errors(clip.text, text):
                    print(f"  {clip.name}: {text}")
            print(f"beam {beam_size}, windows of {shortest} s and more: {score}", flush=True)
        score = asyncio.run(_heard_as_the_worker(engine, clips))
        print(f"beam {beam_size}, short windows where they are sure: {score}", flush=True)


def _latency(folder: Path, pcm: bytes) -> None:
    for threads in (1, 2):
        engine = WhisperEngine(folder, "cpu", threads=threads)
        for seconds in (3, 8):
            times = sorted(_hear(engine, pcm[: seconds * SAMPLE_RATE * 2], 15)[1] for _ in range(9))
            print(
                f"{threads} threads, {seconds} s utterance: {times[0] * 1000:.0f} ms, median {times[4] * 1000:.0f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True, help="folder of clips with its manifest.json")
    parser.add_argument("--model", default="tiny.en", help="name from the catalogue, or a folder")
    parser.add_argument("--verbose", action="store_true", help="print each transcript that is not quite right")
    options = parser.parse_args()
    folder = ModelStore.from_settings(load_settings()).verified(options.model)
    clips = [clip for clip in read_clips(options.audio) if clip.seconds <= LONGEST_WINDOW]
    print(f"{len(clips)} clips of at most {LONGEST_WINDOW} s")
    _accuracy(folder, clips, options.verbose)
    _latency(folder, max(clips, key=lambda clip: clip.seconds).pcm)


if __name__ == "__main__":
    main()
