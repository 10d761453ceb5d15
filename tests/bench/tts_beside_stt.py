"""What speech synthesis and recognition cost each other on one device: `python -m tests.bench.tts_beside_stt`.

Each is a worker process, as on a node. Synthesis speaks half of the streams that its engine would admit, recognition
hears what so many calls say; first each alone, then both at once. With --mps, all of it again under NVIDIA's
Multi-Process Service, which lets kernels of both processes run at the same time.
"""

import argparse
import asyncio
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from server.bench.percentiles import percentile_ms
from server.bench.tts_load import listen
from server.stt_processor import SttProcessor
from server.tts_processor import TtsError, TtsProcessor
from server.workers.engine import EngineBusy
from tests.bench.markdown import table
from tests.bench.processes import NotServing, worker
from tests.bench.random_chatterbox import random_chatterbox
from tests.bench.stt_throughput import (
    LATENCY_COLUMNS,
    Latency,
    latency_row,
    recognition_load,
    utterances,
)
from tests.support.speech import model_folder

_CALLS = {"full": 64, "small": 2}
_MPS_CONTROL = "nvidia-cuda-mps-control"
_START_SECONDS = 120.0
_MODEL = "tiny.en"


@dataclass(frozen=True, slots=True)
class Spoken:
    """What listeners to so many streams lived through."""

    streams: int
    first_audio_p50_ms: float
    first_audio_p95_ms: float
    underruns: int
    refused: int


@dataclass(frozen=True, slots=True)
class Shared:
    """Each alone and both together; `mps` says whether under NVIDIA's Multi-Process Service."""

    mps: bool
    tts_alone: Spoken
    tts_beside: Spoken
    stt_alone: Latency
    stt_beside: Latency

    @property
    def first_audio_ratio(self) -> float:
        """Of its p95, beside recognition to alone."""
        return _ratio(self.tts_beside.first_audio_p95_ms, self.tts_alone.first_audio_p95_ms)

    @property
    def transcript_ratio(self) -> float:
        """Of its p95, beside synthesis to alone."""
        return _ratio(self.stt_beside.p95_ms, self.stt_alone.p95_ms)


@dataclass(frozen=True, slots=True)
class SharedReport:
    """Without MPS, and with it where that was asked for and is there; else `note` says that it was not tried."""

    runs: Sequence[Shared]
    note: str


def _ratio(beside: float, alone: float) -> float:
    return beside / alone if alone else math.nan  # nothing was heard


class _Remote:
    """The worker as listeners want it."""

    def __init__(self, tts: TtsProcessor) -> None:
        self._tts = tts
        self.sample_rate = tts.sample_rate

    async def synthesize(self, text: str, voice: str, speed: float) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._tts.synthesize(text, voice, speed)) as chunks:
                async for pcm in chunks:
                    yield pcm
        except TtsError as error:
            raise EngineBusy(str(error)) from None


async def _spoken(tts: TtsProcessor, streams: int, seconds: float) -> Spoken:
    heard = await listen(_Remote(tts), streams, seconds)
    return Spoken(
        streams,
        percentile_ms(heard.first_audio, 50),
        percentile_ms(heard.first_audio, 95),
        heard.underruns,
        heard.refused,
    )


