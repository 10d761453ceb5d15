"""What of the vocoder is computed otherwise than upstream does: pitch, source, activations and Fourier transforms."""

import math
from collections.abc import Callable

import torch
from chatterbox.models.s3gen.f0_predictor import ConvRNNF0Predictor
from chatterbox.models.s3gen.hifigan import HiFTGenerator, ResBlock
from torch import Tensor
from torch.nn import functional as F

from server.workers.engines.chatterbox.convolution import Convolution
from server.workers.engines.chatterbox.noise import normal, uniform

_NOISE, _PHASE = -1, -2  # first coordinates of the stream's random numbers; the flow's are frames from 0 on


class Pitch:
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


class Source:
    """What the vocoder shapes: harmonics of the pitch, and noise. Upstream's `SourceModuleHnNSF`."""

    def __init__(self, module: HiFTGenerator) -> None:
        self._sines, self._linear = module.m_source.l_sin_gen, module.m_source.l_linear
        self._hop, self._rate = int(module.f0_upsamp.scale_factor), int(module.sampling_rate)

    def samples(self, pitch: Tensor, starts: Tensor, seeds: Tensor, first: Tensor) -> Tensor:
        """float32 [rows, samples] of each frame's pitch in Hz and phase at its start in periods.

        Both are float64 [rows, frames]; `seeds` and the places of the `first` samples int64 [rows, 1]. The noise is
        upstream's nine normal draws a sample, weighted and added: again a normal one, and so it is drawn as one.
        """
        sines = self._sines
        within = torch.arange(1, self._hop + 1, dtype=torch.float64, device=pitch.device) / self._rate
        phase = ((starts[..., None] + pitch[..., None] * within) % 1).float().flatten(1)
        harmonics = torch.arange(1, sines.harmonic_num + 2, device=pitch.device)
        offsets = (2 * math.pi * uniform(seeds, _PHASE, harmonics) - math.pi) * (harmonics > 1)
        waves = torch.sin(2 * math.pi * harmonics[:, None] * phase[:, None] + offsets[..., None])
        weights = self._linear.weight[0]
        wave = sines.sine_amp * torch.einsum("h,rhs->rs", weights, waves)
        voiced = (pitch > sines.voiced_threshold).repeat_interleave(self._hop, dim=1)
        noise = normal(seeds, _NOISE, first + torch.arange(phase.shape[1], device=pitch.device)) * weights.norm()
        mixed = torch.where(voiced, wave + sines.noise_std * noise, sines.sine_amp / 3 * noise)
        return torch.tanh(mixed + self._linear.bias)


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Of `x` [rows, channels, time] with `alpha` [channels, 1]: Ziyin et al. 2020, as upstream's `Snake`."""
    return x + (1.0 / (alpha + 1e-9)) * torch.sin(x * alpha) ** 2


class ResidualBlock:
    """Upstream's `ResBlock` with an activation of one's own, in the place of `snake`."""

    def __init__(self, module: ResBlock, activation: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._activation = activation
        self._layers = [
            (first.alpha[:, None], dilated, second.alpha[:, None], plain)
            for first, dilated, second, plain in zip(
                module.activations1, module.convs1, module.activations2, module.convs2, strict=True
            )
        ]

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, channels, time], in and out."""
        for first, dilated, second, plain in self._layers:
            x = x + plain(self._activation(dilated(self._activation(x, first)), second))
        return x


class Spectral:
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
