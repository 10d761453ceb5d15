"""What words and measures say of a voice that is heard while the assistant speaks."""

import numpy as np
import pytest

from server.audio.voice import frame_level, openness, speech_level
from server.conversation.backchannels import is_backchannel, is_command, may_become_backchannel, words_of
from server.conversation.echo import is_echo
from server.conversation.interruptions import (
    Evidence,
    Reading,
    Surroundings,
    Verdict,
    heard_words,
    is_far,
    is_hummed,
    is_sure,
    judge,
    read,
)

_PLAYED = words_of("We are open on Saturday from nine to five, except in August.")


def _tone(hertz: float, amplitude: float = 3000.0, seconds: float = 0.5) -> bytes:
    times = np.arange(round(16_000 * seconds)) / 16_000
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype("<i2").tobytes()


# --- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mm-hmm, that's RIGHT.", ["mmhmm", "thats", "right"]),
        ("D’accord.", ["daccord"]),  # noqa: RUF001  # as some recognisers write it
        ("Entendi\u0301.", ["entendí"]),
        ("you", []),
        ("You are right", ["you", "are", "right"]),
        (" ... ", []),
    ],
)
def test_words_are_compared_without_marks(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mm-hmm.", "xx"),
        ("Uh-huh.", "xx"),
        ("Aha.", "de"),
        ("Hmm, okay.", "xx"),
        ("All right, I see.", "en"),
        ("Yeah yeah yeah.", "en"),
        ("Ach so, genau.", "de"),
        ("D'accord, je vois.", "fr"),
        ("Sí, claro.", "es"),
        ("Va bene.", "it"),
        ("Tá bom.", "pt"),
        ("Ja, precies.", "nl"),
        ("Genau.", "en,de"),
        ("Genau.", ""),
        ("It has.", "en"),  # tiny.en at "uh-huh"
    ],
)
def test_backchannels(text: str, language: str) -> None:
    assert is_backchannel(words_of(text), language)
    assert not is_command(words_of(text), language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("Stop.", "en"),
        ("No.", "en"),
        ("Okay, but wait.", "en"),
        ("Genau.", "en"),
        ("I see the point of it.", "en"),
        ("Okay okay okay okay okay okay.", "en"),
        ("Tuesday.", ""),
    ],
)
def test_what_is_no_backchannel(text: str, language: str) -> None:
    assert not is_backchannel(words_of(text), language)


@pytest.mark.parametrize(
    ("text", "language"),
    [("No, no.", "en"), ("Um, stop.", "xx"), ("Hold on.", "en"), ("Moment.", "de"), ("Arrêtez.", "fr"), ("Não.", "pt")],
)
def test_commands(text: str, language: str) -> None:
    assert is_command(words_of(text), language)


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("I", True),  # see
        ("I think", True),  # tiny.en at the first 0.25 s of "I see"
        ("It hurts.", True),  # and of "uh-huh"
        ("Al", True),  # right
        ("Okay, al", True),
        ("I think that", False),
        ("I want", False),
        ("It's hard.", True),
        ("Well", True),  # and of "wow"
        ("Well, I think", False),
        ("Yeah, you", True),  # and at the end of a long "yeah"
        ("That's enough", False),
        ("What", False),
        ("Can you", False),
        ("No", False),
    ],
)
def test_the_beginnings_of_backchannels(text: str, may: bool) -> None:
    assert may_become_backchannel(words_of(text), "en") is may


# --- echo


@pytest.mark.parametrize(
    ("heard", "whole", "echo"),
    [
        ("open on Saturday from nine", True, True),
        ("open on Saturday from mine too", True, True),  # a word in six is misunderstood
        ("are opened on Saturdays", True, True),
        ("on Saturday fr", False, True),  # its last word is cut
        ("Saturday", False, True),
        ("what about Sunday", True, False),
        ("Saturday please and what about parking", True, False),
        ("fr", False, False),
    ],
)
def test_an_echo_is_made_of_the_words_that_are_played(heard: str, whole: bool, echo: bool) -> None:
    assert is_echo(words_of(heard), _PLAYED, whole) is echo


def test_nothing_is_an_echo_of_silence() -> None:
    assert not is_echo(["hello"], [], whole=True)


# --- the reading of words


