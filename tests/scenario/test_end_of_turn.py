"""When a turn is over with `semantic_vad`: what it says and how it sounds decide, not the silence alone."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import FRAME, SILENCE, Call


def semantic(eagerness: str = "auto", **settings: Any) -> Call:
    return Call(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}}, **settings)


def ends_after(call: Call) -> float:
    """Seconds of silence until the turn is over."""
    seconds = 0.0
    while call.caller_is_speaking:
        call.frame(SILENCE)
        seconds += FRAME
        assert seconds < 10.0, "a turn ends some day"
    return seconds


def reason(call: Call) -> str:
    return str(call.commands(c.TurnEnded)[-1].reason)


@pytest.mark.parametrize(("eagerness", "seconds"), [("high", 0.22), ("medium", 0.35), ("auto", 0.35), ("low", 0.61)])
def test_a_finished_question_is_answered_after_a_moment(eagerness: str, seconds: float) -> None:
    """livekit/agents#3701: where hesitation is waited for, every answer is late."""
    call = semantic(eagerness)
    call.sounds_finished = 0.98
    call.caller_says("what is the capital of France")
    assert ends_after(call) == pytest.approx(seconds, abs=2 * FRAME)
    assert reason(call) == "finished"
    assert call.asked == [UserText("what is the capital of France")]


def test_with_an_eagerness_of_ours_server_vad_ends_turns_by_what_was_said_too() -> None:
    settings = {"type": "server_vad", "silence_duration_ms": 2000, "idle_timeout_ms": 5000, "x_eagerness": "auto"}
    call = Call(audio={"input": {"turn_detection": settings}})
    call.sounds_finished = 0.98
    call.caller_says("what is the capital of France")
    assert ends_after(call) < 0.5
    assert reason(call) == "finished"


@pytest.mark.parametrize(("eagerness", "seconds"), [("high", 1.3), ("medium", 2.3), ("low", 4.5)])
def test_a_sentence_left_open_is_waited_for(eagerness: str, seconds: float) -> None:
    """livekit/agents#3427: the caller thinks, and is cut off."""
    call = semantic(eagerness)
    call.sounds_finished = 0.5
    call.caller_says("i would like to")
    assert ends_after(call) > seconds
    assert reason(call) == "unfinished"


@pytest.mark.parametrize("beginning", ["please", "i am sorry", "when you hear the bell"])
def test_what_is_only_a_beginning_is_waited_for_unless_it_is_an_answer(beginning: str) -> None:
    """livekit/agents#3427: "Please" was answered."""
    call = semantic()
    call.sounds_finished = 0.97
    call.caller_says(beginning, sound="level")
    call.silence(1.2)
    call.caller_says("tell me what it costs")
    ends_after(call)
    assert call.asked == [UserText(f"{beginning} tell me what it costs")]
    call.bot_says("It is free. When shall we meet?")
    call.bot_finishes()
    call.silence(2.0)
    call.caller_says("when the shop opens")
    assert ends_after(call) < 0.5


@pytest.mark.parametrize("pause", [0.4, 0.8, 1.2, 2.0])
def test_a_hesitation_does_not_split_the_turn(pause: float) -> None:
    """livekit/agents#3427: who speaks slowly is interrupted by the bot."""
    call = semantic()
    call.sounds_finished = 0.3
    call.caller_says("i want to book a table for the")
    call.silence(pause)
    call.sounds_finished = 0.95
    call.caller_says("eighth of march")
    ends_after(call)
    assert call.asked == [UserText("i want to book a table for the eighth of march")]
    assert len(call.all_of("input_audio_buffer.committed")) == 1
    assert call.commands(c.TurnEnded)[0].longest_pause == pytest.approx(pause, abs=FRAME)


@pytest.mark.parametrize(
    "groups",
    [
        ("my number is 5 5 5", "1 2", "3 4"),
        ("five five five", "one two", "three four"),
        ("it is b as in", "berlin o as in oscar", "b as in berlin"),
    ],
)
def test_what_is_spelled_stays_one_turn(groups: tuple[str, ...]) -> None:
    """livekit/agents#3701, unmute#130: cut off in the middle of a number."""
    call = semantic()
    for group in groups:
        call.caller_says(group)
        call.silence(1.2)
    ends_after(call)
    assert call.asked == [UserText(" ".join(groups))]
    assert reason(call) == "spelling"


def test_the_first_digit_of_a_number_that_was_asked_for_is_not_the_whole_number() -> None:
    call = semantic()
    call.turn("hello there", "What is your account number?")
    call.caller_says("four")
    call.silence(1.0)
    call.caller_says("seven two")
    ends_after(call)
    assert call.asked[-1] == UserText("four seven two")


def test_a_caller_who_pauses_long_is_given_more_time() -> None:
    """livekit/agents#3427: some people pause for a second within a sentence, always."""
    call = semantic()
    call.sounds_finished = 0.1
    call.caller_says("we were thinking")
    call.silence(0.8)
    call.sounds_finished = 0.4
    call.caller_says("of something else")
    first = ends_after(call)
    assert first > 0.85
    call.bot_says("Go on.")
    call.bot_finishes()
    call.silence(1.0)
    call.caller_says("it rained in the mountains all night")
    assert ends_after(call) == pytest.approx(first, abs=2 * FRAME)


