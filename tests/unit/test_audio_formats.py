"""What callers may send and get: formats named, bytes decoded and encoded, wrong ones refused in plain words."""

import numpy as np
import pytest

from server.audio.formats import MODEL_RATE, AudioFormat, AudioFormatError, Decoder, Encoder

FORMATS = [
    AudioFormat.of("audio/pcm", 8_000),
    AudioFormat.of("audio/pcm", 16_000),
    AudioFormat.of("audio/pcm", 24_000),
    AudioFormat.of("audio/pcm", 48_000),
    AudioFormat.of("audio/pcmu"),
    AudioFormat.of("audio/pcma"),
]
ENGINE_RATE = 24_000


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.asarray(12_000 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate), np.int16)


def correlation(
    one: np.ndarray[tuple[int], np.dtype[np.int16]], other: np.ndarray[tuple[int], np.dtype[np.int16]]
) -> float:
    return float(np.corrcoef(one.astype(float), other.astype(float))[0, 1])


@pytest.mark.parametrize(
    ("type", "rate", "rate_meant"),
    [
        ("audio/pcm", None, 24_000),
        ("audio/pcm", 8_000, 8_000),
        ("audio/pcmu", None, 8_000),
        ("audio/pcma", 8_000, 8_000),
    ],
)
def test_a_format_without_a_rate_has_its_usual_one(type: str, rate: int | None, rate_meant: int) -> None:
    assert AudioFormat.of(type, rate).rate == rate_meant


@pytest.mark.parametrize(
    ("type", "rate", "named"),
    [
        ("audio/pcm", 44_100, "got rate 44100; takes 8000, 16000, 24000, 48000"),
        ("audio/pcm", 0, "got rate 0"),
        ("audio/pcmu", 16_000, "got rate 16000; takes 8000"),
        ("audio/opus", None, "got 'audio/opus'; takes audio/pcm, audio/pcmu or audio/pcma"),
    ],
)
def test_a_format_that_is_not_taken_is_named_with_those_that_are(type: str, rate: int | None, named: str) -> None:
    with pytest.raises(AudioFormatError, match=named):
        AudioFormat.of(type, rate)


@pytest.mark.parametrize(
    ("format", "n_bytes"), list(zip(FORMATS, [16_000, 32_000, 48_000, 96_000, 8_000, 8_000], strict=True))
)
def test_a_second_has_as_many_bytes_as_the_format_says(format: AudioFormat, n_bytes: int) -> None:
    assert format.bytes_per_second == n_bytes
    assert format.duration(n_bytes // 4) == 0.25


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_an_answer_encoded_and_decoded_is_the_same_sound(format: AudioFormat) -> None:
    encoder, decoder = Encoder(format, ENGINE_RATE), Decoder(format)
    spoken = tone(ENGINE_RATE, 0.5).tobytes()
    frames = [spoken[start : start + 960] for start in range(0, len(spoken), 960)]
    wire = b"".join([*map(encoder.encode, frames), encoder.flush()])
    assert len(wire) == format.bytes_per_second // 2
    heard = np.concatenate([decoder.decode(wire), decoder.flush()])
    assert heard.dtype == np.int16
    assert correlation(heard, tone(MODEL_RATE, 0.5)) > 0.999


def test_half_a_sample_is_refused_and_the_stream_goes_on_unharmed() -> None:
    decoder, untouched = Decoder(AudioFormat.of("audio/pcm")), Decoder(AudioFormat.of("audio/pcm"))
    frame = tone(24_000, 0.02).tobytes()
    decoder.decode(frame)
    untouched.decode(frame)
    with pytest.raises(AudioFormatError, match=r"got 959 bytes; takes whole 16-bit samples"):
        decoder.decode(frame[:-1])
    assert np.array_equal(decoder.decode(frame), untouched.decode(frame))


def test_an_engine_that_gives_half_a_sample_is_refused_too() -> None:
    with pytest.raises(AudioFormatError, match="got 3 bytes"):
        Encoder(AudioFormat.of("audio/pcmu"), ENGINE_RATE).encode(b"\0\0\0")


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_an_empty_message_is_no_sound_and_no_error(format: AudioFormat) -> None:
    assert len(Decoder(format).decode(b"")) == 0
    assert Encoder(format, ENGINE_RATE).encode(b"") == b""
