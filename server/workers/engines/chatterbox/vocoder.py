"""Mel frames to samples at 24 kHz, for many streams at once, each as if it had been made in one go.

A hop computes a window of frames: those whose samples are new, and as many on either side as those depend on. Samples
that depend on frames yet to come are withheld. The source's phase is carried from window to window, and its noise is a
function of the seed and a sample's place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from chatterbox.models.s3gen.f0_predictor import ConvRNNF0Predictor
from chatterbox.models.s3gen.hifigan import HiFTGenerator
from torch import Tensor
from torch.nn import functional as F

from server.workers.engines.chatterbox.convolution import Convolution
from server.workers.engines.chatterbox.noise import normal, uniform
from server.workers.engines.chatterbox.transfer import sent

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

_NOISE, _PHASE = -1, -2  # first coordinates of the stream's random numbers; the flow's are frames from 0 on


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
    """Streams with their windows lengthened into the past until they are alike, so that no batch is padded."""

    def __init__(self, module: HiFTGenerator) -> None:
        self._module = module
        self._pitch = _Pitch(module.f0_predictor)
        self._sines = module.m_source.l_sin_gen
        self._hop = int(module.f0_upsamp.scale_factor)
        device = module.conv_pre.weight.device
        self._spectral = _Spectral(module.stft_window.to(device), module.istft_params["hop_len"])
        fade = (torch.cos(torch.linspace(torch.pi, 0, MUTE, device=device)) + 1) / 2
        self._fade = torch.cat([torch.zeros_like(fade), fade])

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
        for length, batch in _windows(waiting):
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

    def _window(self, pasts: Sequence[_Past], length: int) -> Tensor:
        """float32 [rows, samples] of the last `length` frames. What can be certain of their phase is kept."""
        mel = torch.stack([past.frames[:, -length:] for past in pasts])
        places = torch.tensor([[past.seed, past.given - length, past.certain] for past in pasts])
        seeds, first, certain = sent(places, mel.device).unsqueeze(2).unbind(1)
        # The pitch of a window's first frames is off if there was something before, but nothing new depends on it.
        pitch = self._pitch(mel).double()
        periods = pitch * (self._hop / self._module.sampling_rate)
        starts = periods.cumsum(1) - periods
        carried = torch.stack([past.cycles for past in pasts])[:, None]
        starts = starts + (carried - starts.take_along_dim(certain - first, dim=1))

        settled = max(length - PITCH_REACH, 0)
        for row, past in enumerate(pasts):
            past.cycles = starts[row, settled] % 1
            past.certain = past.given - length + settled
        return self._decoded(mel, self._source(pitch, starts, seeds, first * self._hop))

    def _source(self, pitch: Tensor, starts: Tensor, seeds: Tensor, first: Tensor) -> Tensor:
        """float32 [rows, samples]: upstream's, of each frame's pitch in Hz and phase in periods at its start, float64.

        Its noise is nine normal draws a sample, weighted and added: again a normal one, and so it is drawn as one.
        """
        sines, linear = self._sines, self._module.m_source.l_linear
        within = torch.arange(1, self._hop + 1, dtype=torch.float64, device=pitch.device) / self._module.sampling_rate
        phase = ((starts[..., None] + pitch[..., None] * within) % 1).float().flatten(1)
        harmonics = torch.arange(1, sines.harmonic_num + 2, device=pitch.device)
        offsets = (2 * math.pi * uniform(seeds, _PHASE, harmonics) - math.pi) * (harmonics > 1)
        waves = torch.sin(2 * math.pi * harmonics[:, None] * phase[:, None] + offsets[..., None])
        weights = linear.weight[0]
        wave = sines.sine_amp * torch.einsum("h,rhs->rs", weights, waves)
        voiced = (pitch > sines.voiced_threshold).repeat_interleave(self._hop, dim=1)
        noise = normal(seeds, _NOISE, first + torch.arange(phase.shape[1], device=pitch.device)) * weights.norm()
        mixed = torch.where(voiced, wave + sines.noise_std * noise, sines.sine_amp / 3 * noise)
        return torch.tanh(mixed + linear.bias)

    def _decoded(self, mel: Tensor, source: Tensor) -> Tensor:
        """float32 [rows, samples] of mel [rows, 80, frames] and its source: upstream's `decode`."""
        module = self._module
        spectrum = self._spectral.analysed(source)
        x = module.conv_pre(mel)
        for stage, upsampling in enumerate(module.ups):
            x = upsampling(F.leaky_relu(x, module.lrelu_slope))
            if stage == module.num_upsamples - 1:
                x = module.reflection_pad(x)
            x = x + module.source_resblocks[stage](module.source_downs[stage](spectrum))
            blocks = module.resblocks[stage * module.num_kernels : (stage + 1) * module.num_kernels]
            x = sum(block(x) for block in blocks) / module.num_kernels
        magnitude, phase = module.conv_post(F.leaky_relu(x)).chunk(2, dim=1)
        magnitude, phase = magnitude.exp().clamp(max=1e2), phase.sin()
        samples = self._spectral.synthesised(torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=1))
        return samples.clamp(-module.audio_limit, module.audio_limit)


