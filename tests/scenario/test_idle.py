"""Nobody speaks."""

from server.llm.interface import AssistantText, SystemText, UserText
from tests.support.call import Call, server_vad


def test_after_the_idle_timeout_the_assistant_asks_whether_anyone_is_there() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=5000))
    call.turn("hello", "Hello.")
    call.silence(4.5)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    _ = call.events
    call.silence(0.6)
    assert call.events == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    triggered = call.last("input_audio_buffer.timeout_triggered")
    assert triggered["audio_end_ms"] - triggered["audio_start_ms"] == 5000
    assert call.asked[:2] == [UserText("hello"), AssistantText("Hello.")]
    assert isinstance(call.asked[2], SystemText)


def test_the_idle_time_counts_from_the_end_of_playout() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.caller_says("hello")
    call.silence(0.7)
    call.bot_says("A long welcome.", seconds=4.0)
    call.bot_finishes()
    call.silence(4.9)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(0.2)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


def test_nobody_is_idle_while_the_caller_speaks_or_is_about_to_be_answered() -> None:
    call = Call(recognition_seconds=2.0, audio=server_vad(idle_timeout_ms=1000))
    call.caller_says("hello")
    call.silence(2.5)
    call.bot_says("Welcome to this long message.", seconds=3.0)
    call.silence(0.5)
    call.caller_says("let me tell you a long story about my cat", seconds=4.0)
    call.silence(1.8)  # its words are not known yet
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(1.0)
    assert call.asked[-1] == UserText("let me tell you a long story about my cat")


def test_noise_does_not_put_the_idle_timeout_off() -> None:
    # a dog that barks each second, and nobody ever asks whether the caller is there
    call = Call(audio=server_vad(idle_timeout_ms=5000))
    call.turn("hello", "Hello.")
    for _ in range(4):
        call.silence(0.7)
        call.caller_makes_noise()
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(1.0)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


def test_nobody_is_idle_while_it_is_not_known_whether_a_sound_has_words() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=2000))
    call.turn("hello", "Hello.")
    call.recognition_seconds = 1.0
    call.silence(1.5)
    call.caller_makes_noise()
    call.silence(0.8)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(0.6)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


def test_who_may_have_spoken_is_not_idle() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=2000))
    call.turn("hello", "Hello.")
    call.recognition_fails = True
    call.silence(1.5)
    call.caller_says("I am here")
    call.silence(2.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(1.0)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


def test_a_caller_who_spoke_is_not_idle_even_if_the_client_has_not_answered() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000, create_response=False))
    call.caller_says("hello")
    call.silence(1.0)
    call.client_sends("response.create")
    call.bot_says("Hi.")
    call.bot_finishes()
    call.caller_says("one more thing")
    call.silence(5.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []


def test_nobody_is_idle_before_the_first_answer_or_without_a_timeout() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.silence(5.0)
    assert call.events == []
    call = Call()
    call.turn("hello", "Hello.")
    call.silence(60.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