async def _measure(tts_address: str, stt_address: str, calls: int, seconds: float, mps: bool) -> Shared:
    pcm = utterances()
    async with TtsProcessor(tts_address) as tts, SttProcessor(stt_address) as stt:
        streams = max(1, (tts.pool.balancer.capacity or 1) // 2)
        print(f"{streams} streams alone", flush=True)
        tts_alone = await _spoken(tts, streams, seconds)
        print(f"{calls} calls' utterances alone", flush=True)
        stt_alone = await recognition_load(stt.transcribe, pcm, calls, seconds)
        print("both", flush=True)
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(_spoken(tts, streams, seconds))
            hearing = tasks.create_task(recognition_load(stt.transcribe, pcm, calls, seconds))
    return Shared(mps, tts_alone, speaking.result(), stt_alone, hearing.result())


@contextmanager
def _multi_process_service(folder: Path) -> Iterator[None]:
    """What is started within the block shares the GPU through a daemon of its own."""
    variables = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "mps"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "mps-log")}
    for path in variables.values():
        Path(path).mkdir()
    os.environ.update(variables)
    try:
        subprocess.run([_MPS_CONTROL, "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run([_MPS_CONTROL], input="quit\n", text=True, check=False)
    finally:
        for name in variables:
            del os.environ[name]


def _with_workers(size: str, device: str, seconds: float, mps: bool) -> Shared:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice")))
        if mps:
            stack.enter_context(_multi_process_service(folder))
        tts, stt = f"unix:{folder}/tts.sock", f"unix:{folder}/stt.sock"
        print("starting the workers" + (" under MPS" if mps else ""), flush=True)
        stack.enter_context(random_chatterbox(tts, size, device))
        stack.enter_context(worker("server.workers.stt_worker", stt, seconds=_START_SECONDS,
                                   variables=_stt_settings(device)))  # fmt: skip
        return asyncio.run(_measure(tts, stt, _CALLS[size], seconds, mps))


def _stt_settings(device: str) -> Mapping[str, str]:
    model_folder(_MODEL)
    return {"VOICE_STT_DEVICE": device, "VOICE_STT_MODEL": _MODEL, "VOICE_LOG_LEVEL": "warning"}


def run(size: str, device: str, seconds: float, mps: bool) -> SharedReport:
    """Measure. Raises `NotServing`."""
    runs = [_with_workers(size, device, seconds, mps=False)]
    if not mps:
        return SharedReport(runs, "MPS was not tried: --mps was not asked for.")
    if device != "cuda" or not shutil.which(_MPS_CONTROL):
        return SharedReport(runs, f"MPS was not tried: there is no {_MPS_CONTROL} here.")
    try:
        runs.append(_with_workers(size, device, seconds, mps=True))
    except (subprocess.CalledProcessError, NotServing, OSError) as error:
        return SharedReport(runs, f"MPS: nothing was measured, since it did not start ({error}).")
    return SharedReport(runs, "")


def markdown(report: SharedReport) -> str:
    """The report's tables."""
    costs = (
        f"p95 beside the other over alone, {_under(shared)}: first audio **{shared.first_audio_ratio:.2f}**, "
        f"transcripts **{shared.transcript_ratio:.2f}**.\n"
        for shared in report.runs
    )
    return "\n".join([_synthesis(report), _recognition(report), *costs, report.note]).rstrip() + "\n"


def _synthesis(report: SharedReport) -> str:
    return table(
        ("synthesis", "streams", "first audio p50 ms", "p95 ms", "ran dry", "refused"),
        (
            (f"{how}, {_under(shared)}", spoken.streams, f"{spoken.first_audio_p50_ms:.0f}",
             f"{spoken.first_audio_p95_ms:.0f}", spoken.underruns, spoken.refused)
            for shared in report.runs
            for how, spoken in (("alone", shared.tts_alone), ("beside recognition", shared.tts_beside))
        ),
    )  # fmt: skip


def _recognition(report: SharedReport) -> str:
    return table(
        (f"recognition ({_MODEL})", *LATENCY_COLUMNS),
        (
            (f"{how}, {_under(shared)}", *latency_row(latency))
            for shared in report.runs
            for how, latency in (("alone", shared.stt_alone), ("beside synthesis", shared.stt_beside))
        ),
    )


def _under(shared: Shared) -> str:
    return "with MPS" if shared.mps else "without MPS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=tuple(_CALLS), default="full")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each load lasts")
    parser.add_argument("--mps", action="store_true", help="again under NVIDIA's Multi-Process Service")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    report = run(options.size, options.device, options.seconds, options.mps)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(markdown(report))


if __name__ == "__main__":
    main()
