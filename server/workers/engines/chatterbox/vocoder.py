"""Mel frames to samples at 24 kHz, for many streams at once, each as if it had been made in one go.

A hop computes a window of frames: those whose samples are new, and as many on either side as those depend on. Samples
that depend on frames yet to come are withheld. The source's phase is carried from window to window, and its noise is a
function of the seed and a sample's place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from chatterbox.models.s3gen.hifigan import HiFTGenerator
from torch import Tensor
from torch.nn import functional as F

from server.workers.engines.chatterbox.compiling import EAGER, Compiler
from server.workers.engines.chatterbox.graphs import Graphs, Record
from server.workers.engines.chatterbox.transfer import sent
from server.workers.engines.chatterbox.vocoder_layers import Pitch, ResidualBlock, Source, Spectral, snake

DECODER_REACH = 12
"""Frames on either side that a sample depends on. What lies farther counts for -110 dB or less; with 8, for -80."""

PITCH_REACH = 5
"""Frames on either side that the pitch of a frame depends on: five convolutions of width 3."""

WITHHELD = DECODER_REACH + PITCH_REACH
"""Frames at the end whose samples wait for what follows: they depend on frames whose pitch is not certain."""

HISTORY = 100
"""Frames kept before the first new sample, 32 kB. More than needed: so windows of unlike hops can be of one length."""

STRETCH = 4 / 3
"""How much longer than needed a window may become to share a batch."""

MUTE = 480
"""Samples at the start of a stream, 20 ms, that upstream mutes, and as many that it fades in: the reference clip can
spill over there."""

_ROWS_CAPTURED = (1, 2, 4)
_LENGTHS_CAPTURED = (32, 64, 82, 96, 129, 160)
"""Frames of a window: with `stream.HOPS` the first two are 32 and 82 long, and from the third on one needs 129."""


@dataclass(slots=True)
class _Past:
    """What is carried from one window to the next."""

    seed: int
    frames: Tensor
    """float32 [80, frames]: the last ones of mel."""
    cycles: Tensor
    """float64 []: the phase of the source where the pitch is no longer certain, in periods."""
    given: int = 0
    """Frames so far."""
    certain: int = 0
    """Frames whose pitch is."""
    done: int = 0
    """Frames whose samples were given out."""

    def extended(self, mel: Tensor) -> "_Past":
        """One with more frames, and without those that are too old."""
        kept = self.frames[:, -(HISTORY + self.given - self.done) :]
        return replace(self, frames=torch.cat([kept, mel], dim=1), given=self.given + mel.shape[1])

    @property
    def needed(self) -> int:
        """Frames of the shortest window that will do."""
        return self.given - max(self.done - DECODER_REACH, 0)


@dataclass(slots=True)
class VocoderStream:
    """One text being spoken."""

    past: _Past


@dataclass(frozen=True, slots=True)
class VocoderHop:
    """The next frames of a stream, float32 [80, frames] on the device; `final` if no more follow."""

    stream: VocoderStream
    mel: Tensor
    final: bool


class Vocoder:
    """Streams with their windows lengthened into the past until they are alike, so that no time is padded.

    Once graphs are captured, windows are lengthened to a shape that has one, where that much of the past is there.
    """

    def __init__(self, module: HiFTGenerator, compiler: Compiler = EAGER) -> None:
        self._module = module
        self._pitch = Pitch(module.f0_predictor)
        self._source = compiler(Source(module).samples)
        activation = compiler(snake)
        self._blocks = [ResidualBlock(block, activation) for block in module.resblocks]
        self._source_blocks = [ResidualBlock(block, activation) for block in module.source_resblocks]
        self._hop = int(module.f0_upsamp.scale_factor)
        device = module.conv_pre.weight.device
        self._spectral = Spectral(module.stft_window.to(device), module.istft_params["hop_len"])
        fade = (torch.cos(torch.linspace(torch.pi, 0, MUTE, device=device)) + 1) / 2
        self._fade = torch.cat([torch.zeros_like(fade), fade])
        self._graphs: Graphs | None = None

    def capture(self, record: Record) -> None:
        """Capture graphs of what is most often computed. Nothing sounds otherwise for it."""
        graphs = Graphs(self.forward, record)
        for rows, length in sorted(product(_ROWS_CAPTURED, _LENGTHS_CAPTURED), key=math.prod, reverse=True):
            mel = self._fade.new_zeros(rows, self._module.conv_pre.in_channels, length)
            numbers = torch.zeros(rows, 3, dtype=torch.int64, device=mel.device)
            graphs.capture((rows, length), (mel, numbers, numbers[:, 0].double()))
        self._graphs = graphs

    def open(self, seed: int) -> VocoderStream:
        """A stream without frames. One seed, below 2^63, gives one sound."""
        frames = torch.zeros(self._module.conv_pre.in_channels, 0, device=self._fade.device)
        return VocoderStream(_Past(seed, frames, torch.zeros((), dtype=torch.float64, device=self._fade.device)))

    @torch.inference_mode()
    def render(self, hops: Sequence[VocoderHop]) -> list[Tensor]:
        """Each hop's new samples, float32 [samples] on the device at 24 kHz; a stream has at most one hop among them.

        The samples of the last 17 frames so far are withheld, unless the hop is final. If it raises, no stream has
        changed.
        """
        pasts = [hop.stream.past.extended(hop.mel) for hop in hops]
        ready = [past.given - (0 if hop.final else WITHHELD) for hop, past in zip(hops, pasts, strict=True)]
        samples = [self._fade.new_empty(0)] * len(hops)
        waiting = {index: past for index, past in enumerate(pasts) if ready[index] > past.done}
        for length, batch in self._batches(waiting):
            window = self._window([pasts[index] for index in batch], length)
            for index, audio in zip(batch, window, strict=True):
                samples[index] = self._given_out(pasts[index], ready[index], audio)
        for hop, past in zip(hops, pasts, strict=True):
            hop.stream.past = past
        return samples

    def _given_out(self, past: _Past, ready: int, audio: Tensor) -> Tensor:
        """The new samples of a window that ends with the last frame given."""
        first, past.done = past.done * self._hop, ready
        end = len(audio) - (past.given - ready) * self._hop
        samples = audio[end - (ready * self._hop - first) : end]
        fade = self._fade[first : first + len(samples)]
        samples[: len(fade)] *= fade
        return samples

    def _batches(self, pasts: Mapping[int, _Past]) -> list[tuple[int, list[int]]]:
        """Batches of keys, each with the length of its windows in frames."""
        captured: dict[int, list[int]] = {}
        if self._graphs:
            for key, past in pasts.items():
                fitting = (length for length in _LENGTHS_CAPTURED if past.needed <= length <= past.frames.shape[1])
                if length := next(fitting, None):
                    captured.setdefault(length, []).append(key)
        replayed = {key for keys in captured.values() for key in keys}
        return [*captured.items(), *_windows({key: past for key, past in pasts.items() if key not in replayed})]

    def _window(self, pasts: Sequence[_Past], length: int) -> Tensor:
        """float32 [rows, samples] of the last `length` frames. What can be certain of their phase is kept."""
        captured = next((rows for rows in _ROWS_CAPTURED if rows >= len(pasts)), 0)
        replayed = self._graphs if captured and length in _LENGTHS_CAPTURED else None
        filled = [*pasts, *[pasts[0]] * (captured - len(pasts))] if replayed else pasts
        mel = torch.stack([past.frames[:, -length:] for past in filled])
        numbers = torch.tensor([[past.seed, past.given - length, past.certain] for past in filled])
        inputs = mel, sent(numbers, mel.device), torch.stack([past.cycles for past in filled])
        samples, cycles = replayed.replay((captured, length), inputs) if replayed else self.forward(*inputs)
        for row, past in enumerate(pasts):
            past.cycles = cycles[row]
            past.certain = past.given - length + _settled(length)
        return samples[: len(pasts)]

    def forward(self, mel: Tensor, numbers: Tensor, cycles: Tensor) -> tuple[Tensor, Tensor]:
        """Samples, float32 [rows, samples], and the phase where the pitch is no longer certain, float64 [rows]. Pure.

        `mel` is [rows, 80, frames]; `numbers`, int64 [rows, 3], has seeds, the places of the windows' first frames and
        of those up to which the pitch was certain before, where the phase was `cycles`, float64 [rows].
        """
        seeds, first, certain = numbers[..., None].unbind(1)
        # The pitch of a window's first frames is off if there was something before, but nothing new depends on it.
        pitch = self._pitch(mel).double()
        periods = pitch * (self._hop / self._module.sampling_rate)
        starts = periods.cumsum(1) - periods
        starts = starts + (cycles[:, None] - starts.take_along_dim(certain - first, dim=1))
        samples = self._decoded(mel, self._source(pitch, starts, seeds, first * self._hop))
        return samples, starts[:, _settled(mel.shape[2])] % 1

    def _decoded(self, mel: Tensor, source: Tensor) -> Tensor:
        """float32 [rows, samples] of mel [rows, 80, frames] and its source: upstream's `decode`."""
        module = self._module
        spectrum = self._spectral.analysed(source)
        x = module.conv_pre(mel)
        for stage, upsampling in enumerate(module.ups):
            x = upsampling(F.leaky_relu(x, module.lrelu_slope))
            if stage == module.num_upsamples - 1:
                x = module.reflection_pad(x)
            x = x + self._source_blocks[stage](module.source_downs[stage](spectrum))
            blocks = self._blocks[stage * module.num_kernels : (stage + 1) * module.num_kernels]
            x = sum(block(x) for block in blocks) / module.num_kernels
        magnitude, phase = module.conv_post(F.leaky_relu(x)).chunk(2, dim=1)
        magnitude, phase = magnitude.exp().clamp(max=1e2), phase.sin()
        samples = self._spectral.synthesised(torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=1))
        return samples.clamp(-module.audio_limit, module.audio_limit)


def _settled(length: int) -> int:
    """Frames of a window whose pitch what follows can't change."""
    return max(length - PITCH_REACH, 0)


def _windows(pasts: Mapping[int, _Past]) -> list[tuple[int, list[int]]]:
    """Batches of keys, each with the length of its windows in frames.

    One joins the batch before if it has kept enough to lengthen its window, and need not by more than a third.
    """
    batches: list[tuple[int, list[int]]] = []
    for key in sorted(pasts, key=lambda key: pasts[key].needed, reverse=True):
        past = pasts[key]
        if batches and past.frames.shape[1] >= batches[-1][0] <= STRETCH * past.needed:
            batches[-1][1].append(key)
        else:
            batches.append((past.needed, [key]))
    return batches
