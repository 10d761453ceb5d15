"""The engine without its thread: what the device does when the loop says so, and what of a stream is on the device.

`loop` chooses and keeps the books. It blocks while the device works; it knows no event loop.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.audio.silence import SilenceTrimmer
from server.errors import VoicefleetError
from server.workers.engine import EngineBusy, EngineFailed, UnusableProgress
from server.workers.engines.chatterbox.checkpoint import SAMPLE_RATE, Checkpoint
from server.workers.engines.chatterbox.compiling import EAGER, Compiler
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.fitting import Fitting
from server.workers.engines.chatterbox.flow import FlowHop, FlowStream, WindowedFlow
from server.workers.engines.chatterbox.flow_chunked import ChunkedFlow
from server.workers.engines.chatterbox.flow_model import FlowVoice
from server.workers.engines.chatterbox.graphs import CudaRecorder
from server.workers.engines.chatterbox.loop import Loop, Totals
from server.workers.engines.chatterbox.rows import Rows
from server.workers.engines.chatterbox.sampler import Sampling, draw
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.t3 import T3Decoder
from server.workers.engines.chatterbox.t3_model import Prefix
from server.workers.engines.chatterbox.tempo import Tempo
from server.workers.engines.chatterbox.vocoder import Vocoder, VocoderHop, VocoderStream
from server.workers.engines.chatterbox.watermark import Watermarker, WatermarkState
from server.workers.engines.chatterbox.work import Draw, Join, Render, Rest

_SPEECH_SHARE = 4  # a quarter of a row at least is for speech
_VOICES_BYTES = 1_250_000_000
"""What voices may take of the device: 32 of 36 MiB each, or eight where the flow keeps what it has computed of them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A piece of text to be spoken. `heard` is handed its audio, 16-bit PCM, and at last `ended` why it ended."""

    text: Sequence[int]
    voice: Conditionals
    sampling: Sampling
    speed: float
    heard: Callable[[bytes], None]
    ended: Callable[[VoicefleetError | None], None]


@dataclass(slots=True, eq=False)
class _Voicing:
    """What of a stream is on the device, but for its row."""

    flow: FlowStream
    vocoder: VocoderStream
    tempo: Tempo
    watermark: WatermarkState | None
    trimmer: SilenceTrimmer = field(default_factory=lambda: SilenceTrimmer(SAMPLE_RATE))

    def copied(self) -> "_Voicing":
        """One that a hop can change and this one not know it. Only what is handed over is trimmed, so that is shared.

        No part changes a tensor or list that it holds: it takes another one.
        """
        return _Voicing(copy(self.flow), copy(self.vocoder), copy(self.tempo), copy(self.watermark), self.trimmer)


class _Copied:
    """Tensors [n_i] of one dtype on their way to the host, end to end. It takes no memory of the device."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        on_cuda = tensors[0].device.type == "cuda"
        lengths = [len(tensor) for tensor in tensors]
        self._host = torch.empty(sum(lengths), dtype=tensors[0].dtype, pin_memory=on_cuda)
        for part, tensor in zip(torch.split(self._host, lengths), tensors, strict=True):
            part.copy_(tensor, non_blocking=True)
        self._done: torch.cuda.Event | None = None
        if on_cuda:
            self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._done.record()

    @property
    def ready(self) -> bool:
        """Whether it is there; without a device of its own it always is."""
        return self._done is None or bool(self._done.query())  # type: ignore[no-untyped-call]

    def array(self) -> NDArray[Any]:
        """Waits for it."""
        if self._done:
            self._done.synchronize()
        return self._host.numpy()


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One token of each of these streams."""

    streams: Sequence[Stream]
    copied: _Copied

    @property
    def ready(self) -> bool:
        return self.copied.ready


@dataclass(frozen=True, slots=True)
class _Rendered:
    """Samples of these streams, end to end: how many are whose, and whether they are the last."""

    streams: Sequence[Stream]
    lengths: Sequence[int]
    last: Sequence[bool]
    copied: _Copied

    @property
    def ready(self) -> bool:
        return self.copied.ready


class Core:
    """The device and everything on it. One thread calls it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        flow: WindowedFlow | ChunkedFlow,
        rows: int,
        positions: int,
        watermarker: Watermarker | None,
        clock: Callable[[], float] = time.monotonic,
        flow_graphs: bool = False,
        vocoder_graphs: bool = False,
        prefill_graphs: bool = False,
        compiler: Compiler = EAGER,
    ) -> None:
        """`rows` streams at once, of `positions` tokens of voice, text and speech each; `clock` is monotonic.

        With `flow_graphs`, `vocoder_graphs` and `prefill_graphs` those of these parts are captured too, and not the
        decoder's steps alone. `compiler` is for the draw and the vocoder, and should be the one that `flow` has.
        """
        self.decoder = T3Decoder(checkpoint.t3, rows, positions, compiler(draw))
        self._flow = flow
        self._flow_graphs, self._vocoder_graphs, self._prefill_graphs = flow_graphs, vocoder_graphs, prefill_graphs
        self._vocoder = Vocoder(checkpoint.vocoder, compiler)
        self._compiler = compiler
        self._watermarker = watermarker
        self._requests: dict[Stream, Request] = {}  # in the order of their coming
        self.loop: Loop[_Drawn | _Rendered] = Loop(self, self._requests, Rows(rows, self.decoder), clock)
        self._voicings: dict[Stream, _Voicing] = {}
        self._joins, self._draws, self._renders = Fitting(), Fitting(), Fitting()
        self._voices: OrderedDict[int, tuple[Conditionals, Prefix, FlowVoice]] = OrderedDict()

    @property
    def totals(self) -> Totals:
        """What was done since the start."""
        return self.loop.totals

    @property
    def streams(self) -> int:
        """Streams that are being spoken or wait for it."""
        return len(self._requests)

    @property
    def rows_used(self) -> int:
        """Streams whose tokens are not all there yet."""
        return self.loop.rows.used

    def capture(self) -> None:
        """Capture all graphs, on the thread that will replay them; without CUDA there are none."""
        if self.decoder.device.type == "cuda":
            record = CudaRecorder()
            if self._flow_graphs:
                self._flow.capture(record)  # first, as its graphs need the most memory
            if self._vocoder_graphs:
                self._vocoder.capture(record)
            if self._prefill_graphs:
                self.decoder.capture_prefill(record)
            self.decoder.capture(record)

    def settle(self) -> None:
        """The warm-up is over: from here on nothing is compiled, as callers would wait for it."""
        self._compiler.settle()

    def submit(self, stream: Stream, request: Request) -> None:
        """Speak `request`; `stream` says by when."""
        self._requests[stream] = request

    def cancel(self, stream: Stream) -> None:
        """Let go of `stream` and of all that it has. One that is gone already is no fault."""
        self._requests.pop(stream, None)
        self._voicings.pop(stream, None)
        self.loop.rows.leave(stream)

    def fail(self, error: VoicefleetError) -> None:
        """End every stream with `error`."""
        for stream in list(self._requests):
            self._end(stream, error)

    def advance(self) -> Rest | None:
        """Do one piece of work; `Rest` when there is none. Raises what the device raises, but for lack of memory."""
        return self.loop.advance()

    @torch.inference_mode()
    def launch(self, work: Join | Draw | Render) -> _Drawn | _Rendered | None:
        """See `loop.Device`."""
        match work:
            case Join(stream):
                return self._joins.launch([stream], self._join, self._shed)
            case Draw(streams):
                return self._draws.launch(streams, self._draw, self._shed)
            case Render(streams):
                return self._renders.launch(streams, self._render, self._shed)

    def take(self, launched: _Drawn | _Rendered) -> None:
        """See `loop.Device`."""
        if isinstance(launched, _Drawn):
            self.loop.drew(launched.streams, launched.copied.array().tolist())
            return
        samples = launched.copied.array().astype(np.float32, copy=False)
        start = 0
        for stream, length, last in zip(launched.streams, launched.lengths, launched.last, strict=True):
            if stream in self._requests:
                self._hand_over(stream, samples[start : start + length], last)
            start += length

    def _join(self, streams: Sequence[Stream]) -> _Drawn | None:
        (stream,) = streams
        request = self._requests[stream]
        prefix, flow_voice = self._voice(request.voice)
        # What is left of 300 characters of no language the model knows: it could not have said the rest anyway.
        text = request.text[: self.decoder.positions - self.decoder.positions // _SPEECH_SHARE - prefix.positions]
        if prefix.positions + len(text) + 1 + len(stream.draws) > self.decoder.positions:
            self._end(stream, UnusableProgress("tokens: got more than a row has room for"))
            return None
        row = self.loop.rows.join(stream)
        try:
            self.decoder.join(row, prefix, text, request.sampling, stream.draws)
            self._voicings[stream] = _Voicing(
                self._flow.open(flow_voice, request.sampling.seed),
                self._vocoder.open(request.sampling.seed),
                Tempo(request.speed),
                self._watermarker.start() if self._watermarker else None,
            )
            drawn = _Drawn([stream], _Copied([self.decoder.token[row : row + 1]]))
        except torch.OutOfMemoryError:
            self.loop.rows.leave(stream)
            raise
        self.loop.joined(stream)
        stream.cap = max(stream.drawn, min(stream.cap, stream.drawn + self.decoder.room(row)))
        return drawn

    def _draw(self, streams: Sequence[Stream]) -> _Drawn:
        drawing = self.loop.brought_forward(streams)
        self.decoder.step(len(drawing))
        self.loop.drawing(drawing)
        return _Drawn(drawing, _Copied([self.decoder.token[: len(drawing)]]))

    def _render(self, streams: Sequence[Stream]) -> _Rendered:
        """Nothing has changed before all is made: then each stream takes its hop and what the parts keep of it."""
        hops = [stream.next_hop for stream in streams]
        voicings = [self._voicings[stream].copied() for stream in streams]
        mels = self._flow.render([FlowHop(each.flow, *hop) for each, hop in zip(voicings, hops, strict=True)])
        mels = [each.tempo(mel) for each, mel in zip(voicings, mels, strict=True)]
        waves = self._vocoder.render(
            [VocoderHop(each.vocoder, mel, last) for each, mel, (_, last) in zip(voicings, mels, hops, strict=True)]
        )
        if self._watermarker:
            waves = self._watermarker.apply([each.watermark for each in voicings if each.watermark], waves)
        copied = _Copied(waves)
        for stream, voicing in zip(streams, voicings, strict=True):
            stream.take_hop()
            self._voicings[stream] = voicing
        self.loop.rendering(len(waves))
        return _Rendered(streams, [len(wave) for wave in waves], [last for _, last in hops], copied)

    def _hand_over(
        self, stream: Stream, samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]], last: bool
    ) -> None:
        # Half precision has overflowed; the other rows of the batch know nothing of it.
        if not np.isfinite(samples).all():
            log.error("stream_not_finite", streams=self.streams)
            self._end(stream, EngineFailed("the model has made something other than numbers of this text"))
            return
        trimmer = self._voicings[stream].trimmer
        audible = trimmer.push(samples)
        if last:
            audible = np.concatenate([audible, trimmer.finish()])
        seconds = len(audible) / SAMPLE_RATE
        self.loop.heard(stream, seconds)
        if len(audible):
            self._requests[stream].heard((np.clip(audible, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
        if last:
            self._end(stream, None)

    def _end(self, stream: Stream, error: VoicefleetError | None) -> None:
        ended = self._requests[stream].ended
        self.cancel(stream)
        ended(error)

    def _voice(self, conditionals: Conditionals) -> tuple[Prefix, FlowVoice]:
        """What the model has made of a voice, kept until memory is wanted for others asked for since."""
        key = id(conditionals)  # and held below, so that no other can have the same
        if key not in self._voices:
            self._voices[key] = conditionals, self.decoder.prefix(conditionals), self._flow.voice(conditionals)
            while len(self._voices) > 1 and self._voices_bytes > _VOICES_BYTES:
                self._voices.popitem(last=False)
        self._voices.move_to_end(key)
        _, prefix, flow_voice = self._voices[key]
        return prefix, flow_voice

    @property
    def _voices_bytes(self) -> int:
        return sum(prefix.cache.nbytes + voice.nbytes for _, prefix, voice in self._voices.values())

    def _shed(self, stream: Stream) -> None:
        self.totals.shed += 1
        log.warning("stream_shed", reason="out_of_memory", streams=self.streams)
        self._end(stream, EngineBusy("the device has too little memory left for this stream"))
