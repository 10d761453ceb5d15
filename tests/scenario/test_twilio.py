"""A telephone call over Twilio Media Streams: what the caller hears, what history holds of it, and what keys do."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.conversation.history import Message
from server.llm.interface import AssistantText, SystemText, UserText
from tests.support.story import speaks
from tests.support.twilio_call import TwilioCall
from tests.support.twilio_messages import mark

_GREETING = "Front desk, how can I help you?"


@pytest.fixture
def call() -> TwilioCall:
    """A caller who has heard the greeting."""
    call = TwilioCall(greeting=_GREETING)
    call.bot_says(_GREETING)
    call.bot_finishes()
    call.silence(3.0)
    return call


def listening(*clauses: tuple[str, float], down: float = 0.0, up: float = 0.0) -> TwilioCall:
    """A caller who is hearing an answer of clauses, of so many seconds each."""
    call = TwilioCall(down, up, greeting=_GREETING)
    call.bot_says(_GREETING)
    call.bot_finishes()
    call.silence(3.0)
    call.caller_says("when are you open")
    call.silence(1.0)
    for clause, seconds in clauses:
        call.bot_says(clause, seconds)
        call.conversation.end_clause(call.under_way[-1])
    return call


# --- how it begins


def test_the_greeting_is_said_as_it_stands_before_the_caller_says_anything() -> None:
    call = TwilioCall(greeting=_GREETING)
    assert (call.said, call.requests) == ([_GREETING], [])


def test_without_a_greeting_the_model_begins() -> None:
    call = TwilioCall(instructions="You are the front desk of a hotel.")
    assert call.requests[0].instructions == "You are the front desk of a hotel."
    [asked] = call.asked
    assert isinstance(asked, SystemText)
    assert "Greet" in asked.text


def test_the_model_knows_what_the_greeting_was(call: TwilioCall) -> None:
    call.turn("are you open", "We are.")
    assert call.asked == [AssistantText(_GREETING), UserText("are you open")]


def test_who_speaks_into_the_greeting_is_heard() -> None:
    call = TwilioCall(greeting=_GREETING)
    call.bot_says(_GREETING, seconds=4.0)
    call.bot_finishes()
    call.silence(1.0)
    call.caller_says("I want to book a room")
    assert call.told == ["media", "mark", "clear"]
    call.silence(1.5)
    assert call.asked[-1] == UserText("I want to book a room")
    assert call.asked[0] in (AssistantText("Front"), AssistantText("Front desk,"))


# --- what is sent


def test_audio_leaves_in_frames_of_20_ms_with_a_mark_behind_each_clause(call: TwilioCall) -> None:
    sent = len(call.twilio.received)
    call.caller_says("when are you open")
    call.silence(1.0)
    call.bot_says("From nine to five.", seconds=1.234)
    call.bot_says("On Sundays until noon.", seconds=1.5)
    call.bot_finishes()
    messages = call.twilio.received[sent:]
    frames = [message["media"]["payload"] for message in messages if message["event"] == "media"]
    assert {len(frame) for frame in frames} == {216}  # 160 bytes as base64
    assert len(frames) == 137  # of 2.734 s, the last one filled up
    assert [message["event"] for message in messages if message["event"] != "media"] == ["mark", "mark"]
    assert messages[-1]["event"] == "mark"


def test_a_clause_without_sound_has_no_mark(call: TwilioCall) -> None:
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("Sure.", seconds=1.0)
    call._perform(call.conversation.unspoken(call.under_way[-1], "你好。"))
    call.bot_says("Bye now.", seconds=1.0)
    call.bot_finishes()
    assert call.told[-4:] == ["media", "mark", "media", "mark"]
    call.silence(3.0)
    assert call.heard == "Sure. 你好。 Bye now."


def test_what_is_never_heard_is_never_told(call: TwilioCall) -> None:
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("Hello.", seconds=1.0)
    call.bot_finishes()
    call.silence(2.0)
    told = len(call.twilio.received)
    call.caller_says("thank you")
    call.silence(1.0)
    assert call.twilio.received[told:] == []


# --- what was heard


def test_an_interruption_clears_what_is_not_played_and_history_holds_what_was() -> None:
    call = listening(("We open at nine.", 1.2), ("We close at five.", 1.5), ("On Sundays we are closed.", 2.0))
    call.silence(1.9)
    call.caller_says("and on Saturdays", seconds=0.6)
    assert call.told[-1] == "clear"
    call.silence(1.0)
    assert call.heard.startswith("We open at nine. We close")
    assert "Sundays" not in call.heard
    assert AssistantText(call.heard) in call.asked


def test_marks_that_come_back_because_of_a_clear_were_not_played() -> None:
    call = listening(("We open at nine.", 1.2), ("We close at five.", 1.5))
    call.bot_finishes()
    call.silence(0.5)
    call.caller_says("stop stop stop", seconds=0.6)
    assert call.twilio.playout.cleared
    call.silence(1.5)
    assert call.heard in ("We open", "We open at")


def test_a_clause_whose_mark_is_not_back_has_not_been_heard_to_its_end() -> None:
    call = listening(("We open at nine.", 1.2), ("We close at five.", 1.5))
    call.twilio.stall(call.now, 0.8)
    call.silence(1.4)  # by our clock, the second clause is being played
    call.caller_says("stop stop stop", seconds=0.6)
    assert "nine" not in call.heard
    assert call.heard.startswith("We open")


def test_what_follows_a_mark_that_is_late_is_reckoned_to_be_late_too() -> None:
    call = listening(("We open at nine.", 1.0), ("We close at five o'clock.", 2.5))
    call.twilio.stall(call.now, 0.8)
    call.silence(1.9)  # the first mark is back, and 0.1 s of the second clause have been heard
    call.caller_says("stop stop", seconds=0.4)
    call.silence(1.5)
    assert call.heard in ("We open at nine.", "We open at nine. We")


def test_who_never_sends_marks_back_is_believed_to_play_all_the_same() -> None:
    call = TwilioCall(greeting=_GREETING)
    call.echoes = False
    call.bot_says(_GREETING, seconds=2.0)
    call.bot_finishes()
    call.silence(4.0)
    assert not call.conversation.at_rest(call.now)
    call.silence(5.0)
    assert call.conversation.at_rest(call.now)
    call.turn("hello", "Hello.")
    assert call.history[0] == ("assistant", _GREETING)


def test_a_mark_stands_for_those_before_it() -> None:
    call = listening(("One.", 1.0), ("Two.", 1.0), ("Three.", 1.0))
    call.echoes = False
    names = [message["mark"]["name"] for message in call.twilio.received if message["event"] == "mark"]
    call.silence(2.1)
    call.twilio_sends(mark(names[-1]))
    call.silence(0.3)
    call.caller_says("stop stop", seconds=0.6)
    call.silence(1.5)
    assert call.heard.startswith("One. Two.")


def test_a_mark_of_an_unknown_name_says_nothing(call: TwilioCall) -> None:
    call.twilio_sends(mark("never set"))
    assert call.conversation.at_rest(call.now)


_TEXTS = st.sampled_from(["We open at nine.", "We close at five o'clock.", "Well, that depends."])
_CLAUSES = st.lists(st.tuples(_TEXTS, st.floats(0.4, 2.0)), min_size=1, max_size=4)


@settings(max_examples=30)
@given(_CLAUSES, st.floats(0.1, 6.0), st.floats(0.0, 0.4), st.floats(0.0, 0.4), st.sampled_from([0.0, 0.0, 0.3, 1.0]))
def test_whenever_the_caller_interrupts_history_holds_what_was_played(
    clauses: list[tuple[str, float]], wait: float, down: float, up: float, stall: float
) -> None:
    """Not a word more, and of the last words no more is missing than a message takes there and back.

    Of a stall that has just begun nobody knows: then it is not a clause more.
    """
    call = listening(*clauses, down=down, up=up)
    call.bot_finishes()
    before = call.twilio.heard
    call.twilio.stall(call.now, stall)
    call.silence(wait)
    call.caller_says("stop it now please", seconds=0.8)
    call.silence(2.5)
    [item] = [item for item in call.conversation.history if isinstance(item, Message) and item.role == "assistant"][1:]
    played = (call.twilio.heard_at_clear or [call.twilio.heard])[-1] - before
    text = call.conversation.playback.text
    if stall:
        ends = accumulate(seconds for _, seconds in clauses)
        whole = [clause for (clause, _), end in zip(clauses, ends, strict=True) if end <= played + 0.04]
        more = " ".join(clause for clause, _ in clauses[: len(whole) + 1])
        assert len(whole) == len(clauses) or len(item.text) < len(more)
    else:
        assert text(item.id, played + 0.04).startswith(item.text)
    assert item.text.startswith(text(item.id, max(0.0, played - down - up - 0.1)))


# --- keys


def test_keys_are_a_turn_of_the_caller_s_that_a_hash_ends(call: TwilioCall) -> None:
    call.presses("42#")
    assert call.asked[-1] == UserText("the caller pressed 4, 2, #")
    call.bot_says("Room forty-two.")
    call.bot_finishes()
    assert call.history[-2:] == [("user", "the caller pressed 4, 2, #"), ("assistant", "Room forty-two.")]


def test_keys_are_a_turn_of_the_caller_s_that_a_pause_ends(call: TwilioCall) -> None:
    call.presses("4")
    call.silence(1.5)
    call.presses("2")
    call.silence(1.5)
    assert call.requests == []
    call.silence(0.7)
    assert call.asked[-1] == UserText("the caller pressed 4, 2")
    call.silence(5.0)
    assert len(call.requests) == 1


def test_a_key_interrupts_what_is_being_said() -> None:
    call = listening(("We open at nine.", 1.2), ("We close at five.", 3.5))
    call.silence(1.5)
    call.presses("1")
    assert call.told[-1] == "clear"
    assert not speaks(call)
    call.silence(2.2)
    assert call.asked[-2:] == [AssistantText(call.heard), UserText("the caller pressed 1")]
    assert call.heard.startswith("We open at nine.")
    assert "five" not in call.heard


def test_a_key_stops_an_answer_that_has_not_begun_to_sound_and_both_are_answered(call: TwilioCall) -> None:
    call.caller_says("give me")
    call.silence(1.0)
    call.presses("7#")
    assert call.asked[-2:] == [UserText("give me"), UserText("the caller pressed 7, #")]
    assert len(call.under_way) == 1


def test_keys_that_are_pressed_while_the_caller_speaks_are_answered_with_what_they_say(call: TwilioCall) -> None:
    call.caller_says("my number is")
    call.presses("7#")
    call.silence(1.5)
    assert {UserText("my number is"), UserText("the caller pressed 7, #")} <= set(call.asked)
    assert len(call.requests) == 1


def test_keys_do_not_stop_what_may_not_be_interrupted(call: TwilioCall) -> None:
    notice = "This call is recorded."
    call._perform(call.conversation.say(notice, interruptible=False, now=call.now))
    call.bot_says(notice, seconds=3.0)
    call.bot_finishes()
    call.silence(1.0)
    call.presses("1#")
    assert "clear" not in call.told
    assert call.asked[-1] == UserText("the caller pressed 1, #")


def test_a_held_key_makes_no_endless_turn(call: TwilioCall) -> None:
    call.presses("1" * 64)
    assert len(call.requests) == 1
