"""The assistant's own words, as they come back through the caller's microphone, while it speaks."""

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import FRAME, Call, Sound
from tests.support.story import STORY, STORY_SECONDS, listening, speaks, was_told


def test_the_bots_own_words_coming_back_stop_nothing_and_are_forgotten() -> None:
    # pipecat#188, #1771: the bot on a loudspeaker interrupts itself
    call = listening(seconds=2.2)
    call.caller_says("was a farmer who had free sons and a", seconds=3.5)
    call.silence(1.5)
    assert was_told(call) == []
    assert speaks(call)
    assert call.judged == ["echo"]


def test_an_echo_that_outlasts_the_bot_is_not_answered() -> None:
    # vocode-core#16: its own words are transcribed, and it answers itself
    call = listening(seconds=STORY_SECONDS - 2.0)
    call.bot_finishes()
    call.caller_says("the eldest went to sea", seconds=2.4)
    call.silence(2.0)
    assert was_told(call) == [
        "response.content_part.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert len(call.requests) == 1


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad"])
def test_a_bot_that_speaks_first_does_not_talk_to_itself(turn_detection: str) -> None:
    # AIProxySwift#240: nobody has said a word, and it interrupts and answers itself again and again
    call = Call(audio={"input": {"turn_detection": {"type": turn_detection}}})
    call.client_sends("response.create")
    call.bot_says("Welcome to the city library, how may I help you today?", seconds=4.0)
    call.bot_finishes()
    call.silence(0.2)
    call.caller_says("welcome to the city library how may I help you today", seconds=4.0)
    call.silence(3.0)
    assert len(call.requests) == 1
    assert call.history == [("assistant", "Welcome to the city library, how may I help you today?")]
    call.caller_says("I am looking for a book", seconds=1.5)
    call.silence(1.5)
    assert call.asked[-1] == UserText("I am looking for a book")


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad"])
@pytest.mark.parametrize("sound", ["voice", "far"])
def test_an_answer_that_comes_fast_is_not_stopped_by_its_own_echo(turn_detection: str, sound: Sound) -> None:
    # who speaks within a second of their turn's end goes on with it; the answer's first second lies in that one
    call = Call(audio={"input": {"turn_detection": {"type": turn_detection}}})
    call.caller_says("tell me a story")
    while not call.requests:
        call.silence(FRAME)
    call.bot_says(STORY, seconds=STORY_SECONDS)
    call.silence(0.2)
    call.caller_says("once upon a time there was a farmer", seconds=3.0, sound=sound)
    call.silence(1.0)
    assert speaks(call)
    assert call.judged == ["echo" if sound == "voice" else "noise"]
    assert len(call.requests) == 1


def test_the_caller_is_heard_over_an_echo() -> None:
    call = listening(seconds=2.2)
    call.caller_says("was a farmer who had", seconds=1.5)
    call.caller_says("sorry can you start again with the name of it", seconds=2.0)
    assert not speaks(call)


_CHOICE = "When would you like to come, would it be Saturday or Sunday?"


@pytest.mark.parametrize("before_the_end", [1.5, 0.3])
@pytest.mark.parametrize("words", ["Saturday", "Sunday"])
def test_what_a_question_offers_is_an_answer_to_it_and_no_echo(words: str, before_the_end: float) -> None:
    call = listening(seconds=STORY_SECONDS - before_the_end, story=_CHOICE)
    call.caller_says(words, seconds=0.5)
    call.silence(0.5)
    assert not speaks(call)
    call.silence(0.5)
    assert call.asked[-1] == UserText(words)


def test_where_an_echo_was_heard_before_it_is_one_in_a_question_too() -> None:
    call = listening(seconds=2.2)
    call.caller_says("was a farmer who had", seconds=1.5)
    call.silence(1.0)
    call.bot_says(_CHOICE, seconds=4.0)
    call.silence(STORY_SECONDS + 4.0 - 2.2 - 1.5 - 1.0 - 1.5)
    call.caller_says("Saturday", seconds=0.5)
    call.silence(0.8)
    assert speaks(call)
    assert call.judged == ["echo", "echo"]


def test_a_word_that_is_heard_over_and_over_is_no_sign_of_an_echo() -> None:
    # a recogniser makes "please, please, please," of a caller's first word, which the bot has just said too
    call = listening(seconds=3.0)
    recognised = len(call.commands(c.Transcribe))
    call.caller_says("farmer farmer farmer farmer farmer farmer can you say that again", seconds=1.6)
    assert not speaks(call)
    assert all(command.fragment for command in call.commands(c.Transcribe)[recognised:])


def test_words_that_the_bot_said_long_ago_are_no_echo() -> None:
    call = listening(seconds=7.0)
    call.caller_says("who was the farmer again", seconds=0.8)
    assert not speaks(call)


def test_a_command_is_one_though_the_bot_says_the_same_word() -> None:
    call = listening(story="You can say stop or wait at any time and I will stop or wait for you as long as you like.")
    call.caller_says("stop", seconds=0.4)
    call.silence(0.3)
    assert not speaks(call)
