"""Noise reductions that can be had with their weights, as `tests.bench.noise_reduction` compares them.

Each takes a sound whole (float32, mono, 16 kHz) and gives one of the same length in which nothing is moved in time;
`lag` says by how many seconds it would be late in a call. The arithmetic is their authors'.
"""

import tarfile
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from scipy.signal import resample_poly

from server.audio.log_mel import SAMPLE_RATE
from server.models.catalogue import parse_catalogue
from server.models.store import ModelStore
from server.settings.loading import load_settings

Sound = NDArray[np.float32]


class Denoiser(Protocol):
    """`lag` in seconds."""

    lag: float

    def __call__(self, sound: Sound) -> Sound:
        """The sound with less noise."""
        ...


class Dtln:
    """DTLN (Westhausen and Meyer, 2020): a mask over the spectrum of 32 ms, then one over a learned one; every 8 ms."""

    _BLOCK, _STEP = 512, 128
    lag = (_BLOCK - _STEP) / SAMPLE_RATE

    def __init__(self) -> None:
        folder = _folder("dtln")
        self._mask, self._refine = (_session((folder / f"model_{n}.onnx").read_bytes()) for n in (1, 2))

    def __call__(self, sound: Sound) -> Sound:
        """See `Denoiser`."""
        heard = np.concatenate((np.zeros(self._BLOCK - self._STEP), sound, np.zeros(self._BLOCK)))
        result = np.zeros(len(heard), np.float32)
        mask_state = refine_state = np.zeros((1, 2, 128, 2), np.float32)
        for at in range(0, len(heard) - self._BLOCK + 1, self._STEP):
            spectrum = np.fft.rfft(heard[at : at + self._BLOCK])
            magnitude = np.abs(spectrum).astype(np.float32).reshape(1, 1, -1)
            mask, mask_state = self._mask.run(None, {"input_2": magnitude, "input_3": mask_state})
            masked = np.fft.irfft(spectrum * mask[0, 0]).astype(np.float32).reshape(1, 1, -1)
            block, refine_state = self._refine.run(None, {"input_4": masked, "input_5": refine_state})
            result[at : at + self._BLOCK] += block[0, 0]
        return result[self._BLOCK - self._STEP :][: len(sound)]


class Gtcrn:
    """GTCRN (Rong and others, 2024): 24,000 weights, a complex mask over the spectrum of 32 ms, every 16 ms."""

    _BLOCK, _STEP = 512, 256
    lag = (_BLOCK - _STEP) / SAMPLE_RATE

    def __init__(self) -> None:
        self._model = _session((_folder("gtcrn") / "gtcrn_simple.onnx").read_bytes())
        self._states = {i.name: np.zeros(i.shape, np.float32) for i in self._model.get_inputs() if i.name != "mix"}
        self._window = np.sqrt(np.hanning(self._BLOCK + 1)[:-1])

    def __call__(self, sound: Sound) -> Sound:
        """See `Denoiser`."""
        heard = np.concatenate((np.zeros(self._STEP), sound, np.zeros(self._BLOCK)))
        result = np.zeros(len(heard), np.float32)
        states = self._states
        for at in range(0, len(heard) - self._BLOCK + 1, self._STEP):
            spectrum = np.fft.rfft(heard[at : at + self._BLOCK] * self._window)
            parts = np.stack((spectrum.real, spectrum.imag), axis=-1).astype(np.float32)
            better, *new = self._model.run(None, {"mix": parts[np.newaxis, :, np.newaxis], **states})
            states = dict(zip(states, new, strict=True))
            block = np.fft.irfft(better[0, :, 0, 0] + 1j * better[0, :, 0, 1])
            result[at : at + self._BLOCK] += block * self._window
        return result[self._STEP :][: len(sound)]


