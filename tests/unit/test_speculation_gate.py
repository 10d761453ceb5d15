"""The model is asked ahead once for the same words, and a few times in a turn on the word of early passes."""

from server.conversation.speculation import LikelyTurn, SpeculationGate


def turn(words: str, item_id: str = "item_1", early: bool = True) -> LikelyTurn:
    return LikelyTurn(item_id, words, early)


def test_the_same_words_are_asked_for_once_however_they_are_written() -> None:
    gate = SpeculationGate()
    assert gate.opens(turn("Touch Tone."))
    assert not gate.opens(turn("touch-tone", early=False))
    assert gate.opens(turn("touch-tone phone"))


def test_after_the_caller_went_on_the_same_words_are_asked_for_again() -> None:
    gate = SpeculationGate()
    assert gate.opens(turn("hello"))
    gate.went_on()
    assert gate.opens(turn("hello"))


def test_the_early_passes_of_a_turn_ask_four_times_at_most_and_its_pauses_as_often_as_they_differ() -> None:
    gate = SpeculationGate()
    assert [gate.opens(turn(words)) for words in "abcde"] == [True] * 4 + [False]
    assert gate.opens(turn("e", early=False))
    assert gate.opens(turn("a", "item_2"))
