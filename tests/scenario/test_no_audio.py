"""No audio comes, not even silence: a muted microphone, a line that is gone, a client that sends only speech."""

from server.llm.interface import UserText
from tests.support.call import Call, server_vad


def test_an_utterance_whose_audio_stops_ends_by_the_clock() -> None:
    """pipecat#4124: the microphone is muted in the middle of a word."""
    call = Call()
    call.caller_says("what time is it")
    call.no_audio(1.25)
    assert call.caller_is_speaking
    call.no_audio(0.5)
    assert not call.caller_is_speaking
    call.no_audio(0.25)
    assert call.asked == [UserText("what time is it")]
    stopped = call.last("input_audio_buffer.speech_stopped")
    assert stopped["audio_end_ms"] == round(1000 * 31 * 0.032)  # where the audio ended, not where the clock is


def test_a_network_that_stalls_for_a_moment_ends_no_turn() -> None:
    call = Call()
    call.caller_says("what time")
    call.no_audio(1.0)
    call.caller_says("is it")
    call.silence(1.0)
    assert call.asked == [UserText("what time is it")]


def test_a_longer_silence_that_ends_a_turn_is_waited_for_longer() -> None:
    call = Call(audio=server_vad(silence_duration_ms=2000))
    call.caller_says("what time is it")
    call.no_audio(2.75)
    assert call.caller_is_speaking
    call.no_audio(0.5)
    assert not call.caller_is_speaking


def test_who_speaks_again_afterwards_is_heard() -> None:
    call = Call()
    call.caller_says("what time is it")
    call.no_audio(2.0)
    call.bot_says("It is noon.")
    call.bot_finishes()
    call.no_audio(2.0)
    call.caller_says("thank you")
    call.silence(1.0)
    assert call.asked[-1] == UserText("thank you")
    assert call.errors == []


def test_an_interruption_whose_audio_stops_gets_its_answer() -> None:
    call = Call()
    call.turn("hello", "Hello.")
    call.client_sends("response.create")
    call.bot_says("Let me tell you a story.", seconds=5.0)
    call.caller_says("no wait")
    call.no_audio(2.0)
    assert call.asked[-1] == UserText("no wait")


def test_the_caller_is_asked_whether_they_are_there_though_nothing_comes() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=5000))
    call.turn("hello", "Hello.")
    call.no_audio(4.5)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.no_audio(0.75)
    [triggered] = call.all_of("input_audio_buffer.timeout_triggered")
    assert 0 <= triggered["audio_start_ms"] <= triggered["audio_end_ms"]
    assert call.answering


def test_the_caller_who_never_sent_any_audio_is_asked_too() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.client_sends("response.create")
    call.bot_says("Welcome.")
    call.bot_finishes()
    call.no_audio(2.0)
    [triggered] = call.all_of("input_audio_buffer.timeout_triggered")
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (0, 1000)


def test_turns_that_the_client_ends_by_hand_wait_for_its_hand() -> None:
    call = Call(audio={"input": {"turn_detection": None}})
    call.client_sends("input_audio_buffer.append", audio="AAAA" * 2000)
    call.no_audio(60.0)
    assert call.events == []


def test_a_voice_over_the_assistant_s_that_is_cut_off_is_weighed_as_what_it_was() -> None:
    call = Call(audio=server_vad())
    call.turn("tell me a story", "Once upon a time.")
    call.silence(1.0)
    call.client_sends("response.create")
    call.bot_says("There was a farmer who had three sons.", seconds=20.0)
    call.silence(2.0)
    call.caller_says("mhm", 0.3)
    call.no_audio(3.0)
    assert call.judged == ["backchannel"]
    assert call.answering
