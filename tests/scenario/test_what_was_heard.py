"""History holds what the caller heard, as the client knows it best: truncate, retrieve, delete."""

import pytest

from server.conversation import commands as c
from server.llm.interface import AssistantText, UserText
from tests.support.call import Call

_ANSWER = "We open at nine and close at five."  # 34 characters, spoken at 10 a second


@pytest.fixture
def call() -> Call:
    """A caller who is hearing an answer; one second of it has been played."""
    call = Call()
    call.caller_says("when do you open")
    call.silence(1.0)
    call.bot_says(_ANSWER, seconds=3.4)
    call.silence(1.0)
    return call


def answer_id(call: Call) -> str:
    return str(call.last("response.output_item.added")["item"]["id"])


def truncate(call: Call, audio_end_ms: int) -> None:
    [event] = call.client_sends(
        "conversation.item.truncate", item_id=answer_id(call), content_index=0, audio_end_ms=audio_end_ms
    )
    assert (event["type"], event["audio_end_ms"]) == ("conversation.item.truncated", audio_end_ms)


def retrieved(call: Call) -> str:
    [event] = call.client_sends("conversation.item.retrieve", item_id=answer_id(call))
    return str(event["item"]["content"][0]["transcript"])


@pytest.mark.parametrize(
    ("audio_end_ms", "kept"),
    [(0, ""), (400, "We"), (1600, "We open at nine"), (2600, "We open at nine and close"), (3400, _ANSWER)],
)
def test_after_truncate_client_and_model_both_see_just_what_was_heard(call: Call, audio_end_ms: int, kept: str) -> None:
    # pipecat#5426, #4996, #5605: history is not what was heard
    call.bot_finishes()
    truncate(call, audio_end_ms)
    assert retrieved(call) == kept
    call.caller_says("thanks")
    call.silence(1.0)
    assert call.asked == [
        UserText("when do you open"),
        *([AssistantText(kept)] if kept else []),
        UserText("thanks"),
    ]


def test_truncate_past_the_end_cuts_nothing(call: Call) -> None:
    call.bot_finishes()
    truncate(call, 60_000)
    assert retrieved(call) == _ANSWER
    assert call.errors == []


def test_a_client_that_knows_better_than_our_clock_is_believed(call: Call) -> None:
    call.caller_says("wait", seconds=0.5)
    assert retrieved(call) == "We open at"
    truncate(call, 1600)
    assert retrieved(call) == "We open at nine"


def test_what_the_client_cut_does_not_grow_back_when_the_caller_speaks(call: Call) -> None:
    call.bot_finishes()
    truncate(call, 400)
    call.silence(0.5)  # our clock would have it playing still
    call.caller_says("go on")
    assert retrieved(call) == "We"
    assert call.conversation.playback.ahead(call.now) == 0


def test_a_cut_never_grows(call: Call) -> None:
    """twilio-samples realtime-python#45: a later, larger cut brings back what an earlier one took away."""
    call.bot_finishes()
    for audio_end_ms, kept in ((1600, "We open at nine"), (60_000, "We open at nine"), (400, "We"), (2600, "We")):
        truncate(call, audio_end_ms)
        assert retrieved(call) == kept


def test_a_cut_while_the_answer_is_spoken_never_grows_but_by_what_is_said_after_it(call: Call) -> None:
    truncate(call, 1600)
    call.bot_sounds(1.0)  # more of the clause that was cut
    call.bot_says("And at noon on Sundays.", seconds=2.0)
    call.bot_finishes()
    truncate(call, 60_000)
    assert retrieved(call) == "We open at nine And at noon on Sundays."
    call.silence(1.0)
    call.caller_says("thanks")
    assert retrieved(call).startswith("We open at nine")


def test_all_of_an_answer_may_be_cut_while_it_is_spoken(call: Call) -> None:
    truncate(call, 0)
    call.bot_sounds(1.0)
    call.bot_says("And at noon.")
    call.bot_finishes()
    truncate(call, 60_000)
    assert retrieved(call) == "And at noon."


