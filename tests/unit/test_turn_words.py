"""How a turn's words end: what has to go on, what is being read out, what may be all."""

import pytest

from server.conversation.turn_words import ending_of, folded


@pytest.mark.parametrize("words", ["", " ", "...", "?!"])
def test_nothing_said_has_no_words(words: str) -> None:
    assert ending_of(words) == "none"


@pytest.mark.parametrize(
    "words",
    [
        "I would like to",
        "The weather is",
        "I would like to.",  # Whisper closes fragments, too
        "Send it to the",
        "We need milk and",
        "My name is",
        "It was, um",
        "I'm calling because",
        "I want a table for tomorrow,",
        "So I was thinking...",
        "I don't know if it—is the",
        "I’d",  # noqa: RUF001
        "How long does it take to?",
    ],
)
def test_a_sentence_that_has_to_go_on_is_open(words: str) -> None:
    assert ending_of(words) == "open"


@pytest.mark.parametrize(
    "words",
    [
        "What is the capital of France?",
        "Yes.",
        "No",
        "I left it on",
        "Please turn the light off",
        "That's the one I'm looking at.",
        "I have three",
        "I need 2 tickets",
        "Where do they come from exactly?",
        "It is 1995",
        "So do I.",
        "Yes, it is.",
        "I think so.",
        "Maybe.",
        "As well.",
        "I told her.",
        "Who is it from?",
        "Who did you give it to?",
        "What is that for? ",
        "I think you should",
        "So am I",
    ],
)
def test_what_may_be_all_is_plain(words: str) -> None:
    assert ending_of(words) == "plain"


@pytest.mark.parametrize("words", ["There is", "I am", "it was"])
def test_words_that_are_all_of_an_answer_are_only_the_beginning_of_anything_else(words: str) -> None:
    assert ending_of(words, "Who is there?") == "plain"
    assert ending_of(words, "Go on.") == "open"


def test_words_are_the_same_however_they_are_written() -> None:
    assert folded("Touch-Tone, please!") == folded("touch tone please")
    assert folded("Größe 5") != folded("Größe 6")


@pytest.mark.parametrize(
    "words",
    [
        "My number is 4 7 2",
        "four, seven",
        "It's 0-1-7-2, 5-5",
        "A B",
        "double oh seven",
        "M as in Mary",
        "it is N as in",
        "s for sugar",
        "555 12",
    ],
)
def test_digits_and_letters_one_by_one_are_being_spelled(words: str) -> None:
    assert ending_of(words) == "spelling"


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        ("What is your phone number?", "spelling"),
        ("Could you spell that for me?", "spelling"),
        ("How many tickets?", "plain"),
        ("Read it out, please.", "spelling"),
        ("", "spelling"),
    ],
)
def test_one_digit_may_be_the_first_of_many_where_a_number_was_asked_for(asked: str, ending: str) -> None:
    assert ending_of("Four", asked) == ending


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", "Ich möchte gerne zu"),
        ("fr", "Je voudrais parler avec"),
        ("es", "Quiero hablar con"),
        ("it", "Vorrei parlare con"),
        ("pt", "Eu gostaria de"),
        ("nl", "Ik zoek een"),
    ],
)
def test_each_language_has_its_own_words_that_leave_a_sentence_open(language: str, words: str) -> None:
    assert ending_of(words, language=language) == "open"
    assert ending_of(words, language="fi") == "plain"
