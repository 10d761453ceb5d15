"""How many streams this machine speaks at once, and what limits them: the measurements behind `voicefleet bench tts`.

With random weights the token counts are what real text gives and the sampler is on, so speed is that of trained ones;
what is spoken is noise.
"""

import gc
import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from server.bench.chatterbox_profile import ceilings, hop_profile, step_profile
from server.bench.percentiles import percentile_ms
from server.bench.tts_load import SENTENCES, listen, speech_tokens
from server.bench.tts_report import Level, Parts, TtsReport
from server.workers.engine import Voice
from server.workers.engines.chatterbox.capacity import Capacity
from server.workers.engines.chatterbox.checkpoint import (
    FULL,
    SAMPLE_RATE,
    SMALL,
    Checkpoint,
    Precision,
    load_checkpoint,
    random_checkpoint,
    random_voice,
)
from server.workers.engines.chatterbox.compiling import EAGER, Compiler, Inductor
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.core import Core
from server.workers.engines.chatterbox.costs import Costs
from server.workers.engines.chatterbox.engine import ChatterboxEngine
from server.workers.engines.chatterbox.loading import FLOWS, POSITIONS, captures, chosen_device, rows_for
from server.workers.engines.chatterbox.sampler import draw
from server.workers.engines.chatterbox.t3 import T3Decoder, row_bytes
from server.workers.engines.chatterbox.upstream import speaking_so_long, upstream_tts
from server.workers.engines.chatterbox.vocoder import Vocoder
from server.workers.engines.chatterbox.watermark import Watermarker

_SHAPES = {"full": FULL, "small": SMALL}
_PROMPT_SECONDS = {"full": 10.0, "small": 2.0}
_SENTENCE = SENTENCES[4]
_LEVELS_BEYOND = 1.12  # between a level that holds and one that does not: closer than that is noise
_PROFILED_STREAMS = (1, 4, 16)


class _OneVoice:
    def __init__(self, voice: Conditionals) -> None:
        self._voice = voice

    def list(self) -> Sequence[Voice]:
        return [Voice("benchmark", "en", "a prompt of real length", is_default=True)]

    def look_again(self) -> None:
        pass

    def get(self, name: str) -> Conditionals:
        return self._voice


