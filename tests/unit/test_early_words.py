"""When the recogniser is asked before the end, and what of its words the client is told."""

import pytest

from server.conversation.early_words import EarlyWords

LOUD, SOFT, QUIET = -20.0, -36.0, -60.0


def heard(*passes: str) -> tuple[EarlyWords, str]:
    """What passes one after the other understand, and what the client is told of it."""
    early = EarlyWords()
    return early, "".join(early.heard(early.ask(), words, sure=False) for words in passes)


def test_a_voice_falls_quiet_20_db_below_its_loudest_and_goes_on_15_db_below_it() -> None:
    early = EarlyWords()
    levels = [LOUD, LOUD - 19, LOUD - 21, LOUD - 30, LOUD - 30, LOUD - 17, LOUD - 14, LOUD]
    changes = [early.frame(level, voiced=True) for level in levels]
    assert changes == [None, None, None, None, "quiet", None, "went_on", None]


def test_two_quiet_frames_are_no_moment_of_quiet() -> None:
    early = EarlyWords()
    levels = (LOUD, QUIET, QUIET, LOUD, QUIET)
    assert [early.frame(level, voiced=True) for level in levels] == [None, None, None, "went_on", None]


def test_a_sound_that_is_no_voice_is_not_taken_for_going_on() -> None:
    early = EarlyWords()
    early.frame(LOUD, voiced=True)
    early.frame(QUIET, voiced=True)
    assert early.frame(LOUD, voiced=False) is None


def test_the_loudest_frame_is_forgotten_over_time() -> None:
    early = EarlyWords()
    early.frame(LOUD, voiced=True)
    changes = [early.frame(SOFT, voiced=True) for _ in range(50)]
    assert changes == [None] * 50
    assert [early.frame(SOFT - 20, voiced=True) for _ in range(3)] == [None, None, "quiet"]


def test_words_are_current_while_the_voice_is_quiet() -> None:
    early = EarlyWords()
    early.frame(LOUD, voiced=True)
    early.frame(QUIET, voiced=True)
    early.heard(early.ask(), "hello there", sure=False)
    assert early.current == "", "the quiet is too short"
    for _ in range(3):
        early.frame(QUIET, voiced=False)
    assert early.current == "hello there"
    early.frame(LOUD, voiced=True)
    assert early.current == ""


def test_words_of_a_pass_that_another_one_followed_are_not_current() -> None:
    early = EarlyWords()
    early.frame(LOUD, voiced=True)
    early.frame(QUIET, voiced=True)
    first = early.ask()
    early.ask()
    early.heard(first, "hello", sure=False)
    assert early.current == ""


def test_words_from_before_the_caller_went_on_are_not_current_in_the_next_quiet() -> None:
    early = EarlyWords()
    for level in (LOUD, QUIET, QUIET):
        early.frame(level, voiced=True)
    attempt = early.ask()
    early.frame(LOUD, voiced=True)
    for _ in range(4):
        early.frame(QUIET, voiced=False)
    early.heard(attempt, "hello", sure=False)
    assert early.current == ""


@pytest.mark.parametrize(
    ("passes", "told"),
    [
        (["my name"], ""),
        (["my name", "my name is"], "my name"),
        (["my name", "My name is Pete.", "my name is Peter."], "My name is"),
        (["hello", "yellow", "hello you"], ""),
        (["a b", "a b", "c d", "c d"], "a b"),
        (["a b", "a b", "a b c", "a b c"], "a b c"),
        (["", ""], ""),
    ],
)
def test_what_two_passes_agree_on_is_told_and_never_taken_back(passes: list[str], told: str) -> None:
    assert heard(*passes)[1] == told


@pytest.mark.parametrize(
    ("transcript", "rest"),
    [
        ("my name is Peter.", " is Peter."),
        ("My name, is  Peter.", " is  Peter."),
        ("my name", ""),
        ("your name is Peter.", ""),
        ("my", ""),
        ("", ""),
    ],
)
def test_of_all_the_words_the_rest_is_told_if_they_go_on_from_what_was_told(transcript: str, rest: str) -> None:
    early, told = heard("my name", "my name is")
    assert told == "my name"
    assert early.untold(transcript) == rest


def test_where_nothing_was_told_all_of_it_is_untold() -> None:
    assert heard("hello")[0].untold("hello there") == "hello there"


@pytest.mark.parametrize(
    ("passes", "sure"),
    [
        (["hello"], True),
        (["my name", "my name is"], True),
        (["my nay", "My name is"], True),
        (["my name", "my name"], False),  # and what was said since?
        (["my name is", "my game is"], False),
        (["my name is Peter", "my name"], False),
    ],
)
def test_words_are_sure_where_the_recogniser_says_so_and_they_go_on_from_those_before(
    passes: list[str], sure: bool
) -> None:
    early = EarlyWords()
    early.frame(LOUD, voiced=True)
    for words in passes:
        early.heard(early.ask(), words, sure=True)
    assert not early.sure, "the caller may go on"
    for _ in range(4):
        early.frame(QUIET, voiced=True)
    assert early.sure is sure
