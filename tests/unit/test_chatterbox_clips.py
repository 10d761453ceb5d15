"""Reference clips: a good one is read, a bad one is refused with the reason."""

import numpy as np
import pytest

from server.workers.engines.chatterbox.clip_checks import BadVoiceClip, read_clip
from tests.support.voices import audio_file, speech

GOOD = speech(8)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("WAV", "FLOAT")])
def test_a_good_clip_is_read_whatever_its_format(kind: str, subtype: str | None) -> None:
    samples, rate = read_clip(audio_file(GOOD, kind=kind, subtype=subtype), "anna.wav")

    assert rate == 24_000
    assert samples.dtype == np.float32
    assert len(samples) == len(GOOD)
    assert np.corrcoef(samples, GOOD)[0, 1] > 0.98


def test_channels_are_mixed_down() -> None:
    samples, _ = read_clip(audio_file(np.stack([GOOD, np.zeros_like(GOOD)], axis=1), subtype="FLOAT"), "anna.wav")

    assert np.allclose(samples, GOOD / 2)


@pytest.mark.parametrize("seconds", [5.01, 15.0])
def test_the_shortest_and_the_longest_are_taken(seconds: float) -> None:
    samples, _ = read_clip(audio_file(speech(seconds)), "anna.wav")

    assert len(samples) == round(seconds * 24_000)


MOSTLY_SILENT = np.concatenate([speech(3), np.zeros(24_000 * 9, np.float32)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (audio_file(speech(5.0)), "with 5.0 s it is too short"),
        (audio_file(speech(0.0)), "with 0.0 s it is too short"),
        (audio_file(speech(15.1)), "with 15.1 s it is too long"),
        (audio_file(speech(8, 8000), 8000), "its sample rate of 8000 Hz is too low"),
        (audio_file(MOSTLY_SILENT), "it is too silent: only 2[0-9]% of it holds sound"),
        (audio_file(np.zeros_like(GOOD)), "it is too silent: only 0%"),
        (audio_file(GOOD * np.float32(0.001)), "it is too silent: only 0%"),
        (
            audio_file(np.asarray(np.clip(GOOD * 8, -1, 1), np.float32)),
            r"it is clipped: \d\.\d% of its samples are at full scale",
        ),
        (audio_file(GOOD * np.float32(np.nan), subtype="FLOAT"), "it holds samples that are no numbers"),
        (b"", "can't be read"),
        (b"no audio at all", "can't be read"),
        (audio_file(GOOD, kind="FLAC")[:3], "can't be read"),
    ],
)
def test_a_bad_clip_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadVoiceClip, match=rf"^voice clip anna\.wav: {reason}.*; takes a WAV, FLAC or Ogg file"):
        read_clip(content, "anna.wav")


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_clip_that_breaks_off_is_refused(kind: str) -> None:
    content = audio_file(GOOD, kind=kind)

    with pytest.raises(BadVoiceClip):
        read_clip(content[: len(content) // 3], "anna.wav")
