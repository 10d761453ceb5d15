"""Voices over an answer while it is open what they are: each is decided once, or gone where the client wants that."""

from server.conversation import commands as c
from server.conversation import events as e
from server.llm.interface import UserText
from tests.support.story import listening, speaks


def test_what_is_undecided_when_the_client_clears_or_commits_is_gone_with_it() -> None:
    call = listening()
    call.caller_says("stop", seconds=0.1)
    call.client_sends("input_audio_buffer.clear")
    call.silence(1.0)
    assert speaks(call)
    call.recognition_seconds = 2.0
    call.caller_says("stop", seconds=0.3)
    call.silence(1.0)  # over, and its words are not known yet
    call.client_sends("input_audio_buffer.clear")
    call.silence(2.0)
    assert speaks(call)
    call.caller_says("by hand", seconds=0.2)
    call.client_sends("input_audio_buffer.commit")
    call.silence(3.0)
    assert speaks(call)
    assert call.history[-1] == ("user", "by hand")
    assert not call.awaits_words


def test_turn_detection_switched_off_leaves_nothing_undecided() -> None:
    call = listening()
    call.recognition_seconds = 2.0
    call.caller_says("stop", seconds=0.3)
    call.silence(1.0)
    call.client_sends("session.update", session={"audio": {"input": {"turn_detection": None}}})
    call.silence(3.0)
    assert speaks(call)
    assert call.conversation._utterances.candidates == []


def test_a_candidate_whose_audio_stops_is_decided() -> None:
    """pipecat#4124: the microphone is muted in the middle of a word."""
    call = listening()
    call.caller_says("stop", seconds=0.2)
    call.no_audio(2.5)
    assert not speaks(call)
    assert call.asked[-1] == UserText("stop")


def test_two_voices_are_judged_each_by_itself() -> None:
    call = listening()
    call.recognition_seconds = 0.6
    for words in ("mhm", "no I want the other one"):
        call.caller_says(words, seconds=0.4)
        call.silence(0.6)
    call.silence(2.0)
    assert call.judged == ["backchannel", "interruption"]
    assert [text for role, text in call.history if role == "user"][1:] == ["mhm", "no I want the other one"]
    assert len(call.requests) == 2


def test_a_voice_that_is_known_to_be_a_turn_only_while_the_next_one_is_heard_comes_before_it() -> None:
    call = listening()
    call.recognition_seconds = 3.0
    call.caller_says("tell me more", seconds=0.4)
    call.silence(0.6)
    call.caller_says("and of the mill and of the sea", seconds=3.0)
    call.silence(5.0)
    said = [text for role, text in call.history if role == "user"]
    assert said == ["tell me a story", "tell me more", "and of the mill and of the sea"]
    assert len(call.all_of("input_audio_buffer.speech_started")) == 2  # of one at a time


def test_a_voice_that_pauses_and_goes_on_is_judged_as_a_whole() -> None:
    call = listening()
    call.caller_makes_noise(0.15)
    call.silence(0.3)
    assert call.judged == []
    call.caller_says("go to the mill", seconds=0.6)
    assert not speaks(call)
    call.silence(1.5)
    assert call.judged == ["interruption"]
    assert call.asked[-1] == UserText("go to the mill")


def test_words_for_a_request_that_was_not_made_decide_nothing() -> None:
    call = listening()
    call.recognition_seconds = 1.0
    call.caller_says("mhm", seconds=0.3)
    asked = call.commands(c.Transcribe)[-1]
    stale = e.Transcribed(asked.item_id, 0, "stop", 0.3)
    assert call.conversation.transcribed(asked.attempt + 1, stale, call.now) == []
    assert speaks(call)


def test_an_undecided_voice_when_the_client_stops_the_playback_is_a_turn() -> None:
    call = listening()
    call.caller_says("okay", seconds=0.3)
    call.client_sends("output_audio_buffer.clear")
    call.silence(1.5)
    assert call.asked[-1] == UserText("okay")


def test_every_verdict_is_counted_once() -> None:
    call = listening()
    for words in ("", "mhm"):
        call.caller_says(words, seconds=0.3)
        call.silence(1.0)
    assert call.judged == ["noise", "backchannel"]


def test_an_interruption_that_is_over_when_it_is_understood_is_judged_as_a_turn_s_end_at_once() -> None:
    call = listening(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    call.recognition_seconds = 0.3
    call.caller_says("okay Tuesday", seconds=0.4)
    call.silence(2.0)
    assert not speaks(call)
    assert call.asked[-1] == UserText("okay Tuesday")