class Benchmark:
    """One configuration on one device."""

    def __init__(
        self,
        size: str,
        weights: Path | None,
        device: str,
        flow: Literal["windowed", "chunked"],
        rows: int,
        parts: Parts = "eager",
    ) -> None:
        """`rows` 0 takes what the memory holds; `parts` beyond "eager" are captured only where CUDA is.

        Raises `EngineFailed`, `OSError`.
        """
        self._parts: Parts = parts
        self._device = chosen_device(device)
        self._precision = Precision.best(self._device)
        self._size, self._weights, self._flow, self._rows = size, weights, flow, rows
        self._voice = random_voice(_PROMPT_SECONDS["full" if weights else size])

    async def run(self, seconds: float, doing: Callable[[str], None]) -> TtsReport:
        """Measure everything, `seconds` for each number of streams; `doing` is told what is being done."""
        doing("measuring the device")
        device_ceilings = ceilings(self._device, self._precision.t3)
        doing("upstream, one sentence after the other")
        upstream = self._upstream()
        doing("loading")
        checkpoint = self._checkpoint(self._precision)
        graphs = self._parts != "eager"
        compiler: Compiler = Inductor() if self._parts == "compiled" else EAGER
        form = FLOWS[self._flow]
        flow = form(checkpoint.flow, compiler)
        rows = self._rows or rows_for(checkpoint, captures(checkpoint, form, graphs, graphs, graphs))
        doing("profiling steps and hops")
        counts = sorted({min(count, rows) for count in (1, 32, rows)})
        steps = step_profile(T3Decoder(checkpoint.t3, rows, POSITIONS, compiler(draw)), checkpoint, self._voice, counts)
        self._let_go()
        hops = [
            hop_profile(flow, Vocoder(checkpoint.vocoder, compiler), self._voice, self._device, streams)
            for streams in _PROFILED_STREAMS
            if streams <= rows
        ]
        core = Core(
            checkpoint,
            flow,
            rows,
            POSITIONS,
            Watermarker(self._device),
            flow_graphs=graphs,
            vocoder_graphs=graphs,
            prefill_graphs=graphs,
            compiler=compiler,
        )
        found: list[Capacity] = []

        def capacity(costs: Costs, most: int) -> Capacity:
            found.append(Capacity(costs, most))
            return found[0]

        engine = ChatterboxEngine(
            core, checkpoint.tokenize, _OneVoice(self._voice), token_cap=speech_tokens, capacity=capacity
        )
        doing("warming up")
        await engine.warm_up()
        admitted = found[0].limit
        levels: list[Level] = []
        try:
            for streams in _next_levels(rows, levels):
                doing(f"{streams} streams")
                levels.append(await self._level(engine, streams, seconds))
        finally:
            await engine.close()
        return TtsReport(
            machine=_machine(self._device),
            weights=str(self._weights.name) if self._weights else f"random, {self._size} shape: speed only",
            flow=self._flow,
            parts=self._parts,
            ceilings=device_ceilings,
            upstream_audio_seconds_per_second=upstream,
            row_mib=row_bytes(checkpoint.t3, POSITIONS) / 2**20,
            capacity=admitted,
            levels=sorted(levels, key=lambda level: level.streams),
            steps=steps,
            hops=hops,
        )

    async def _level(self, engine: ChatterboxEngine, streams: int, seconds: float) -> Level:
        before, began = replace(engine.totals), time.monotonic()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        heard = await listen(engine, streams, seconds)
        took = time.monotonic() - began
        done = engine.totals
        steps, renders = max(1, done.steps - before.steps), max(1, done.renders - before.renders)
        drawn = done.tokens - before.tokens
        return Level(
            streams=streams,
            first_audio_p50_ms=percentile_ms(heard.first_audio, 50),
            first_audio_p95_ms=percentile_ms(heard.first_audio, 95),
            underruns=heard.underruns,
            chunks=heard.chunks,
            audio_seconds_per_second=heard.audio / took,
            real_time_factor=(done.busy_seconds - before.busy_seconds)
            / max(done.audio_seconds - before.audio_seconds, 1e-9),
            tokens_per_second=drawn / took,
            rows_per_step=(drawn - (done.joins - before.joins)) / steps,
            hops_per_render=(done.hops - before.hops) / renders,
            memory_mib=_memory_mib(self._device),
        )

    def _upstream(self) -> float:
        """Seconds of audio that upstream's own `generate` makes in a second, in upstream's own float32."""
        checkpoint = self._checkpoint(Precision(torch.float32, torch.float32))
        tts = upstream_tts(checkpoint, self._voice)
        tokens = speech_tokens(_SENTENCE)
        seconds = []
        with speaking_so_long(tts, tokens):
            for _ in range(3):
                began = time.perf_counter()
                audio = tts.generate(_SENTENCE)  # ends with a copy to the host
                seconds.append(time.perf_counter() - began)
        del tts, checkpoint
        self._let_go()
        return float(audio.shape[-1]) / SAMPLE_RATE / min(seconds)

    def _checkpoint(self, precision: Precision) -> Checkpoint:
        if self._weights:
            return load_checkpoint(self._weights, self._device, precision)
        return random_checkpoint(_SHAPES[self._size], self._device, precision)

    def _let_go(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _next_levels(rows: int, levels: Sequence[Level]) -> Iterator[int]:
    """Twice as many streams each time while they hold, as far as there are rows; then between held and not held."""
    streams = 1
    while True:
        yield streams
        if not levels[-1].holds or streams == rows:
            break
        streams = min(2 * streams, rows)
    while True:
        held = max((level.streams for level in levels if level.holds), default=0)
        failed = min((level.streams for level in levels if not level.holds), default=0)
        between = (held + failed) // 2
        if not held or failed <= held * _LEVELS_BEYOND or between in (held, failed):
            return
        yield between


def _memory_mib(device: torch.device) -> float:
    """The most that was claimed at once: of the device's memory, or of the process's where it computes on the cpu."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, torch {torch.__version__}, Python {platform.python_version()}"
