"""A recording that a client sent, on its way to the recogniser: decoded in steps, cut at its silences.

Whole files are held as they came and never decoded as a whole, so that an hour of telephone speech costs no more memory
than its file.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from server.audio import Samples
from server.audio.formats import MODEL_RATE
from server.audio.resampling import Resampler
from server.audio.utterances import Utterance, UtteranceCutter
from server.audio.wav import Wav, WavError, wav_header
from server.http_api.errors import ApiError
from server.vad_processor import FRAME_SAMPLES, VadProcessor

_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_RAW_RATE = 24_000  # of what calls itself PCM, as in the rest of the API
_RAW_SUFFIXES = (".pcm", ".raw")
_LONGEST_SECONDS = 7200.0
_STEP_SECONDS = 1.0  # decoded in one go on the event loop: a millisecond or two
_FRAME_BYTES = 2 * FRAME_SAMPLES


class Recording:
    """Audio at any usual rate."""

    def __init__(self, content: bytes | bytearray, filename: str) -> None:
        """A WAV file, or raw 16-bit mono PCM at 24 kHz if the file's name says so. Raises `ApiError`, `WavError`."""
        if filename.lower().endswith(_RAW_SUFFIXES):
            content = wav_header(_RAW_RATE, len(content)) + content
        self._wav = Wav(content, "file")
        if self._wav.rate not in _RATES:
            raise WavError("file", f"has {self._wav.rate} Hz, which is none of {', '.join(map(str, _RATES))}")
        self.seconds = self._wav.frames / self._wav.rate
        if self.seconds > _LONGEST_SECONDS:
            message = f"file: got {self.seconds:.0f} s of audio; takes at most {_LONGEST_SECONDS:.0f}"
            raise ApiError(400, "audio_too_long", message, "file")

    async def utterances(self, vad: VadProcessor) -> AsyncGenerator[Utterance, None]:
        """What is spoken in it, one after the other."""
        cutter, stream = UtteranceCutter(), vad.stream()
        async with aclosing(aiter(stream)) as activity:
            for frames in self._frames():
                await stream.feed(b"".join(frames))
                for frame in frames:
                    heard = await anext(activity)
                    if utterance := cutter.push(frame, heard.probability):
                        yield utterance
        if utterance := cutter.finish():
            yield utterance

    def _frames(self) -> Iterator[list[bytes]]:
        """Frames as the VAD takes them, a few at a time; the last one is filled up with silence."""
        held = bytearray()
        for samples in self._resampled():
            held += samples.astype("<i2", copy=False).tobytes()
            whole = len(held) - len(held) % _FRAME_BYTES
            yield [bytes(held[start : start + _FRAME_BYTES]) for start in range(0, whole, _FRAME_BYTES)]
            del held[:whole]
        if held:
            yield [bytes(held.ljust(_FRAME_BYTES, b"\0"))]

    def _resampled(self) -> Iterator[Samples]:
        resampler = Resampler(self._wav.rate, MODEL_RATE)
        step = round(self._wav.rate * _STEP_SECONDS)
        for start in range(0, self._wav.frames, step):
            yield resampler.push(self._wav.samples(start, start + step))
        yield resampler.flush()
