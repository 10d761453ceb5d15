"""Reads a voice's reference clip and refuses one that would make a bad voice, before any model sees it."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from server.errors import VoicefleetError

_LONGER_THAN, _LONGEST = 5.0, 15.0  # seconds: upstream refuses 5 s and less; past 15 s T3 hears none of it
_LOWEST_RATE = 16_000  # Hz: below, what makes a voice its own is cut off

_FRAME_SECONDS = 0.02
_SOUND_DBFS = -50.0  # a frame below is silence,
_SOUND_RANGE_DB = 35.0  # and so is one so far below the loudest
_LEAST_SOUND = 0.4  # of the clip; fluent speech has 0.6 to 0.9

_FULL_SCALE = 0.999
_MOST_AT_FULL_SCALE = 0.001  # of all samples; a clip that was normalized to full scale has a few


class BadVoiceClip(VoicefleetError):
    """The clip makes no good voice; the message says why and what would."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"voice clip {name}: {reason}; takes a WAV, FLAC or Ogg file with 5 to 15 s of one person's speech, "
            f"neither clipped nor mostly silent, at {_LOWEST_RATE} Hz or more"
        )


def read_clip(content: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    """The clip's samples, float32 `[n]`, its channels mixed down, and its rate in Hz; `name` is for the error.

    Raises `BadVoiceClip`.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = int(file.samplerate)
            _check_extent(name, rate, file.frames / rate)
            samples = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise BadVoiceClip(name, "can't be read") from error
    _check_sound(name, samples, rate)
    return samples, rate


def _check_extent(name: str, rate: int, seconds: float) -> None:
    """By the file's header, so that a long one is never read."""
    if rate < _LOWEST_RATE:
        raise BadVoiceClip(name, f"its sample rate of {rate} Hz is too low")
    if seconds <= _LONGER_THAN:
        raise BadVoiceClip(name, f"with {seconds:.1f} s it is too short")
    if seconds > _LONGEST:
        raise BadVoiceClip(name, f"with {seconds:.1f} s it is too long")


def _check_sound(name: str, samples: NDArray[np.float32], rate: int) -> None:
    if not np.isfinite(samples).all():
        raise BadVoiceClip(name, "it holds samples that are no numbers")
    frame = round(_FRAME_SECONDS * rate)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    if not len(frames):
        raise BadVoiceClip(name, "it holds less than its header says")
    levels = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    sounding = float(np.mean(levels > max(_SOUND_DBFS, levels.max() - _SOUND_RANGE_DB)))
    if sounding < _LEAST_SOUND:
        raise BadVoiceClip(name, f"it is too silent: only {sounding:.0%} of it holds sound")
    at_full_scale = float(np.mean(np.abs(samples) >= _FULL_SCALE))
    if at_full_scale > _MOST_AT_FULL_SCALE:
        raise BadVoiceClip(name, f"it is clipped: {at_full_scale:.1%} of its samples are at full scale")
