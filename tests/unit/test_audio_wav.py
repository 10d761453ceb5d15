"""WAV files as they come: every format that is read, two channels mixed, and bad files named as such."""

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from server.audio import Samples, g711
from server.audio.wav import WavError, read_wav, write_wav

SAMPLES: Samples = np.asarray(20_000 * np.sin(np.arange(1600) / 7), np.int16)


def wav(data: bytes, tag: int, bits: int, *, channels: int = 1, rate: int = 16_000, size: int | None = None) -> bytes:
    """A WAV file as others write it: with a LIST chunk of odd length before the audio."""
    frame = channels * bits // 8
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, rate * frame, frame, bits)
    remark = struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    chunks = layout + remark + struct.pack("<4sI", b"data", len(data) if size is None else size) + data
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


def pcm24(samples: Samples) -> bytes:
    return (samples.astype("<i4") << 8).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


@pytest.mark.parametrize(
    ("tag", "bits", "encode", "error"),
    [
        (1, 8, lambda samples: ((samples >> 8) + 128).astype(np.uint8).tobytes(), 256),
        (1, 16, lambda samples: samples.tobytes(), 0),
        (1, 24, pcm24, 0),
        (1, 32, lambda samples: (samples.astype("<i4") << 16).tobytes(), 0),
        (6, 8, g711.encode_alaw, 600),
        (7, 8, g711.encode_ulaw, 600),
    ],
    ids=["pcm8", "pcm16", "pcm24", "pcm32", "alaw", "ulaw"],
)
def test_reads_each_format(tmp_path: Path, tag: int, bits: int, encode: Callable[[Samples], bytes], error: int) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(encode(SAMPLES), tag, bits))
    samples, rate = read_wav(path)
    assert rate == 16_000
    assert samples.dtype == np.int16
    assert np.abs(samples.astype(int) - SAMPLES).max() <= error


def test_two_channels_become_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    path.write_bytes(wav(np.column_stack([SAMPLES, np.zeros_like(SAMPLES)]).tobytes(), 1, 16, channels=2))
    samples, _ = read_wav(path)
    assert np.array_equal(samples, (SAMPLES / 2).astype(np.int16))


def test_reads_an_extensible_header(tmp_path: Path) -> None:
    path = tmp_path / "extensible.wav"
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    layout = struct.pack("<4sIHHIIHHHHI", b"fmt ", 40, 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4) + guid
    data = SAMPLES.tobytes()
    chunks = layout + struct.pack("<4sI", b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks)
    assert np.array_equal(read_wav(path)[0], SAMPLES)


def test_a_size_left_open_by_a_streaming_writer_means_up_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    path.write_bytes(wav(SAMPLES.tobytes() + b"\x01", 1, 16, size=0xFFFFFFFF))
    assert np.array_equal(read_wav(path)[0], SAMPLES)


def test_what_is_written_the_standard_library_reads_and_so_do_we(tmp_path: Path) -> None:
    path = tmp_path / "reply.wav"
    write_wav(path, SAMPLES, 24_000)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.readframes(file.getnframes()) == SAMPLES.tobytes()
    samples, rate = read_wav(path)
    assert rate == 24_000
    assert np.array_equal(samples, SAMPLES)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not a WAV file"),
        (b"ID3\x04 an mp3 under a wrong name", "is not a WAV file"),
        (b"RIFF\0\0\0\0WAVE", "has no format or no audio"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0\x01\0\x01\0data\0\0\0\0", "has no format or no audio"),
        (wav(b"", 3, 32), "has format 3, 32 bits"),
        (wav(b"", 1, 16, channels=0), "0 channels"),
        (wav(b"", 1, 16, rate=0), "0 Hz"),
        (wav(b"", 1, 12), "12 bits"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong_and_what_is_taken(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(WavError, match=f"bad.wav: .*{problem}.*; takes a WAV file with"):
        read_wav(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WavError, match=r"missing\.wav: can't be read"):
        read_wav(tmp_path / "missing.wav")


def test_a_file_of_any_bytes_is_read_or_refused_and_never_crashes(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    good = bytearray(wav(SAMPLES.tobytes(), 1, 16, channels=2))
    path = tmp_path / "fuzzed.wav"
    refused = 0
    for _ in range(300):
        content = good.copy()
        for at in random.integers(8, 60, 3):
            content[at] = int(random.integers(256))
        path.write_bytes(content[: int(random.integers(12, len(good)))])
        try:
            samples, _ = read_wav(path)
            assert samples.ndim == 1
        except WavError:
            refused += 1
    assert 0 < refused < 300
