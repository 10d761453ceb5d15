"""Perth's implicit watermark, put into streams of 24 kHz audio without any delay.

The network is upstream's, and so is every figure here that it was trained with. Detecting is upstream's
(`PerthImplicitWatermarker.get_watermark`). Upstream resamples to 32 kHz, where a frame has 2048 samples and a hop 320;
at 24 kHz 1536 and 240 are the same lengths of time and the same frequencies, so nothing needs to be resampled: a clip
marked in one piece agrees with upstream's to 60 dB and better.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import perth
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from server.errors import VoicefleetError
from server.workers.engines.chatterbox.transfer import sent

_FRAME, _HOP = 1536, 240  # samples at 24 kHz
_SCALE = 2048 / _FRAME  # from our magnitudes to those at 32 kHz
_OVERLAP = 0.375 * _FRAME / _HOP  # what the squared windows of all frames add up to at any sample
_LEAST_MAGNITUDE = 1e-9
_FLOOR_DB, _RANGE_DB = -180.0, 195.0  # the network's 0 and 1: the least magnitude, and 15 dB
_MASK_SHARE = 0.05  # of the loudest frame so far; in practice only digital silence is below
_REACH = 15  # frames to either side that the network looks at

_FRAMES_STEP = 32  # frames are filled up to a multiple and rows to a power of two: cuFFT has a plan for each product

_PAST = -(-(_FRAME // 2 + _REACH * _HOP + _FRAME // 2) // _HOP) * _HOP  # all that has a say in the next sample
_FADE = _HOP  # samples in which one chunk's mark goes over into the next one's
_AHEAD = _FRAME // 2 + _FADE  # made up, because it has not come yet; with more of it seams become rougher


class WatermarkUnavailable(VoicefleetError):
    """The watermark can't be made, and nothing is to be sent without it unnoticed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the Perth watermark can't be loaded: {reason}; takes resemble-perth, torchaudio and setuptools below 81 "
            "(perth needs its pkg_resources)"
        )


@dataclass(slots=True)
class WatermarkState:
    """What one stream leaves for its next chunk; on the device. Made by `Watermarker.start`, changed by `apply`."""

    past: Tensor
    """float32 `[5280]`: the samples before the next chunk, unmarked; zeros before the stream's start."""
    tail: Tensor
    """float32 `[240]`: how the last chunk's mark would have gone on."""
    loudest: Tensor
    """float32 `[]`: the sum over the loudest frame so far."""


