"""A folder of recordings, sorted by what is said in each; what can't be used is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from server.audio.wav import write_wav
from server.bench.turns.recordings import RecordingsError, read_recordings
from server.bench.turns.word_gaps import RATE
from tests.support.clips import BUNDLED
from tests.support.sounds import word


def record(path: Path, text: str | None, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, word(seconds), RATE)
    if text is not None:
        path.with_suffix(".txt").write_text(text, "utf-8")


def test_recordings_are_sorted_by_their_words_and_noise_by_its_folder(tmp_path: Path) -> None:
    record(tmp_path / "order.wav", "I would like to order a pizza.")
    record(tmp_path / "ann" / "four.wav", "Four.")
    record(tmp_path / "ann" / "7.wav", "7")
    record(tmp_path / "bob" / "4.wav", "4")
    record(tmp_path / "mhm.wav", "Mm-hmm.")
    record(tmp_path / "noise" / "street.wav", None)
    found = read_recordings(tmp_path)
    assert [recording.name for recording in found.utterances] == ["order.wav"]
    assert {Path(speaker).name: set(said) for speaker, said in found.digits.items()} == {
        "ann": {"four", "seven"},
        "bob": {"four"},
    }
    assert [recording.name for recording in found.backchannels] == ["mhm.wav"]
    assert [recording.name for recording in found.noises] == ["noise/street.wav"]


def test_words_may_be_listed_in_the_folders_manifest(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", None)
    (tmp_path / "manifest.json").write_text(json.dumps([{"path": "a.wav", "text": "Hello there."}]), "utf-8")
    assert [recording.name for recording in read_recordings(tmp_path).utterances] == ["a.wav"]


def test_the_topmost_manifest_lists_what_lies_in_folders(tmp_path: Path) -> None:
    record(tmp_path / "telephone" / "a.wav", None)
    (tmp_path / "manifest.json").write_text(json.dumps([{"path": "telephone/a.wav", "text": "Hello there."}]), "utf-8")
    assert [recording.name for recording in read_recordings(tmp_path).utterances] == ["telephone/a.wav"]


def test_a_digits_name_may_say_what_it_is_and_who_says_it(tmp_path: Path) -> None:
    record(tmp_path / "order.wav", "I would like to order a pizza.")
    for name in ("4_ann_0", "4_ann_1", "7_ann_0", "4_bob_0"):
        record(tmp_path / "digits" / f"{name}.wav", None)
    digits = read_recordings(tmp_path).digits
    assert {
        Path(speaker).name: {word: digit.name for word, digit in said.items()} for speaker, said in digits.items()
    } == {
        "ann": {"four": "digits/4_ann_0.wav", "seven": "digits/7_ann_0.wav"},
        "bob": {"four": "digits/4_bob_0.wav"},
    }


def test_recordings_of_any_rate_come_at_24_khz(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", "Hello there.")
    write_wav(tmp_path / "a.wav", np.full(8_000, 5000, np.int16), 8_000)
    assert read_recordings(tmp_path).utterances[0].seconds == pytest.approx(1.0)


def test_recordings_too_long_for_a_turn_are_left_out_and_named(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", "Hello there.")
    record(tmp_path / "speech.wav", "Four score and seven years ago", seconds=21.0)
    assert read_recordings(tmp_path).left_out == ["speech.wav"]


def test_the_recordings_of_this_repository_have_utterances_and_every_digit() -> None:
    found = read_recordings(BUNDLED)
    assert len(found.utterances) == 8
    assert [len(said) for said in found.digits.values()] == [10]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "there are no WAV files"),
        ({"a.wav": ""}, "its words are nowhere to be read"),
        ({"a.wav": "", "manifest.json": "{}"}, "its words are nowhere to be read"),
        ({"a.wav": "", "manifest.json": '[{"path": "a.wav"}]'}, "manifest.json: it can't be read as such a list"),
        ({"a.wav": "", "manifest.json": "no list"}, "manifest.json: it can't be read as such a list"),
        ({"a.wav": "", "a.txt": "six"}, "there is no utterance of more than one word"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_taken(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    for name, text in files.items():
        record(tmp_path / name, None) if name.endswith(".wav") else (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(RecordingsError, match=problem) as refused:
        read_recordings(tmp_path)
    assert "takes a folder of WAV files, each with its words in a .txt" in str(refused.value)


def test_a_silent_recording_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", "Hello there.")
    write_wav(tmp_path / "a.wav", np.zeros(RATE, np.int16), RATE)
    with pytest.raises(RecordingsError, match="nothing in it is audible"):
        read_recordings(tmp_path)
