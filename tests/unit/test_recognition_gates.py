"""The gate that keeps a prompt's words from being heard in noise; the others are tested on sounds (test_stt_worker)."""

import numpy as np
import pytest

from server.workers.engines.recognition import Window, judge


@pytest.mark.parametrize(
    ("said", "refused"),
    [(" Siobhan Kowalczyk.", True), (" Siobhan Kowal", True), (" Kowalczyk called.", False), (" Hello.", False)],
    ids=["the prompt", "cut off", "more than it", "something else"],
)
def test_in_what_is_hardly_speech_the_words_of_the_prompt_are_not_believed(said: str, refused: bool) -> None:
    window = Window(np.zeros(48_000, np.float32), 15, "en", "Siobhan Kowalczyk")
    assert judge(window, said, 6, -0.4, 0.58).refused_by == ("no_speech" if refused else "")
    assert judge(window, said, 6, -0.4, 0.5).refused_by == ""
