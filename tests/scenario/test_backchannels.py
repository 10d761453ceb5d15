""" "mhm", "okay" and the like while the assistant speaks: they end no turn of its, and begin none of the caller's."""

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import Call
from tests.support.story import STORY, STORY_SECONDS, listening, speaks, was_told


@pytest.mark.parametrize(
    "words", ["mhm", "Okay.", "right", "Uh-huh.", "yeah okay", "I see.", "Mm-hmm, right.", "Thank you."]
)
def test_a_backchannel_neither_ends_nor_starts_a_turn(words: str) -> None:
    # livekit/agents#4039: "mhm" stops the bot. bolna#223: and is answered.
    call = listening()
    call.caller_says(words, seconds=0.4)
    call.silence(1.5)
    assert was_told(call) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert speaks(call)
    assert len(call.requests) == 1
    assert call.judged == ["backchannel"]
    call.bot_finishes()
    call.silence(STORY_SECONDS)
    assert len(call.requests) == 1
    assert call.history[1:] == [("assistant", STORY), ("user", words)]


def test_a_client_that_creates_answers_by_itself_is_not_told_of_a_backchannel_as_of_a_turn() -> None:
    # it would answer what was committed
    turn_detection = {"type": "server_vad", "create_response": False}
    call = Call(audio={"input": {"turn_detection": turn_detection}})
    call.client_sends("response.create")
    call.bot_says(STORY, seconds=STORY_SECONDS)
    call.silence(2.0)
    _ = call.events
    call.caller_says("mhm", seconds=0.3)
    call.caller_makes_noise(0.3)
    call.silence(1.5)
    assert was_told(call) == ["conversation.item.added", "conversation.item.done"]
    assert speaks(call)


def test_words_heard_in_the_beginning_of_a_hum_are_not_believed() -> None:
    # tiny.en understands the first 0.25 s of "mm-hmm" as "No."
    call = listening()
    call.caller_says("no", seconds=0.2, sound="hum")
    call.caller_says("mhm", seconds=0.25, sound="hum")
    first = call.commands(c.Transcribe)[1]
    assert first.pcm
    call.silence(0.1)
    assert speaks(call)


def test_words_after_a_backchannel_interrupt() -> None:
    call = listening()
    call.caller_says("okay", seconds=0.4)
    call.caller_says("but what about the mill", seconds=1.0)
    assert not speaks(call)
    call.silence(1.0)
    assert call.asked[-1] == UserText("okay but what about the mill")


def test_what_might_yet_become_a_backchannel_is_waited_for() -> None:
    call = listening()
    call.caller_says("I", seconds=0.35)
    assert speaks(call)
    call.caller_says("see", seconds=0.2)
    call.silence(1.0)
    assert speaks(call)
    assert call.judged == ["backchannel"]


def test_backchannels_are_those_of_the_callers_language() -> None:
    for language, stops in (("de", False), ("en", True)):
        call = listening(audio={"input": {"transcription": {"language": language}}})
        call.caller_says("alles klar", seconds=0.5)
        call.silence(1.0)
        assert speaks(call) is not stops


@pytest.mark.parametrize("before_the_end", [0.8, 0.2])
@pytest.mark.parametrize("words", ["yes", "mhm", "okay"])
def test_an_affirmation_at_the_end_of_a_question_is_an_answer(words: str, before_the_end: float) -> None:
    question = "Shall I put you through to the reservations desk now?"
    call = listening(seconds=STORY_SECONDS - before_the_end, story=question)
    call.bot_finishes()
    call.caller_says(words, seconds=0.3)
    call.silence(1.5)
    assert len(call.requests) == 2
    assert call.asked[-1] == UserText(words)
    assert call.client.transcripts.popitem()[1] == words


def test_an_affirmation_that_outlasts_a_statement_is_a_turn() -> None:
    call = listening(seconds=STORY_SECONDS - 0.3)
    call.bot_finishes()
    call.caller_says("okay", seconds=0.4)
    call.silence(1.5)
    assert call.asked[-1] == UserText("okay")
    assert call.judged == ["turn"]
