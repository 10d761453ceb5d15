"""How much speech the recogniser takes: `python -m tests.bench.stt_throughput [--size full|small] [--device cuda|cpu]`.

First Whisper's encoder and decoder alone, by compute type, batch and window; then utterances that arrive as so many
calls speak them, into the node's own `Recognizer`. The utterances are the bundled clips, of 2 to 4 s. Only real models
of the catalogue are measured, and the load only in the compute type that the node uses (float16 on cuda, int8 on cpu).
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ctranslate2
import msgspec
import numpy as np

from server.audio.log_mel import SAMPLE_RATE, log_mel
from server.bench.load_report import spread
from server.bench.percentiles import percentile_ms
from server.errors import VoicefleetError
from server.workers.engines.cublas import load_cublas
from server.workers.engines.utterance import LONGEST_WINDOW, decode, window_for
from server.workers.engines.whisper import WhisperEngine
from server.workers.serving import THREADS
from tests.bench.markdown import table
from tests.support.clips import BUNDLED, read_clips
from tests.support.recognizing import recognizing
from tests.support.speech import model_folder

UTTERANCE_EVERY_SECONDS = 8.0
"""How often a call has something to recognise."""

_MODELS = {"full": ("tiny.en", "base"), "small": ("tiny.en",)}
_BATCHES = {"full": (1, 2, 4, 8, 16, 32), "small": (1, 2)}
_CALLS = {"full": (64, 128), "small": (1, 2)}
_COMPUTE_TYPES = {"cuda": ("float16", "int8_float16"), "cpu": ("int8", "float32")}
_TIMES = 3
_MOST_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch takes: the best of a few. `tokens` is how many the decoder wrote, in all."""

    model: str
    compute_type: str
    window_seconds: int
    size: int
    encode_ms: float
    decode_ms: float
    tokens: int

    @property
    def utterances_per_second(self) -> float:
        """Encoded and decoded, one batch after the other."""
        return 1e3 * self.size / (self.encode_ms + self.decode_ms)


@dataclass(frozen=True, slots=True)
class Latency:
    """What callers waited for their transcripts, in ms from the end of each utterance; 0 where none was heard."""

    calls: int
    heard: int
    refused: int
    p50_ms: float
    p95_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class SttReport:
    """Everything that was measured; `loads` has a model's latency for each number of calls."""

    batches: Sequence[Batch]
    loads: Sequence[tuple[str, Latency]]
    notes: Sequence[str]


def utterances() -> list[bytes]:
    """The bundled clips: 16-bit mono PCM at 16 kHz."""
    return [clip.pcm for clip in read_clips(BUNDLED)]


def arrivals(calls: int, seconds: float, seed: int = 0) -> list[float]:
    """When, in seconds, utterances of so many calls end: a Poisson process, the same each time; at least one."""
    gaps = np.random.default_rng(seed).exponential(UTTERANCE_EVERY_SECONDS / calls, 1 + int(calls * seconds))
    times = np.cumsum(gaps)
    return [0.0, *times[times < seconds].tolist()]


async def recognition_load(
    transcribe: Callable[..., Awaitable[object]], pcm: Sequence[bytes], calls: int, seconds: float
) -> Latency:
    """Put so many calls' utterances on `transcribe`, which takes audio and, as `call`, whose it is.

    One that it refuses with a `VoicefleetError` is counted.
    """
    waited: list[float] = []
    refused = 0
    began = time.monotonic()

    async def utter(at: float, what: bytes, call: str) -> None:
        nonlocal refused
        try:
            await transcribe(what, call=call)
        except VoicefleetError:
            refused += 1
        else:
            waited.append(time.monotonic() - began - at)

    async with asyncio.TaskGroup() as tasks:
        for number, (at, what) in enumerate(zip(arrivals(calls, seconds), itertools.cycle(pcm), strict=False)):
            await asyncio.sleep(began + at - time.monotonic())
            tasks.create_task(utter(at, what, str(number % calls)))
    whole = spread(waited)
    return Latency(
        calls,
        len(waited),
        refused,
        whole.p50 if whole else 0.0,
        percentile_ms(waited, 95),
        whole.max if whole else 0.0,
    )