def test_a_turn_is_not_over_before_its_words_are_known_but_as_soon_as_they_are() -> None:
    call = semantic(recognition_seconds=0.6)
    call.caller_says("what is the capital of France")
    assert ends_after(call) == pytest.approx(0.7, abs=2 * FRAME)


@pytest.mark.parametrize("recognition_seconds", [0.1, 30.0])
def test_without_a_judgement_of_its_sound_a_turn_ends_after_plain_silence(recognition_seconds: float) -> None:
    call = semantic(recognition_seconds=recognition_seconds)
    call.sounds_finished = None
    call.caller_says("what is the capital of France")
    assert ends_after(call) == pytest.approx(0.6 if recognition_seconds < 1 else 1.0, abs=2 * FRAME)
    assert reason(call) == "unjudged"


def test_a_recogniser_that_fails_does_not_keep_the_turn_open() -> None:
    """livekit/agents#835: the end of speech is never noticed, and the bot is silent for good."""
    call = semantic()
    call.recognition_fails = True
    call.caller_says("hello there")
    assert ends_after(call) == pytest.approx(1.0, abs=2 * FRAME)


def test_a_sound_without_words_may_be_the_first_of_a_turn_and_is_answered_by_nothing() -> None:
    """A digit alone is often not understood: the next one is 0.8 s away."""
    call = semantic()
    call.caller_makes_noise()
    assert ends_after(call) == pytest.approx(1.0, abs=2 * FRAME)
    call.silence(2.0)
    assert reason(call) == "no_words"
    assert call.requests == []


def test_a_judgement_that_comes_after_the_caller_went_on_changes_nothing() -> None:
    call = semantic()
    call.sounds_finished = None
    call.caller_says("well then")
    call.silence(0.1)
    [stale] = call.commands(c.JudgeTurn)
    call.caller_says("i would like to")
    call.silence(0.1)
    call.conversation.turn_judged(stale.item_id, stale.attempt, 1.0)
    assert ends_after(call) > 2.0


def test_a_judgement_that_comes_while_the_caller_speaks_is_of_no_use() -> None:
    call = semantic()
    call.sounds_finished = None
    call.caller_says("well then")
    call.silence(0.1)
    [late] = call.commands(c.JudgeTurn)
    call.caller_says("hello")
    call.conversation.turn_judged(late.item_id, late.attempt, 1.0)
    assert ends_after(call) == pytest.approx(0.6, abs=2 * FRAME)


def test_a_short_interruption_is_over_as_soon_as_any_turn() -> None:
    call = semantic()
    call.caller_says("tell me a story")
    ends_after(call)
    call.bot_says("Once upon a time there was a farmer who had three sons.", seconds=10.0)
    call.silence(2.0)
    call.caller_says("stop", seconds=0.2)
    call.silence(0.2)  # known to be an interruption only now
    assert ends_after(call) < 0.3
    assert call.asked[-1] == UserText("stop")
    assert reason(call) == "finished"


def test_judged_are_the_last_eight_seconds_of_the_turn() -> None:
    """pipecat#3375: the turn model gets audio whose beginning is missing, and guesses."""
    call = semantic()
    call.silence(2.0)
    call.caller_says("one", seconds=1.0)
    call.silence(0.1)
    call.caller_says("and two", seconds=9.0)
    call.silence(0.2)
    short, long = (len(command.pcm) / 32_000 for command in call.commands(c.JudgeTurn))
    assert short == pytest.approx(1.4, abs=2 * FRAME)  # with the padding before it
    assert long == pytest.approx(8.0)


def test_plain_silence_asks_for_no_judgement() -> None:
    call = Call()
    call.caller_says("i would like to")
    assert ends_after(call) == pytest.approx(0.5, abs=2 * FRAME)
    assert call.commands(c.JudgeTurn) == []
    assert reason(call) == "silence"


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad"])
def test_of_a_long_turn_only_what_came_after_the_last_pause_is_recognised_at_its_end(turn_detection: str) -> None:
    call = Call(audio={"input": {"turn_detection": {"type": turn_detection}}})
    call.sounds_finished = 0.2
    call.caller_says("it all began long ago when", seconds=8.0)
    call.silence(0.4)
    call.caller_says("my mother bought the", seconds=8.0)
    call.silence(0.4)
    call.sounds_finished = 0.95
    call.caller_says("house on the hill", seconds=2.0)
    ends_after(call)
    call.silence(0.2)
    assert call.asked == [UserText("it all began long ago when my mother bought the house on the hill")]
    assert len(call.commands(c.Transcribe)[-1].pcm) / 32_000 < 3.0
    assert len(call.all_of("input_audio_buffer.committed")) == 1


def test_what_was_settled_is_kept_where_the_rest_has_no_words() -> None:
    call = semantic()
    call.sounds_finished = 0.2
    call.caller_says("it all began long ago when", seconds=8.0)
    call.silence(0.4)
    call.recognition_fails = True
    call.caller_says("lost", seconds=1.0)
    ends_after(call)
    assert call.asked == [UserText("it all began long ago when")]