class _Pitch:
    """The pitch in Hz, in true float32: an error of TF32's size would in seconds be a phase of its own."""

    def __init__(self, module: ConvRNNF0Predictor) -> None:
        layers = list(module.condnet)
        self._layers = [(Convolution(layer), active) for layer, active in zip(layers[::2], layers[1::2], strict=True)]
        self._classifier = module.classifier

    def __call__(self, mel: Tensor) -> Tensor:
        """[rows, frames] of mel [rows, 80, frames]."""
        x = mel.transpose(1, 2)
        for convolution, activation in self._layers:
            beside = convolution.reach // 2
            x = activation(convolution(F.pad(x, (0, 0, beside, beside))))
        pitch: Tensor = self._classifier(x)[..., 0].abs()
        return pitch


class _Spectral:
    """Short-time Fourier transforms, as products with their small basis: torch's own inverse waits for the device.

    A spectrum is float32 [rows, real then imaginary parts, frames].
    """

    def __init__(self, window: Tensor, hop: int) -> None:
        size = len(window)
        self._size, self._hop, self._window = size, hop, window
        unit = torch.eye(size, dtype=torch.float64)
        half = torch.eye(size // 2 + 1, dtype=torch.float64)
        forward = torch.view_as_real(torch.fft.rfft(unit)).permute(0, 2, 1).flatten(1)
        inverse = torch.cat([torch.fft.irfft(half + 0j, n=size), torch.fft.irfft(1j * half, n=size)])
        self._forward = window[:, None] * forward.to(window)
        self._inverse = inverse.to(window) * window

    def analysed(self, samples: Tensor) -> Tensor:
        """The spectrum of [rows, samples], one frame more than hops fit in."""
        padded = F.pad(samples, (self._size // 2, self._size // 2), mode="reflect")
        return (padded.unfold(1, self._size, self._hop) @ self._forward).transpose(1, 2)

    def synthesised(self, spectrum: Tensor) -> Tensor:
        """The samples, [rows, samples], of a spectrum."""
        frames = spectrum.transpose(1, 2) @ self._inverse
        envelope = (self._window**2).expand(1, frames.shape[1], -1)
        return self._added(frames) / self._added(envelope)

    def _added(self, frames: Tensor) -> Tensor:
        """[rows, samples] of overlapping frames [rows, frames, size], less half a frame of padding at each end."""
        length = (frames.shape[1] - 1) * self._hop + self._size
        added = F.fold(frames.transpose(1, 2), (1, length), (1, self._size), stride=(1, self._hop))
        return added[:, 0, 0, self._size // 2 : -(self._size // 2)]


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