class Watermarker:
    """Marks many streams at once; one instance for a device, used from one thread at a time."""

    def __init__(self, device: torch.device) -> None:
        """Load the network, 2.4 million parameters. Raises `WatermarkUnavailable`."""
        self._device = device
        encoder = _load_encoder().to(device)
        self._bins: int = encoder.subband  # below 2 kHz
        self._layers: nn.Sequential = encoder.layers
        self._window = torch.hann_window(_FRAME, device=device)
        self._fade = torch.linspace(0.0, 1.0, _FADE, device=device)

    def start(self) -> WatermarkState:
        """A new stream."""
        zeros = torch.zeros(_PAST, device=self._device)
        return WatermarkState(past=zeros, tail=zeros[:_FADE], loudest=zeros[0])

    @torch.no_grad()
    def apply(self, states: Sequence[WatermarkState], chunks: Sequence[Tensor]) -> list[Tensor]:
        """The next chunk of each stream, marked: float32 `[n_i]` at 24 kHz on the device, in and out.

        Each stream's result depends on no other. How it is cut into chunks changes the mark near the cuts, because the
        0.2 s that follow are not known there; the audio itself is never changed but by the mark.
        """
        if not chunks:
            return []
        heard = [torch.cat([state.past, chunk]) for state, chunk in zip(states, chunks, strict=True)]
        # What will come is taken to be the past, backwards: its frames then have the spectrum of the last ones.
        rows = [torch.cat([row, row[-1 - _AHEAD : -1].flip(0)]) for row in heard]
        audio = rows[0].new_zeros(_filled(list(map(len, rows))))
        loudest, frame_counts = audio.new_zeros(len(audio)), torch.zeros(len(audio), dtype=torch.int64)
        for index, (row, state) in enumerate(zip(rows, states, strict=True)):
            audio[index, : len(row)] = row
            loudest[index] = state.loudest
            frame_counts[index] = (len(row) - _FRAME) // _HOP + 1
        marks, loudest = self._marks(audio, sent(frame_counts, self._device), loudest)
        marked = []
        for index, (state, chunk) in enumerate(zip(states, chunks, strict=True)):
            mark = marks[index, _PAST : _PAST + len(chunk) + _FADE]
            mark[:_FADE] = torch.lerp(state.tail, mark[:_FADE], self._fade)
            marked.append(chunk + mark[: len(chunk)])
            state.past = heard[index][-_PAST:].clone()
            state.tail = mark[len(chunk) :].clone()
            state.loudest = loudest[index]
        return marked

    def _marks(self, audio: Tensor, frame_counts: Tensor, loudest: Tensor) -> tuple[Tensor, Tensor]:
        """What to add to float32 `[rows, samples]`, of which each row has so many true frames; the new `loudest`.

        The samples are those of whole frames, true or not.
        """
        spectrum = torch.stft(
            audio, _FRAME, _HOP, window=self._window, center=False, return_complex=True
        )  # [rows, frequencies, frames]
        is_frame = torch.arange(spectrum.shape[2], device=self._device) < frame_counts[:, None]
        magnitudes = 20.0 * torch.log10((_SCALE * spectrum.abs()).clamp(min=_LEAST_MAGNITUDE))
        magnitudes = (magnitudes - _FLOOR_DB) / _RANGE_DB * is_frame[:, None]
        sums = magnitudes.sum(dim=1)
        loudest = torch.maximum(loudest, sums.amax(dim=1))
        # Past a row's last frame each layer sees zeros, as past the end of the longest: rows do not depend on others.
        change = magnitudes[:, : self._bins]
        for layer in self._layers:
            change = layer(change) * is_frame[:, None]
        change = change * (sums > _MASK_SHARE * loudest[:, None])[:, None]
        gain = 10.0 ** (change * (_RANGE_DB / 20.0)) - 1.0
        frames = torch.fft.irfft(spectrum[:, : self._bins] * gain, n=_FRAME, dim=1) * self._window[:, None]
        size = (1, (frames.shape[2] - 1) * _HOP + _FRAME)
        marks = F.fold(frames, size, (1, _FRAME), stride=(1, _HOP))[:, 0, 0] / _OVERLAP
        return marks, loudest


def _filled(lengths: Sequence[int]) -> tuple[int, int]:
    """Rows and samples of a batch with room for rows of these lengths, and of a shape that others have too."""
    frames = -(-(max(lengths) - _FRAME) // _HOP) + 1
    frames = -(-frames // _FRAMES_STEP) * _FRAMES_STEP
    return 1 << (len(lengths) - 1).bit_length(), (frames - 1) * _HOP + _FRAME


def _load_encoder() -> Any:
    """The half of the network that marks. Perth becomes None where it can't be imported, and prints where it can."""
    if perth.PerthImplicitWatermarker is None:
        raise WatermarkUnavailable("perth could not import it")
    with contextlib.redirect_stdout(io.StringIO()):
        network = perth.PerthImplicitWatermarker().perth_net
    settings = network.hp
    trained = (settings.sample_rate, settings.n_fft, settings.window_size, settings.hop_size, settings.window_fn)
    if trained != (32_000, 2048, 2048, 320, "hann") or settings.stft_magnitude_min != _LEAST_MAGNITUDE:
        raise WatermarkUnavailable(f"its network has other settings than those known here: {settings}")
    return network.encoder.eval().requires_grad_(False)