def test_a_clause_that_the_voice_can_not_say_is_kept_as_text() -> None:
    """Azure speech-sdk#2268: a sentence in a script that the voice lacks vanishes."""
    call = Call()
    call.client_sends("response.create")
    call.bot_says("Sure.", seconds=1.0)
    assert call.answering
    call._perform(call.conversation.unspoken(call.answering, "你好。"))
    call.bot_says("Bye now.", seconds=1.0)
    call.bot_finishes()
    assert call.last("response.output_audio_transcript.done")["transcript"] == "Sure. 你好。 Bye now."
    call.silence(0.8)
    call.caller_says("wait", seconds=0.5)
    assert call.heard == "Sure. 你好。"


def test_truncating_an_answer_heard_long_ago_leaves_the_one_being_played_alone(call: Call) -> None:
    call.bot_finishes()
    call.silence(5.0)
    first = answer_id(call)
    call.caller_says("and on Sunday")
    call.silence(1.0)
    call.bot_says("Closed on Sundays.", seconds=2.0)
    call.client_sends("conversation.item.truncate", item_id=first, content_index=0, audio_end_ms=1600)
    assert call.conversation.playback.ahead(call.now) == pytest.approx(2.0)
    assert call.history[1] == ("assistant", "We open at nine")
    assert call.heard == "Closed on Sundays."


def test_what_is_said_after_a_cut_is_added_to_what_was_left(call: Call) -> None:
    truncate(call, 1600)  # and no cancel: the client goes on playing
    call.bot_says("And at noon on Sundays.")
    call.bot_finishes()
    assert retrieved(call) == "We open at nine And at noon on Sundays."
    assert call.last("response.output_audio_transcript.done")["transcript"] == f"{_ANSWER} And at noon on Sundays."


def test_an_answer_broken_off_in_a_clause_keeps_what_was_sent_of_it() -> None:
    call = Call()
    call.client_sends("response.create")
    call.bot_says("A clause of which the voice had made only a little.", seconds=1.0)
    call.silence(3.0)  # all of it was played; the voice is slow
    call.bot_fails()
    assert call.heard == "A clause of"
    assert call.last("response.output_item.done")["item"]["status"] == "incomplete"


def test_an_answer_cancelled_by_the_client_keeps_what_was_sent_until_the_client_says_what_was_heard(call: Call) -> None:
    call.client_sends("response.cancel")
    assert call.heard == _ANSWER
    truncate(call, 1600)
    assert call.heard == "We open at nine"


def test_dropping_what_is_not_played_ends_the_answer_and_cuts_it_to_what_was_heard(call: Call) -> None:
    sent = [event["type"] for event in call.client_sends("output_audio_buffer.clear")]
    assert sent[-3:] == ["response.done", "rate_limits.updated", "output_audio_buffer.cleared"]
    assert call.last("response.done")["response"]["status_details"]["reason"] == "client_cancelled"
    assert call.heard == "We open"


def test_dropping_the_rest_of_an_answer_that_was_sent_whole_cuts_it_too(call: Call) -> None:
    call.bot_finishes()
    assert call.client_sends("output_audio_buffer.clear") == []
    assert call.heard == "We open"
    [event] = call.client_sends("conversation.item.retrieve", item_id=answer_id(call))
    assert event["item"]["status"] == "incomplete"


def test_deleting_the_item_being_spoken_lets_it_be_spoken_and_keeps_nothing(call: Call) -> None:
    [deleted] = call.client_sends("conversation.item.delete", item_id=answer_id(call))
    assert deleted["type"] == "conversation.item.deleted"
    call.bot_says("And at noon on Sundays.")
    call.bot_finishes()
    assert call.history == [("user", "when do you open")]
    done = call.last("response.done")["response"]
    assert done["output"][0]["content"][0]["transcript"] == f"{_ANSWER} And at noon on Sundays."
    call.caller_says("and who are you")
    call.silence(1.0)
    assert call.asked == [UserText("when do you open"), UserText("and who are you")]


