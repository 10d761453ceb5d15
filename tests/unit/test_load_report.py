"""What the load report makes of turns: distributions, the model's share, lateness, and when not to believe it."""

from array import array
from collections.abc import Sequence

import pytest

from server.bench.load_report import LoadResult, TurnFigures, frame_lateness, own_times, report, spread

STAGES_MS = {
    "endpointing": 500.0,
    "stt": 540.0,
    "llm_first_token": 740.0,
    "llm_first_clause": 860.0,
    "tts_first_audio": 900.0,
}


def turn(
    voice_to_voice: float | None = 1.0,
    stages_ms: dict[str, float] | None = None,
    completed: bool = True,
    answers: int = 1,
    margins: Sequence[float] = (),
    words: int = 0,
    word_errors: int = 0,
) -> TurnFigures:
    return TurnFigures(voice_to_voice, stages_ms or STAGES_MS, completed, answers, margins, words, word_errors)


def result(*turns: TurnFigures, lag: Sequence[float] = (0.001,)) -> LoadResult:
    return LoadResult(list(turns), call_seconds=10.0, lag=array("d", lag), silence=0.5)


def test_percentiles_are_values_that_occurred() -> None:
    found = spread(number / 1000 for number in range(1, 101))
    assert found is not None
    assert (found.count, found.p50, found.p90, found.p99, found.max) == (100, 50, 90, 99, 100)


def test_of_a_single_value_all_percentiles_are_that_value() -> None:
    found = spread([0.25])
    assert found is not None
    assert (found.p50, found.p99, found.max) == (250, 250, 250)


def test_of_nothing_there_is_no_distribution() -> None:
    assert spread([]) is None
    assert report(LoadResult()).voice_to_voice is None


def test_each_stage_is_charged_only_with_its_own_time() -> None:
    assert own_times(turn()) == pytest.approx(
        {
            "endpointing": 0.5,
            "stt": 0.04,
            "llm_first_token": 0.2,
            "llm_first_clause": 0.12,
            "tts_first_audio": 0.04,
        }
    )


def test_a_transcript_that_was_ready_before_the_turn_ended_costs_nothing_and_the_model_is_asked_at_the_end() -> None:
    own = own_times(turn(stages_ms=STAGES_MS | {"stt": 430.0}))
    assert own["stt"] == 0.0
    assert own["llm_first_token"] == pytest.approx(0.24)


def test_the_models_share_is_its_first_token_and_then_its_first_clause() -> None:
    figures = report(result(turn(voice_to_voice=1.0)))
    assert figures.voice_to_voice is not None
    assert figures.without_first_token is not None
    assert figures.without_model is not None
    assert figures.voice_to_voice.p50 == 1000
    assert figures.without_first_token.p50 == pytest.approx(800)
    assert figures.without_model.p50 == pytest.approx(680)


def test_what_the_waterfall_does_not_see_stands_beside_it() -> None:
    figures = report(result(turn(voice_to_voice=1.0)))
    assert figures.beside is not None
    assert figures.beside.p50 == pytest.approx(100)


def test_a_turn_without_an_answer_is_counted_and_has_no_part_in_the_times() -> None:
    figures = report(result(turn(), turn(voice_to_voice=None), turn(completed=False)))
    assert figures.turns == 3
    assert figures.unanswered == 2
    assert figures.voice_to_voice is not None
    assert figures.voice_to_voice.count == 2


def test_an_answer_that_began_while_the_caller_had_only_paused_is_counted() -> None:
    assert report(result(turn(answers=1), turn(answers=3))).cut_off == 2


def test_words_misheard_are_added_up() -> None:
    figures = report(result(turn(words=7, word_errors=1), turn(words=5)))
    assert (figures.words, figures.word_errors) == (12, 1)


def test_frames_are_late_by_what_is_missing_from_the_full_cushion() -> None:
    filling = [0.08, 0.4, 0.8]
    paced = [0.99, 1.0, 0.98, 1.0, 0.95]
    assert frame_lateness(filling + paced) == pytest.approx([0.01, 0.0, 0.02, 0.0, 0.05])


def test_an_answer_of_one_chunk_has_no_frame_that_could_be_late() -> None:
    assert frame_lateness([]) == []


def test_chunks_that_come_when_all_before_them_have_been_played_are_underruns() -> None:
    assert report(result(turn(margins=[1.0, 1.0, -0.1, 0.2]))).underruns == 1


@pytest.mark.parametrize(("late_frames", "trusted"), [(0, True), (1, True), (2, False)])
def test_callers_that_are_late_themselves_are_not_to_be_trusted(late_frames: int, trusted: bool) -> None:
    lag = [0.001] * (100 - late_frames) + [0.011] * late_frames
    assert report(result(turn(), lag=lag)).trusted is trusted


def test_without_a_single_frame_sent_nothing_is_to_be_trusted() -> None:
    assert not report(result(lag=())).trusted
