"""From the events of a node with their times to what they mean for the caller."""

from typing import Any

import numpy as np
import pytest

from server.bench.turns.cases import Case, Kind
from server.bench.turns.timeline import Timeline
from server.bench.turns.verdicts import Outcome, judge_sound, judge_turn
from server.bench.turns.word_gaps import RATE, Pause
from server.client.playout import AUDIBLE
from tests.support.sounds import said

BEGUN = 100.0
HESITATION = Case(Kind.HESITATION, "a", said(1.0, 1.0, 1.0, 1.0, 1.0), (Pause(1.0, 2.0), Pause(3.0, 4.0)))
"""Two pauses; its true end is at 5.0."""
MHM = Case(Kind.BACKCHANNEL, "mhm", said(0.5))


def audio(answer: str, seconds: float, level: int = 5000) -> dict[str, Any]:
    samples = np.full(round(seconds * RATE), level, "<i2")
    return {"type": "response.output_audio.delta", "response_id": answer, "delta": samples.tobytes()}


def created(answer: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": answer}}


def done(answer: str, status: str = "completed") -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": answer, "status": status}}


STARTED = {"type": "input_audio_buffer.speech_started"}
STOPPED = {"type": "input_audio_buffer.speech_stopped"}
COMMITTED = {"type": "input_audio_buffer.committed"}
OTHER = {"type": "conversation.item.added"}


def heard(*events: tuple[float, dict[str, Any]]) -> Timeline:
    """The timeline of events; times are seconds after the first sample was sent."""
    timeline = Timeline()
    for at, event in events:
        timeline.push(event, BEGUN + at)
    return timeline


# --- utterances


def test_a_turn_that_is_waited_out_has_two_delays_from_its_last_audible_sample() -> None:
    verdict = judge_turn(
        HESITATION,
        BEGUN,
        heard(
            (0.1, STARTED), (5.5, STOPPED), (5.5, COMMITTED), (5.6, created("r")), (5.9, audio("r", 0.5)), (9, OTHER)
        ),
    )
    assert (verdict.split, verdict.pauses, verdict.pauses_cut, verdict.talked_over) == (False, 2, 0, False)
    assert (verdict.noticed, verdict.answered) == pytest.approx((0.5, 0.9), abs=0.001)
    assert not verdict.unanswered


def test_an_answer_counts_from_its_first_sample_that_can_be_heard() -> None:
    events = (5.5, COMMITTED), (5.6, created("r")), (5.9, audio("r", 0.2, AUDIBLE - 1)), (6.1, audio("r", 0.2))
    assert judge_turn(HESITATION, BEGUN, heard(*events)).answered == pytest.approx(1.1, abs=0.001)


def test_a_turn_that_ends_in_a_pause_is_split_there_and_its_delays_say_nothing() -> None:
    events = (1.6, COMMITTED), (1.7, created("r")), (5.5, COMMITTED), (5.6, created("s")), (5.9, audio("s", 0.5))
    verdict = judge_turn(HESITATION, BEGUN, heard(*events))
    assert (verdict.split, verdict.pauses_cut, verdict.talked_over) == (True, 1, False)
    assert (verdict.noticed, verdict.answered, verdict.unanswered) == (None, None, False)


def test_each_pause_is_cut_once_even_when_the_end_is_told_after_speech_went_on() -> None:
    assert judge_turn(HESITATION, BEGUN, heard((2.1, COMMITTED), (3.5, COMMITTED))).pauses_cut == 2
    assert judge_turn(HESITATION, BEGUN, heard((1.3, COMMITTED), (1.8, COMMITTED))).pauses_cut == 1


def test_a_turn_cut_before_any_pause_is_split_and_no_pause_is_to_blame() -> None:
    verdict = judge_turn(HESITATION, BEGUN, heard((0.7, COMMITTED)))
    assert (verdict.split, verdict.pauses_cut) == (True, 0)


def test_an_answer_heard_before_the_end_talks_over_the_caller() -> None:
    events = (1.6, COMMITTED), (1.7, created("r")), (1.9, audio("r", 0.2)), (2.1, STARTED)
    assert judge_turn(HESITATION, BEGUN, heard(*events)).talked_over


def test_an_answer_that_makes_no_sound_before_the_end_talks_over_nobody() -> None:
    events = (1.6, COMMITTED), (1.7, created("r")), (1.9, audio("r", 0.2, 0))
    assert not judge_turn(HESITATION, BEGUN, heard(*events)).talked_over


def test_an_answer_from_before_the_case_is_not_heard() -> None:
    assert heard((0.0, audio("earlier", 0.5)), (0.1, done("earlier"))).first_heard(BEGUN) is None


def test_a_turn_that_is_noticed_and_never_answered_is_unanswered() -> None:
    verdict = judge_turn(HESITATION, BEGUN, heard((5.5, COMMITTED)))
    assert verdict.unanswered
    assert verdict.noticed == pytest.approx(0.5, abs=0.001)


def test_turns_that_are_heard_after_the_callers_own_are_counted() -> None:
    events = (5.5, COMMITTED), (5.6, created("r")), (5.9, audio("r", 0.5)), (8.0, COMMITTED)
    verdict = judge_turn(HESITATION, BEGUN, heard(*events))
    assert verdict.extra_turns == 1
    assert verdict.noticed == pytest.approx(0.5, abs=0.001)
    assert judge_turn(HESITATION, BEGUN, heard((5.5, COMMITTED))).extra_turns == 0


# --- sounds into an answer that began two seconds before them


SPEAKING = (-2.0, created("r")), (-1.9, audio("r", 3.0))
FINISHED = (-1.0, done("r"))
MORE = (0.5, audio("r", 3.0))


def outcome(*events: tuple[float, dict[str, Any]], until: float = 2.0) -> tuple[Outcome, float | None]:
    verdict = judge_sound(MHM, BEGUN, heard(*events), BEGUN + until)
    return verdict.outcome, verdict.reaction


def test_a_sound_that_changes_nothing_is_ignored() -> None:
    assert outcome(*SPEAKING, MORE) == (Outcome.IGNORED, None)
    assert outcome(*SPEAKING, FINISHED) == (Outcome.IGNORED, None)


@pytest.mark.parametrize("stop", [STARTED, done("r", "cancelled")], ids=["speech started", "cancelled"])
def test_an_answer_has_stopped_when_the_caller_is_told_so(stop: dict[str, Any]) -> None:
    found, reaction = outcome(*SPEAKING, (0.3, stop))
    assert found is Outcome.STOPPED
    assert reaction == pytest.approx(0.3)


def test_the_first_sign_of_the_stop_counts() -> None:
    assert outcome(*SPEAKING, (0.2, STARTED), (0.4, done("r", "cancelled")))[1] == pytest.approx(0.2)


def test_an_answer_that_falls_silent_has_stopped_whether_or_not_it_goes_on() -> None:
    resumed = (1.6, audio("r", 2.0))
    for events in ((*SPEAKING, resumed), SPEAKING):
        found, reaction = outcome(*events)
        assert found is Outcome.STOPPED
        assert reaction == pytest.approx(1.1)


def test_a_speakers_own_pause_is_no_stop() -> None:
    assert outcome(*SPEAKING, (1.3, audio("r", 2.0)))[0] is Outcome.IGNORED


def test_speech_noticed_after_the_answer_was_over_stopped_nothing() -> None:
    assert outcome(*SPEAKING, FINISHED, (1.3, STARTED)) == (Outcome.IGNORED, None)


def test_an_answer_that_goes_on_but_is_followed_by_one_to_the_sound_was_not_left_alone() -> None:
    assert outcome(*SPEAKING, MORE, (1.2, created("s")))[0] is Outcome.ANSWERED


def test_an_answer_that_ends_before_the_sound_does_says_nothing() -> None:
    short = (-2.0, created("r")), (-1.9, audio("r", 2.2)), (-1.8, done("r"))
    assert outcome(*short)[0] is Outcome.TOO_SHORT


def test_without_an_answer_there_was_nothing_to_stop() -> None:
    assert outcome((0.3, STARTED))[0] is Outcome.TOO_SHORT


# --- whether the node is at rest


def test_a_node_answers_until_its_last_answer_is_done() -> None:
    timeline = heard((0.0, created("r")), (1.0, created("s")), (2.0, done("r", "cancelled")))
    assert timeline.answering
    timeline.push(done("s"), BEGUN + 3.0)
    assert not timeline.answering


def test_a_node_listens_from_the_start_of_speech_to_its_end() -> None:
    timeline = heard((0.0, STARTED))
    assert timeline.listening
    timeline.push(STOPPED, BEGUN + 1.0)
    assert not timeline.listening
