"""Turns replayed in virtual time: what the models answer decides whether a pause ends them."""

from typing import Any

import numpy as np
import pytest

from server.bench.turns.cases import Case, Kind
from server.bench.turns.word_gaps import RATE, Pause
from server.conversation import commands as c
from tests.bench.replay_turns import Replay

_PAUSE = Pause(1.0, 2.5)
_SECONDS = 8.0
_FRAME_SECONDS = 0.032


def _case() -> Case:
    """A second of voice, a pause, a second of voice."""
    times = np.arange(round(_SECONDS * RATE)) / RATE
    spoken = (times < _PAUSE.start) | ((times >= _PAUSE.end) & (times < _PAUSE.end + 1))
    samples = np.where(spoken, 8000 * np.sin(2 * np.pi * 300 * times), 0).astype(np.int16)
    return Case(Kind.HESITATION, "a second and a second", samples, (_PAUSE,))


class _Ears:
    """Hears what it is told to hear."""

    def __init__(self, words: str, sounds_finished: float) -> None:
        self._words = words
        self._sounds_finished = sounds_finished

    async def voice(self, case: Case) -> list[float]:
        starts = np.arange(0, case.seconds - _FRAME_SECONDS, _FRAME_SECONDS)
        return [
            0.99 if case.samples[round((start + _FRAME_SECONDS / 2) * RATE) :][:200].any() else 0.01 for start in starts
        ]

    async def answer(self, command: Any) -> Any:
        match command:
            case c.Transcribe():
                return self._words
            case c.Glimpse():
                return self._words, False
            case _:
                return self._sounds_finished


@pytest.mark.parametrize(
    ("words", "sounds_finished", "split"),
    [
        ("What is the capital of France?", 0.95, True),
        ("I would like to", 0.05, False),
    ],
)
async def test_a_pause_ends_a_turn_that_reads_and_sounds_finished(
    words: str, sounds_finished: float, split: bool
) -> None:
    replay = Replay(_case(), _Ears(words, sounds_finished))  # type: ignore[arg-type]  # the models' two questions
    verdict = await replay.run()
    assert verdict.split is split
    assert (verdict.pauses, verdict.pauses_cut) == (1, int(split))


async def test_the_log_says_what_was_known_and_why_the_turn_ended() -> None:
    replay = Replay(_case(), _Ears("What is the capital of France?", 0.95))  # type: ignore[arg-type]
    await replay.run()
    known = [line.split(maxsplit=1)[1] for line in replay.log]
    assert "Transcribe What is the capital of France?" in known
    assert "JudgeTurn 0.95" in known
    assert any(line.startswith("finished, 0.3") for line in known)