@pytest.mark.parametrize(
    ("text", "whole", "around", "reading"),
    [
        ("", True, Surroundings(), "none"),
        ("you", True, Surroundings(), "none"),
        ("what about Sunday", False, Surroundings(), "unclear"),  # heard once
        ("what about Sunday", False, Surroundings(before=["what", "did"]), "own"),
        ("press", False, Surroundings(before=["pre"]), "own"),
        ("Present", False, Surroundings(before=["please"]), "unclear"),
        ("stop", False, Surroundings(), "unclear"),
        ("it has", False, Surroundings(before=["it"]), "backchannel"),
        ("stop", False, Surroundings(before=["stop"]), "own"),
        ("rate", False, Surroundings(before=["rate"], nodded=True), "unclear"),  # after "right"
        ("right but what", False, Surroundings(before=["right"], nodded=True), "own"),
        ("mhm", True, Surroundings(), "backchannel"),
        ("mhm", False, Surroundings(), "backchannel"),
        ("mhm", True, Surroundings(asked=True), "own"),
        ("yes", False, Surroundings(asked=True), "own"),
        ("I", False, Surroundings(), "unclear"),
        ("I", True, Surroundings(), "own"),
        ("Saturday", True, Surroundings(played=_PLAYED), "echo"),
        ("no", True, Surroundings(played=["no", "problem"]), "own"),
        ("no", False, Surroundings(hummed=True), "unclear"),
        ("no", True, Surroundings(hummed=True), "own"),
        ("no", False, Surroundings(hummed=True, before=["no"]), "unclear"),
        ("Saturday", True, Surroundings(played=_PLAYED, offers=True), "own"),
        ("Saturday", False, Surroundings(played=_PLAYED, offers=True), "echo"),  # so far
        ("open on Saturday", True, Surroundings(played=_PLAYED, offers=True), "echo"),
        ("up", False, Surroundings(unclear=True), "unclear"),
        ("up", False, Surroundings(unclear=True, before=["up"]), "unclear"),
        ("what about", False, Surroundings(unclear=True, before=["what"]), "own"),
    ],
)
def test_what_words_are(text: str, whole: bool, around: Surroundings, reading: Reading) -> None:
    assert read(words_of(text), whole, around) == reading


@pytest.mark.parametrize(
    ("text", "whole", "words"),
    [
        ("Press, press, press,", False, "press"),
        ("Press, press, press.", True, "press press press"),
        ("It has to be done.", False, "it has"),  # in so short a time
        ("It has to be done.", True, "it has to be done"),
        ("", False, ""),
    ],
)
def test_the_words_of_a_fragment_are_no_more_than_can_have_been_said(text: str, whole: bool, words: str) -> None:
    assert heard_words(text, whole, most=2) == words.split()


# --- the verdict


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(voiced=0.5), None),
        (Evidence(voiced=0.6), "interruption"),  # and its words are not known
        (Evidence(voiced=0.3, heard=0.25, reading="own"), "interruption"),
        (Evidence(voiced=0.3, heard=0.25, reading="unclear"), None),
        (Evidence(voiced=1.7, heard=0.25, reading="echo"), None),
        (Evidence(voiced=1.9, heard=0.25, reading="echo"), "interruption"),  # the rest is not known
        (Evidence(voiced=9.0, heard=8.8, reading="echo"), None),
        (Evidence(voiced=9.0, heard=9.0, reading="echo", whole=True), "echo"),
        (Evidence(voiced=0.4, heard=0.4, reading="backchannel", whole=True), "backchannel"),
        (Evidence(voiced=0.4, heard=0.4, reading="none", whole=True), "noise"),
        (Evidence(voiced=0.4, whole=True), "noise"),  # its words will not be known
        (Evidence(voiced=1.9, heard=1.8, reading="none"), None),
        (Evidence(voiced=2.0, heard=1.8, reading="none"), "interruption"),
        (Evidence(voiced=9.0, reading="own", far=True), "noise"),
    ],
)
def test_the_verdict(evidence: Evidence, verdict: Verdict | None) -> None:
    assert judge(evidence) == verdict


# --- measures


@pytest.mark.parametrize(("threshold", "raised"), [(0.5, 0.7), (0.05, 0.25), (0.8, 0.9), (0.95, 0.95)])
def test_the_threshold_is_raised_while_the_assistant_speaks(threshold: float, raised: float) -> None:
    assert is_sure(raised + 0.001, threshold)
    assert not is_sure(raised - 0.001, threshold)


def test_a_voice_is_far_that_is_much_quieter_than_the_caller() -> None:
    assert is_far(-43.0, usual=-30.0)
    assert not is_far(-41.0, usual=-30.0)


def test_a_voice_is_far_that_is_much_quieter_than_callers_are_where_this_one_has_not_spoken() -> None:
    assert is_far(-32.0, usual=None)
    assert not is_far(-30.0, usual=None)


def test_a_level_is_that_of_the_louder_frames() -> None:
    assert speech_level(_tone(500) + bytes(32_000)) == pytest.approx(speech_level(_tone(500)), abs=0.5)
    assert speech_level(_tone(500)) == pytest.approx(-23.8, abs=0.1)  # 3000 / sqrt(2) of 32768
    assert speech_level(bytes(32_000)) == speech_level(b"") == -96.0
    assert frame_level(_tone(500)[:1024]) == pytest.approx(-23.8, abs=0.1)
    assert frame_level(bytes(1024)) == frame_level(b"") == -96.0


def test_a_hum_comes_through_closed_lips_and_a_vowel_does_not() -> None:
    assert is_hummed(openness(_tone(200)))
    assert not is_hummed(openness(_tone(200) + _tone(700)))
    assert is_hummed(openness(_tone(200) + _tone(700, amplitude=300.0))), "a quiet end says nothing"
    assert openness(bytes(2000)) == openness(b"") == 0.0
