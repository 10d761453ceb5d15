"""The voices of the engine: made once, kept, and looked for while calls go on."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.workers.engine import UnknownVoice
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.voice_files import voice_files
from server.workers.engines.chatterbox.voices import UnusableVoice, VoiceLibrary
from tests.support.voices import audio_file, random_conditionals, same_voice, speech

CLIP = audio_file(speech(6))
OTHER_CLIP = audio_file(speech(7), kind="FLAC")


class Encoder:
    """Makes a voice that depends on the clip's length only, and counts."""

    def __init__(self) -> None:
        self.loaded = 0
        self.encoded = 0

    def load(self) -> "Encoder":
        self.loaded += 1
        return self

    def encode(self, samples: NDArray[np.float32], rate: int) -> Conditionals:
        self.encoded += 1
        return random_conditionals(len(samples) // rate)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "voices"
    folder.mkdir()
    return folder


OpenLibrary = Callable[..., VoiceLibrary]


@pytest.fixture
def library(tmp_path: Path, folder: Path, encoder: Encoder, clock: Clock) -> OpenLibrary:
    def open_library(
        place: str = str(folder), fingerprint: str = "f1", built_in: Path | None = None, default: str = ""
    ) -> VoiceLibrary:
        library = VoiceLibrary(
            voice_files(place),
            tmp_path / "cache",
            encoder.load,
            fingerprint,
            built_in=built_in,
            default=default,
            clock=clock,
        )
        library.refresh()
        return library

    return open_library


def names(library: VoiceLibrary) -> list[str]:
    return [voice.name for voice in library.list()]


def test_clips_and_saved_conditionals_are_voices(folder: Path, library: OpenLibrary, encoder: Encoder) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    (folder / "ben-2.flac").write_bytes(OTHER_CLIP)
    random_conditionals(9).save(folder / "carla.pt")
    (folder / "README.md").write_text("no voice")
    (folder / "below.wav").mkdir()

    voices = library()

    assert names(voices) == ["anna", "ben-2", "carla"]
    assert [voice.description for voice in voices.list()] == [
        "from a clip of 6.0 s",
        "from a clip of 7.0 s",
        "saved conditionals",
    ]
    assert {voice.language for voice in voices.list()} == {"en"}
    assert same_voice(voices.get("anna"), random_conditionals(6))
    assert same_voice(voices.get("carla"), random_conditionals(9))
    assert voices.get("anna") is voices.get("anna")
    assert encoder.loaded == 1


@pytest.mark.parametrize(("default", "expected"), [("", "anna"), ("ben", "ben")])
def test_the_empty_name_is_the_default_voice(folder: Path, library: OpenLibrary, default: str, expected: str) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    (folder / "ben.flac").write_bytes(OTHER_CLIP)

    voices = library(default=default)

    assert voices.get("") is voices.get(expected)
    assert [voice.name for voice in voices.list() if voice.is_default] == [expected]


def test_the_models_own_voice_is_the_default(tmp_path: Path, folder: Path, library: OpenLibrary) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    random_conditionals(3).save(tmp_path / "conds.pt")

    voices = library(built_in=tmp_path / "conds.pt")

    assert names(voices) == ["anna", "default"]
    assert same_voice(voices.get(""), random_conditionals(3))


def test_a_file_may_replace_the_models_own_voice(tmp_path: Path, folder: Path, library: OpenLibrary) -> None:
    (folder / "default.wav").write_bytes(CLIP)
    random_conditionals(3).save(tmp_path / "conds.pt")

    assert same_voice(library(built_in=tmp_path / "conds.pt").get("default"), random_conditionals(6))


def test_without_any_voice_the_error_says_so(tmp_path: Path, library: OpenLibrary) -> None:
    with pytest.raises(UnknownVoice):
        library(built_in=tmp_path / "conds.pt").get("")


def test_a_bad_file_keeps_no_other_from_loading_and_says_why(folder: Path, library: OpenLibrary) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    (folder / "short.wav").write_bytes(audio_file(speech(3)))
    (folder / "torn.pt").write_bytes(b"torn")
    (folder / "My Voice.wav").write_bytes(CLIP)

    voices = library()

    assert names(voices) == ["anna"]
    with pytest.raises(UnusableVoice, match=r"'short' can't be used: .*short\.wav: with 3\.0 s it is too short"):
        voices.get("short")
    with pytest.raises(UnusableVoice, match=r"'torn' can't be used: torn\.pt: is damaged"):
        voices.get("torn")
    with pytest.raises(UnusableVoice, match=r"My Voice\.wav: takes a name of small letters"):
        voices.get("My Voice")
    with pytest.raises(UnknownVoice, match="unknown voice 'bella'; this engine has: anna"):
        voices.get("bella")


def test_a_clip_is_encoded_once_for_all_times(folder: Path, library: OpenLibrary, encoder: Encoder) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    first = library().get("anna")
    (folder / "anna.wav").rename(folder / "bella.wav")

    assert same_voice(library().get("bella"), first)
    assert (encoder.loaded, encoder.encoded) == (1, 1)


def test_other_weights_give_other_conditionals(folder: Path, library: OpenLibrary, encoder: Encoder) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    library(fingerprint="f1")
    library(fingerprint="f2")

    assert encoder.encoded == 2


def test_a_damaged_cache_file_is_made_again(
    tmp_path: Path, folder: Path, library: OpenLibrary, encoder: Encoder
) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    library()
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])

    assert same_voice(library().get("anna"), random_conditionals(6))
    assert encoder.encoded == 2
    library()
    assert encoder.encoded == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, folder: Path, library: OpenLibrary) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    (tmp_path / "cache").write_text("a file where a folder should be")

    assert library().get("anna")


