"""Noise while the assistant speaks: it stops nothing, and nor does somebody else in the room."""

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import Call
from tests.support.story import STORY, listening, speaks, was_told


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.7, 1.5])
def test_a_cough_costs_nothing(seconds: float) -> None:
    # pipecat#1084: noise stops the bot. livekit/agents#4039: and it never resumes.
    call = listening()
    call.caller_makes_noise(seconds)
    call.silence(1.5)
    assert was_told(call) == []
    assert speaks(call)
    assert call.judged == ["noise"]
    assert call.history == [("user", "tell me a story"), ("assistant", STORY)]


def test_words_are_wanted_soon_while_a_voice_goes_on_and_surely_once_it_pauses() -> None:
    call = listening()
    recognised = len(call.commands(c.Transcribe))
    call.caller_makes_noise(0.7)
    call.silence(1.0)
    asked = [command.fragment for command in call.commands(c.Transcribe)[recognised:]]
    assert asked[0]
    assert not asked[-1]


def test_what_may_be_an_answers_echo_is_recognised_surely() -> None:
    call = listening(seconds=0.2)
    recognised = len(call.commands(c.Transcribe))
    call.caller_makes_noise(0.7)
    assert not any(command.fragment for command in call.commands(c.Transcribe)[recognised:])


def test_a_click_too_short_for_a_word_is_not_recognised() -> None:
    call = listening()
    recognised = len(call.commands(c.Transcribe))
    call.caller_makes_noise(0.09)
    call.silence(1.0)
    assert len(call.commands(c.Transcribe)) == recognised
    assert call.judged == ["noise"]


def test_a_voice_from_afar_stops_nothing_however_long_it_talks() -> None:
    # pipecat#670: a television, or somebody else in the room, interrupts all the time
    call = listening()
    call.caller_says("and now the weather for the north of the country", seconds=4.0, sound="far")
    call.silence(1.0)
    assert was_told(call) == []
    assert speaks(call)
    assert call.judged == ["noise"]


def test_the_caller_is_heard_over_a_voice_from_afar() -> None:
    call = listening()
    call.caller_says("and now the weather", seconds=1.5, sound="far")
    call.caller_says("excuse me", seconds=0.6)
    assert not speaks(call)


def greeted(seconds: float) -> Call:
    """A caller who has not spoken yet, and has heard so much of a greeting of four seconds."""
    call = Call()
    call.client_sends("response.create")
    call.bot_says("Welcome to the city library, how may I help you today?", seconds=4.0)
    call.silence(seconds)
    _ = call.events
    return call


def test_a_voice_from_afar_stops_nothing_before_the_caller_has_spoken() -> None:
    # nothing to compare it with but what callers have on telephones
    call = greeted(1.5)
    call.caller_says("and now the weather", seconds=1.5, sound="far")
    call.silence(0.8)
    assert speaks(call)
    assert was_told(call) == []
    call.caller_says("hello there", seconds=0.6)
    assert not speaks(call)


def test_a_quiet_caller_is_heard_once_nobody_else_speaks() -> None:
    call = greeted(3.5)
    call.bot_finishes()
    call.caller_says("when are you open on Sundays", seconds=1.5, sound="far")
    call.silence(1.0)
    assert call.asked[-1] == UserText("when are you open on Sundays")
