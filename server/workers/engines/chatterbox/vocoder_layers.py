"""What of the vocoder is computed otherwise than upstream does: the pitch, and Fourier transforms."""

import torch
from chatterbox.models.s3gen.f0_predictor import ConvRNNF0Predictor
from torch import Tensor
from torch.nn import functional as F

from server.workers.engines.chatterbox.convolution import Convolution


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
