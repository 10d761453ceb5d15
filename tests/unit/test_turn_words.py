"""How a turn's words end: what has to go on, what is being read out, what may be all."""

import pytest

from server.conversation.turn_words import ending_of, folded, words_missing


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
        "When you hear the bell.",
        "Thank you. If you know the number",
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
        "When you hear the bell, come quickly.",
        "When does it open?",
    ],
)
def test_what_may_be_all_is_plain(words: str) -> None:
    assert ending_of(words) == "plain"


@pytest.mark.parametrize("words", ["There is", "I am", "it was"])
def test_words_that_are_all_of_an_answer_are_only_the_beginning_of_anything_else(words: str) -> None:
    assert ending_of(words, "Who is there?") == "plain"
    assert ending_of(words, "Go on.") == "open"


def test_a_clause_that_answers_a_question_may_be_all() -> None:
    assert ending_of("When you hear the bell.", "When shall I come?") == "plain"
    assert ending_of("When you hear the bell.", language="de") == "plain"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("Please.", 2),
        ("The blind man.", 2),
        ("She saw a cat.", 2),
        ("Please enter a new extension.", 1),
        ("I would like to cancel it.", 0),
        ("What time is it?", 0),
        ("Okay.", 0),
        ("Stop.", 0),
        ("Hi there.", 0),
        ("Tell me a story.", 0),
        ("Please cancel my order.", 0),
        ("Tell me.", 2),
        ("你好", 0),
    ],
)
def test_a_turn_of_a_few_words_lacks_some(words: str, missing: int) -> None:
    assert words_missing(words, "I see.") == missing


def test_the_number_of_words_says_nothing_of_an_answer_nor_of_another_language() -> None:
    assert words_missing("The blue one.", "Which one?") == 0
    assert words_missing("Der blaue.", "", "de") == 0


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