def test_deleting_the_item_being_spoken_and_interrupting_it_is_no_trouble(call: Call) -> None:
    call.client_sends("conversation.item.delete", item_id=answer_id(call))
    call.caller_says("stop")
    call.silence(1.0)
    assert call.history == [("user", "when do you open"), ("user", "stop")]


def test_a_deleted_answer_of_which_nothing_was_heard_is_confirmed() -> None:
    # LiveKit deletes an item of which 0 ms were heard, and waits for the confirmation.
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("Hello.")
    call.caller_says("hello hello")
    item_id = answer_id(call)
    assert [event["item_id"] for event in call.client_sends("conversation.item.delete", item_id=item_id)] == [item_id]


def test_the_id_of_an_item_being_spoken_is_taken_until_the_response_is_done(call: Call) -> None:
    item_id = answer_id(call)
    call.client_sends("conversation.item.delete", item_id=item_id)
    item = {"type": "function_call_output", "id": item_id, "call_id": "x", "output": ""}
    call.client_sends("conversation.item.create", item=item)
    assert call.errors == ["item_already_exists"]
    call.bot_finishes()
    call.client_sends("conversation.item.create", item=item)  # agents-realtime changes items by delete and create
    call.caller_says("hello")
    assert call.errors == ["item_already_exists"]


def test_the_id_that_the_callers_words_will_have_is_taken() -> None:
    call = Call()
    call.caller_says("hello")
    announced = call.last("input_audio_buffer.speech_started")["item_id"]
    item = {"type": "message", "role": "user", "id": announced, "content": [{"type": "input_text", "text": "x"}]}
    call.client_sends("conversation.item.create", item=item)
    assert call.errors == ["item_already_exists"]
    call.silence(1.0)
    assert call.asked == [UserText("hello")]


def test_each_part_of_an_answer_is_cut_by_itself_when_a_function_call_stood_between() -> None:
    call = Call()
    call.client_sends("response.create")
    call.bot_says("One moment please.", seconds=1.0)
    call.bot_calls("look_up", "{}")
    call.bot_says("There it is, the file that you asked for.", seconds=4.0)
    call.silence(1.7)
    call.caller_says("and the other one")
    texts = [text for role, text in call.history if role == "assistant"]
    assert texts == ["One moment please.", "There it"]


def test_a_message_that_a_function_call_follows_is_known_to_be_whole() -> None:
    call = Call()
    call.client_sends("response.create")
    call.bot_says("One moment please, I am looking.", seconds=1.0)  # twice the usual pace
    call.bot_calls("look_up", "{")
    item_id = call.last("response.output_audio.delta")["item_id"]
    call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1000)
    assert call.heard == "One moment please, I am looking."


def test_the_playout_running_dry_in_the_middle_of_an_answer_is_told() -> None:
    call = Call()
    call.client_sends("response.create")
    call.bot_says("This voice", seconds=0.5)
    call.silence(1.0)
    assert not call.commands(c.PlayoutRanDry)
    call.bot_says("is slow.", seconds=0.5)
    assert len(call.commands(c.PlayoutRanDry)) == 1
    call.bot_finishes()
    call.silence(5.0)
    call.client_sends("response.create")
    call.bot_says("A new answer is late for nobody.")
    assert len(call.commands(c.PlayoutRanDry)) == 1


def test_audio_that_comes_after_an_interruption_is_dropped(call: Call) -> None:
    response_id = str(call.client.active)
    call.caller_says("stop")
    seen = len(call.client.received)
    for outputs in (
        call.conversation.begin_clause(response_id, "late"),
        call.conversation.speak(response_id, b"\0\0", 0.1, call.now),
        call.conversation.write(response_id, "late"),
        call.conversation.call(response_id, "call_1", "late"),
        call.conversation.call_arguments(response_id, "{}"),
    ):
        assert outputs == []
    assert len(call.client.received) == seen
