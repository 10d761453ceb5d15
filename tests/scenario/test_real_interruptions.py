"""The caller interrupts the assistant: how soon that is heard, and what becomes of the words."""

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import FRAME, Call
from tests.support.story import STORY, STORY_SECONDS, listening, speaks, was_told


@pytest.mark.parametrize("into", [1.0, 2.0])
@pytest.mark.parametrize("words", ["stop", "wait", "no", "hold on", "excuse me", "what about the mill", "Tuesday"])
def test_an_interruption_is_heard_within_400_ms(words: str, into: float) -> None:
    call = listening(into)
    began = call._audio
    for pcm in call.record(words, 0.8):
        if speaks(call):
            call.frame(0.95, pcm)
    assert (call._audio - began) * FRAME <= 0.4
    started = call.last("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == pytest.approx(began * FRAME * 1000 - 300, abs=1)
    call.silence(1.0)
    assert call.judged == ["interruption"]


@pytest.mark.parametrize("words", ["stop", "no", "wait"])
def test_a_short_word_is_heard_at_its_end(words: str) -> None:
    # pipecat#3191, dograh#296, bolna#245: "stop, stop", and the bot speaks on
    call = listening()
    call.caller_says(words, seconds=0.2)
    call.silence(0.4)
    assert not speaks(call)
    call.silence(0.6)
    assert call.asked[-1] == UserText(words)
    assert call.last("response.done")["response"]["status_details"]["reason"] == "turn_detected"


def test_its_words_are_kept_from_their_beginning_and_recognised_once_more_at_their_end() -> None:
    # livekit/agents#3261: the first words of an interruption are lost
    call = listening()
    call.caller_says("please tell me about the youngest one", seconds=2.0)
    call.silence(1.0)
    assert call.asked[-1] == UserText("please tell me about the youngest one")
    first, *_, last = (command for command in call.commands(c.Transcribe)[1:])
    assert len(first.pcm) < 0.7 * 32_000
    assert len(last.pcm) > 2.0 * 32_000


def test_a_caller_who_goes_on_as_the_answer_begins_interrupts_at_once() -> None:
    # livekit/agents#3903: bot and caller begin to speak at the same time, and both go on
    call = Call()
    call.caller_says("I would like to")
    call.silence(0.7)
    call.bot_says("Sure, what would you like to do?")
    call.caller_says("uh", seconds=0.1)
    assert call.last("response.done")["response"]["status"] == "cancelled"


def test_one_request_at_a_time_is_made_for_its_words() -> None:
    call = listening()
    call.recognition_seconds = 0.25
    call.caller_makes_noise(1.5)
    asked = [command.item_id for command in call.commands(c.Transcribe)[1:]]
    assert 4 <= len(asked) <= 7
    assert len(call._recognitions) <= 1


@pytest.mark.parametrize("recogniser", ["slow", "failing"])
def test_without_words_a_long_voice_interrupts(recogniser: str) -> None:
    call = listening()
    call.recognition_seconds = 60.0 if recogniser == "slow" else 0.1
    call.recognition_fails = recogniser == "failing"
    call.caller_says("I would like to speak to somebody", seconds=0.5)
    assert speaks(call)
    call.caller_says("in sales please", seconds=0.3)
    assert not speaks(call)


def test_a_recogniser_that_fails_is_not_asked_all_the_time() -> None:
    call = listening()
    recognised = len(call.commands(c.Transcribe))
    call.recognition_seconds, call.recognition_fails = 0.03, True
    call.caller_makes_noise(0.5)
    assert len(call.commands(c.Transcribe)) - recognised == 1


@pytest.mark.parametrize("recogniser", ["slow", "failing"])
def test_without_words_a_short_voice_does_not(recogniser: str) -> None:
    call = listening()
    call.recognition_seconds = 3.0 if recogniser == "slow" else 0.1
    call.recognition_fails = recogniser == "failing"
    call.caller_makes_noise(0.5)
    call.silence(4.0)
    assert speaks(call)
    assert was_told(call) == []


def test_words_that_come_late_still_interrupt() -> None:
    call = listening()
    call.recognition_seconds = 1.5
    call.caller_says("stop please", seconds=0.5)
    call.silence(0.8)
    assert speaks(call)
    call.silence(3.0)
    assert not speaks(call)
    assert [event["type"] for event in call.client.received if "input_audio_buffer" in event["type"]][-3:] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert call.asked[-1] == UserText("stop please")


def test_what_is_no_word_to_the_recogniser_is_a_voice_when_it_is_long() -> None:
    # a language that it does not know
    call = listening()
    call.caller_makes_noise(2.2)
    assert not speaks(call)


def test_what_the_caller_heard_is_what_history_holds() -> None:
    # pipecat#5426, #4996, #5605: history is not what was heard
    call = listening(seconds=1.0)
    call.caller_says("mhm", seconds=0.3)
    call.silence(1.0)
    call.caller_says("stop it", seconds=0.4)
    call.silence(1.0)
    assert [text for role, text in call.history if role == "user"] == ["tell me a story", "mhm", "stop it"]
    heard = call.heard
    assert STORY.startswith(heard)
    assert 20 < len(heard) < 30  # some 2.7 of 10 seconds


def test_after_an_interruption_everything_is_as_ever() -> None:
    # livekit/agents#3418, #4413: stuck after an interruption
    call = listening()
    for words in ("wait", "no stop"):
        call.caller_says(words, seconds=0.5)
        call.silence(1.0)
        assert call.asked[-1] == UserText(words)
        call.bot_says(STORY, seconds=STORY_SECONDS)
        call.silence(1.5)
        call.caller_makes_noise(0.3)
        call.silence(1.0)
        call.caller_says("mhm", seconds=0.3)
        call.silence(1.0)
        assert speaks(call)