def test_a_voice_may_be_added_while_running(folder: Path, library: OpenLibrary, clock: Clock) -> None:
    voices = library()
    (folder / "anna.wav").write_bytes(CLIP)
    with pytest.raises(UnknownVoice):
        voices.get("anna")

    clock.now += 5.0

    assert voices.get("anna")
    assert names(voices) == ["anna"]


def test_a_voice_that_was_added_is_listed_within_a_minute(folder: Path, library: OpenLibrary, clock: Clock) -> None:
    voices = library()
    (folder / "anna.wav").write_bytes(CLIP)

    clock.now += 59.0
    voices.look_again()
    assert names(voices) == []
    clock.now += 1.0
    voices.look_again()
    assert names(voices) == ["anna"]
    (folder / "anna.wav").unlink()
    folder.rmdir()
    clock.now += 60.0
    voices.look_again()
    assert names(voices) == ["anna"], "a folder that can't be read now changes nothing"


def test_a_refused_voice_may_be_mended_while_running(folder: Path, library: OpenLibrary, clock: Clock) -> None:
    (folder / "anna.wav").write_bytes(audio_file(speech(3)))
    voices = library()
    (folder / "anna.wav").write_bytes(CLIP)
    clock.now += 5.0

    assert voices.get("anna")


def test_looking_again_reads_only_what_is_new_or_changed(folder: Path, library: OpenLibrary, encoder: Encoder) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    (folder / "ben.wav").write_bytes(CLIP)
    voices = library()
    anna, ben = voices.get("anna"), voices.get("ben")
    (folder / "ben.wav").write_bytes(OTHER_CLIP)
    os.utime(folder / "ben.wav", ns=(1, 1))
    voices.refresh()

    assert voices.get("anna") is anna
    assert voices.get("ben") is not ben
    (folder / "anna.wav").unlink()
    voices.refresh()
    assert names(voices) == ["ben"]


def test_many_who_ask_at_once_for_a_new_voice_have_it_made_once(
    folder: Path, library: OpenLibrary, clock: Clock, encoder: Encoder
) -> None:
    voices = library()
    (folder / "anna.wav").write_bytes(CLIP)
    clock.now += 5.0
    found: list[Conditionals] = []
    threads = [threading.Thread(target=lambda: found.append(voices.get("anna"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert encoder.encoded == 1


def test_what_was_loaded_stays_when_the_folder_goes(folder: Path, library: OpenLibrary, clock: Clock) -> None:
    (folder / "anna.wav").write_bytes(CLIP)
    voices = library()
    (folder / "anna.wav").unlink()
    folder.rmdir()
    clock.now += 5.0

    with pytest.raises(UnknownVoice):
        voices.get("ben")
    assert voices.get("anna")
