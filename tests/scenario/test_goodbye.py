"""What a limit on calls asks of a conversation: is anyone there, is this a moment to speak, and say goodbye."""

from server.llm.interface import SystemText
from tests.support.call import Call, server_vad


def test_a_goodbye_is_an_answer_that_nobody_asked_for_and_that_calls_no_function() -> None:
    call = Call(tools=[{"type": "function", "name": "look_up"}])
    call.turn("hello", "Hello, how can I help?")
    assert call.conversation.at_rest(call.now)
    call._perform(call.conversation.say_goodbye())
    assert isinstance(call.asked[-1], SystemText)
    assert "goodbye" in call.asked[-1].text
    assert call.requests[-1].tool_choice == "none"
    call.bot_says("Goodbye!")
    call.bot_finishes()
    assert not call.conversation.at_rest(call.now)  # it is still being played
    assert not call.conversation.engaged(call.now)
    call.silence(2.0)
    assert call.conversation.at_rest(call.now)
    assert call.history[-1] == ("assistant", "Goodbye!")


def test_the_caller_is_engaged_from_the_first_word_until_the_answer_has_been_heard() -> None:
    call = Call(recognition_seconds=0.5)
    assert not call.conversation.engaged(call.now)
    call.caller_says("hello")
    assert call.conversation.engaged(call.now)
    call.silence(0.6)
    assert call.awaits_words
    assert call.conversation.engaged(call.now)
    call.silence(1.0)
    call.bot_says("Hello, how can I help?")
    call.bot_finishes()
    assert call.conversation.engaged(call.now)
    call.silence(3.0)
    assert not call.conversation.engaged(call.now)
    assert call.conversation.at_rest(call.now)


def test_being_asked_whether_one_is_still_there_engages_nobody() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.turn("hello", "Hello.")
    call.silence(1.5)
    call.bot_says("Are you still there?")
    assert not call.conversation.engaged(call.now)
    assert not call.conversation.at_rest(call.now)
    call.silence(0.5)
    call.caller_says("yes", seconds=0.5)
    assert call.conversation.engaged(call.now)