def batches(name: str, folder: Path, device: str, compute_type: str, sizes: Sequence[int]) -> list[Batch]:
    """Encoder and decoder on padded and on shortened windows."""
    if device == "cuda":
        load_cublas()
    model = ctranslate2.models.Whisper(str(folder), device=device, compute_type=compute_type, intra_threads=1)
    said = [decode(pcm) for pcm in utterances()]
    prompt = ["<|startoftranscript|>", *(["<|en|>", "<|transcribe|>"] if model.is_multilingual else [])]
    measured = []
    for window in (LONGEST_WINDOW, max(map(window_for, said))):
        mels = [log_mel(np.pad(samples, (0, window * SAMPLE_RATE - len(samples))), model.n_mels) for samples in said]
        for size in sizes:
            features = np.stack([mels[index % len(mels)] for index in range(size)])
            encoding, decoding = [], []
            for _ in range(1 + _TIMES):
                began = time.perf_counter()
                encoded = model.encode(ctranslate2.StorageView.from_array(features))  # waits for the device
                between = time.perf_counter()
                results = model.generate(encoded, [[*prompt, "<|notimestamps|>"]] * size, beam_size=1,
                                         max_length=_MOST_TOKENS)  # fmt: skip
                decoding.append(time.perf_counter() - between)
                encoding.append(between - began)
            tokens = sum(len(result.sequences_ids[0]) for result in results)
            best = 1e3 * min(encoding[1:]), 1e3 * min(decoding[1:])  # the first is slower than the rest
            measured.append(Batch(name, compute_type, window, size, *best, tokens))
    return measured


async def _loaded(folder: Path, device: str, calls: int, seconds: float) -> Latency:
    async with recognizing(WhisperEngine(folder, device, THREADS), "en") as recognizer:
        await recognizer.warm_up()
        return await recognition_load(recognizer.transcribe, utterances(), calls, seconds)


def run(size: Literal["full", "small"], device: str, seconds: float) -> SttReport:
    """Measure; a model that can't be had, or a compute type that the device lacks, is noted and left out."""
    measured: list[Batch] = []
    loads: list[tuple[str, Latency]] = []
    notes = ["Whisper small is not measured: the catalogue has no such model."]
    supported = ctranslate2.get_supported_compute_types(device)
    types = [name for name in _COMPUTE_TYPES[device] if name in supported]
    notes += [f"This device does not support {name}." for name in _COMPUTE_TYPES[device] if name not in types]
    for name in _MODELS[size]:
        try:
            folder = model_folder(name)
        except VoicefleetError as error:
            notes.append(f"{name} is not measured: {error}")
            continue
        for compute_type in types:
            print(f"{name}, {compute_type}: encoder and decoder", flush=True)
            measured += batches(name, folder, device, compute_type, _BATCHES[size])
        for calls in _CALLS[size]:
            print(f"{name}: {calls} calls", flush=True)
            loads.append((name, asyncio.run(_loaded(folder, device, calls, seconds))))
    return SttReport(measured, loads, notes)


def markdown(report: SttReport) -> str:
    """The report's tables."""
    parts = table(
        ("model", "compute type", "window s", "batch", "encoder ms", "decoder ms", "tokens", "utterances/s"),
        (
            (batch.model, batch.compute_type, batch.window_seconds, batch.size, f"{batch.encode_ms:.1f}",
             f"{batch.decode_ms:.1f}", batch.tokens, f"{batch.utterances_per_second:.1f}")
            for batch in report.batches
        ),
    )  # fmt: skip
    loads = table(("model", *LATENCY_COLUMNS), ((name, *latency_row(latency)) for name, latency in report.loads))
    each = f"Calls with an utterance every {UTTERANCE_EVERY_SECONDS:g} s (Poisson), into the node's own recogniser:"
    return f"{parts}\n{each}\n\n{loads}\n{' '.join(report.notes)}\n"


LATENCY_COLUMNS = ("calls", "utterances", "refused", "p50 ms", "p95 ms", "max ms")


def latency_row(latency: Latency) -> tuple[object, ...]:
    """As `LATENCY_COLUMNS` names it."""
    times = (f"{ms:.0f}" for ms in (latency.p50_ms, latency.p95_ms, latency.max_ms))
    return latency.calls, latency.heard, latency.refused, *times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each number of calls speaks")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    report = run(options.size, options.device, options.seconds)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(markdown(report))


if __name__ == "__main__":
    main()