class DeepFilterNet3:
    """DeepFilterNet 3 (Schröter and others, 2023) at 48 kHz: gains for 32 bands, and filters up to 4.8 kHz.

    All blocks in one go, as the exported graphs keep no state between calls: a call would cost more.
    """

    _RATE, _BLOCK, _STEP = 48_000, 960, 480
    _BANDS, _FILTERED, _TAPS, _AHEAD = 32, 96, 5, 2
    _KEEP = float(np.exp(-_STEP / _RATE))  # of the running means
    lag = (_BLOCK - _STEP + _AHEAD * _STEP) / _RATE

    def __init__(self) -> None:
        with tarfile.open(_folder("deepfilternet3") / "DeepFilterNet3_onnx.tar.gz") as archive:
            self._encode, self._gains, self._filters = (
                _session(_member(archive, f"tmp/export/{name}.onnx")) for name in ("enc", "erb_dec", "df_dec")
            )
        sine = np.sin(0.5 * np.pi * (np.arange(self._BLOCK) + 0.5) / self._STEP)
        self._window = np.sin(0.5 * np.pi * sine**2)
        self._widths = self._band_widths()

    def __call__(self, sound: Sound) -> Sound:
        """See `Denoiser`."""
        fine = resample_poly(sound, self._RATE // SAMPLE_RATE, 1)
        heard = np.concatenate((np.zeros(self._STEP), fine, np.zeros(self._BLOCK - len(fine) % self._STEP)))
        blocks = np.lib.stride_tricks.sliding_window_view(heard, self._BLOCK)[:: self._STEP]
        spectra = np.fft.rfft(blocks * self._window) / self._BLOCK
        better = self._filtered(spectra)
        result = np.zeros(len(heard))
        for number, block in enumerate(np.fft.irfft(better * self._BLOCK) * self._window):
            result[number * self._STEP : number * self._STEP + self._BLOCK] += block
        coarse: Sound = resample_poly(result[self._STEP :], 1, self._RATE // SAMPLE_RATE)[: len(sound)]
        return coarse.astype(np.float32)

    def _filtered(self, spectra: NDArray[np.complex128]) -> NDArray[np.complex128]:
        ahead = np.zeros((self._AHEAD, spectra.shape[1]))
        bands, bins = self._features(np.concatenate((spectra, ahead)))
        found = self._encode.run(None, {"feat_erb": bands, "feat_spec": bins})
        encoded = dict(zip((output.name for output in self._encode.get_outputs()), found, strict=True))
        (gains,) = self._gains.run(None, {name: encoded[name] for name in ("emb", "e3", "e2", "e1", "e0")})
        filters = self._filters.run(None, {name: encoded[name] for name in ("emb", "c0")})[0]
        better: NDArray[np.complex128] = spectra * np.repeat(gains[0, 0, self._AHEAD :], self._widths, axis=1)
        taps = filters[0, self._AHEAD :].reshape(len(spectra), self._FILTERED, self._TAPS, 2)
        around = np.pad(spectra[:, : self._FILTERED], ((self._TAPS - 1 - self._AHEAD, self._AHEAD), (0, 0)))
        better[:, : self._FILTERED] = sum(
            around[tap : tap + len(spectra)] * (taps[:, :, tap, 0] + 1j * taps[:, :, tap, 1])
            for tap in range(self._TAPS)
        )
        return better

    def _features(self, spectra: NDArray[np.complex128]) -> tuple[Sound, Sound]:
        """Levels of the bands less their running means, and the lowest bins over theirs."""
        starts = np.concatenate(([0], np.cumsum(self._widths)[:-1]))
        power = np.add.reduceat(np.abs(spectra) ** 2, starts, axis=1) / self._widths
        levels, bins = 10 * np.log10(power + 1e-10), spectra[:, : self._FILTERED]
        level_mean, size_mean = np.linspace(-60, -90, self._BANDS), np.linspace(1e-3, 1e-4, self._FILTERED)
        bands, units = np.empty_like(levels), np.empty_like(bins)
        for number, (level, size) in enumerate(zip(levels, np.abs(bins), strict=True)):
            level_mean = level * (1 - self._KEEP) + level_mean * self._KEEP
            size_mean = size * (1 - self._KEEP) + size_mean * self._KEEP
            bands[number], units[number] = (level - level_mean) / 40, bins[number] / np.sqrt(size_mean)
        parts = np.stack((units.real, units.imag)).astype(np.float32)
        return bands.astype(np.float32)[np.newaxis, np.newaxis], parts[np.newaxis]

    def _band_widths(self) -> NDArray[np.int64]:
        """Bins of each band: equal steps of the ear's scale (ERB), two bins at least."""
        scale, width = 24.7 * 9.265, self._RATE / self._BLOCK
        top = 9.265 * np.log1p(self._RATE / 2 / scale)
        widths, before, over = [], 0, 0
        for band in range(1, self._BANDS + 1):
            end = round(scale * np.expm1(band * top / self._BANDS / 9.265) / width)
            bins = max(2, end - before - over)
            over = bins - (end - before - over)
            before = end
            widths.append(bins)
        widths[-1] += self._BLOCK // 2 + 1 - sum(widths)
        return np.array(widths)


@cache
def _store() -> ModelStore:
    catalogue = parse_catalogue(Path(__file__).with_name("noise_models.toml").read_text(encoding="utf-8"))
    settings = load_settings()
    return ModelStore(settings.model_dir, local=settings.model_local, s3=settings.model_s3, catalogue=catalogue)


def _folder(name: str) -> Path:
    return _store().pull(name)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file, f"{name} is no file"
    return file.read()


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
