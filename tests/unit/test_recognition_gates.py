"""The gate that keeps a prompt's words from being heard in noise; the others are tested on sounds (test_stt_worker)."""

import numpy as np
import pytest

from server.workers.engines.recognition import Recognition, Token, Window, judge


@pytest.mark.parametrize(
    ("said", "refused"),
    [(" Siobhan Kowalczyk.", True), (" Siobhan Kowal", True), (" Kowalczyk called.", False), (" Hello.", False)],
    ids=["the prompt", "cut off", "more than it", "something else"],
)
def test_in_what_is_hardly_speech_the_words_of_the_prompt_are_not_believed(said: str, refused: bool) -> None:
    window = Window(np.zeros(48_000, np.float32), 15, "en", "Siobhan Kowalczyk")
    assert judge(window, said, 6, -0.4, 0.58).refused_by == ("no_speech" if refused else "")
    assert judge(window, said, 6, -0.4, 0.5).refused_by == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [("Right.", 2), ("Right. Right.", 4), ("", 0), ("Something else", 4)],
    ids=["said once", "said twice", "refused", "not its beginning"],
)
def test_the_tokens_of_a_text_are_those_that_make_it_up(text: str, kept: int) -> None:
    tokens = [Token(said, -0.1) for said in (b" Right", b".", b" Right", b".")]
    assert Recognition(text).with_tokens(tokens).tokens == tuple(tokens[:kept])
