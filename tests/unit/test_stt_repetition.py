"""Texts that repeat themselves."""

import pytest

from server.workers.engines.repetition import ends_a_sentence, may_be_said_twice, said_once


@pytest.mark.parametrize(
    ("text", "cut_off", "once"),
    [
        ("Press 6. Press 6.", False, "Press 6."),
        ("Press 1 to enter. Press one", False, "Press 1 to enter. Press one"),
        ("Press star for help, press star for help.", False, "Press star for help,"),
        ("Who is it? Who is it? Who is it?", False, "Who is it?"),
        ("It is not valid. It", False, "It is not valid."),
        ("Is it not valid? Is it", False, "Is it not valid?"),
        ("Press star for help. Press star f", True, "Press star for help."),
        ("Press star for help. Press star for", False, "Press star for help."),
        ("I know that I know", False, "I know that I know"),
        ("It is what it", True, "It is what"),
        ("no no", False, "no no"),
        ("hello", True, "hello"),
        ("", False, ""),
    ],
)
def test_what_begins_again_is_taken_once(text: str, cut_off: bool, once: str) -> None:
    assert said_once(text, cut_off) == once


@pytest.mark.parametrize(
    ("text", "once", "may"),
    [
        ("555 1212 555 1212", "555 1212", True),
        ("go on go on", "go on", True),
        ("My number is 1. My number is 1.", "My number is 1.", True),
        ("Dial 1 to call us. Dial 1 to call us.", "Dial 1 to call us.", False),
        ("Please hold the line. Please hold the line.", "Please hold the line.", False),
        ("go on", "go on", False),
    ],
)
def test_few_words_and_numbers_may_really_be_said_twice(text: str, once: str, may: bool) -> None:
    assert may_be_said_twice(text, once) is may


@pytest.mark.parametrize(
    ("text", "ends"), [("Try again.", True), ("Really?", True), ("a cup of tea, a cup of", False), ("", False)]
)
def test_what_is_begun_again_after_the_end_of_a_sentence_ends_none(text: str, ends: bool) -> None:
    assert ends_a_sentence(text) is ends
