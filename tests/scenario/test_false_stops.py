"""An answer that was stopped for nothing goes on; one that was really interrupted does not."""

import base64

import pytest

from server.conversation import commands as c
from server.llm.interface import AssistantText, SystemText, UserText
from tests.support.call import TRANSCRIBED, Call, server_vad
from tests.support.story import STORY, STORY_SECONDS, listening, speaks


def test_an_answer_that_was_stopped_for_nothing_goes_on() -> None:
    # livekit/agents#4039: the bot stops for nothing, and there is no more of it
    call = listening()
    call.caller_makes_noise(2.5)
    assert not speaks(call)
    call.silence(1.0)
    heard = call.heard
    assert STORY.startswith(heard)
    *before, go_on = call.asked
    assert before == [UserText("tell me a story"), AssistantText(heard)]
    assert isinstance(go_on, SystemText)
    assert call.judged == ["interruption", "false"]
    call.bot_says(STORY[len(heard) :])
    call.bot_finishes()
    call.silence(20.0)
    assert len(call.requests) == 2


def goes_on(call: Call) -> c.GoesOn | None:
    """What the rest is wanted of, by the last request for an answer."""
    rest: c.GoesOn | None = call.commands(c.Generate)[-1].goes_on
    return rest


def test_where_an_answer_goes_on_is_as_far_as_the_caller_heard_it() -> None:
    call = listening(seconds=2.0)
    stopped = call.answering
    assert stopped
    call.caller_makes_noise(2.5)
    assert call.commands(c.StopGenerating)[-1] == c.StopGenerating(stopped, may_go_on=True)
    call.silence(1.0)
    rest = goes_on(call)
    assert rest
    assert (rest.response_id, rest.kept) == (stopped, call.heard)
    assert rest.heard == pytest.approx(4.1, abs=0.1)


def test_a_client_that_knows_better_how_much_was_heard_is_believed() -> None:
    call = listening()
    item_id = call.last("response.output_audio.delta")["item_id"]
    call.caller_makes_noise(2.5)
    call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=3000)
    call.silence(1.0)
    rest = goes_on(call)
    assert rest
    assert rest.heard == pytest.approx(3.0)
    assert rest.kept == call.heard


def test_an_answer_of_which_nothing_was_said_yet_goes_on_from_its_beginning() -> None:
    call = Call()
    call.caller_says("tell me a story")
    call.silence(0.7)
    stopped = call.answering
    assert stopped
    call.caller_makes_noise(0.5)
    call.silence(1.0)
    assert goes_on(call) == c.GoesOn(stopped, 0.0, "")


def test_of_an_answer_that_is_no_more_there_is_no_rest() -> None:
    call = listening()
    item_id = call.last("response.output_audio.delta")["item_id"]
    call.caller_makes_noise(2.5)
    call.client_sends("conversation.item.delete", item_id=item_id)
    call.silence(1.0)
    assert goes_on(call) is None


def test_of_an_answer_beside_the_conversation_there_is_no_rest() -> None:
    call = Call(audio=TRANSCRIBED)
    call.client_sends("response.create", response={"conversation": "none"})
    call.bot_says(STORY, seconds=STORY_SECONDS)
    call.silence(2.0)
    call.caller_makes_noise(2.5)
    call.silence(1.0)
    assert goes_on(call) is None


def test_an_answer_that_was_sent_whole_goes_on_too() -> None:
    call = listening()
    call.bot_finishes()
    call.caller_makes_noise(2.5)
    call.silence(1.0)
    assert isinstance(call.asked[-1], SystemText)
    assert call.requests[-1].tool_choice == "none"


def test_an_answer_that_called_a_function_does_not_go_on_before_its_result() -> None:
    call = listening()
    call.bot_calls("look_up", "{}")
    call.bot_finishes("tool_calls")
    call.caller_makes_noise(2.5)
    call.silence(1.0)
    assert len(call.requests) == 1


def test_an_answer_is_not_taken_up_again_after_words() -> None:
    call = listening()
    call.caller_says("that is enough of it thank you", seconds=1.5)
    call.silence(1.0)
    assert call.asked[-1] == UserText("that is enough of it thank you")
    call.bot_says("As you like.")
    call.bot_finishes()
    call.silence(5.0)
    assert len(call.requests) == 2


def stops(call: Call) -> list[c.StopGenerating]:
    """How answers were stopped, so far."""
    return call.commands(c.StopGenerating)


def test_the_model_is_stopped_for_good_once_an_interruption_turns_out_to_be_one() -> None:
    """Nobody wants the rest, and its tokens cost money."""
    call = listening()
    stopped = call.answering
    assert stopped
    call.caller_says("please tell me about the youngest one", seconds=2.0)
    assert stops(call) == [c.StopGenerating(stopped, may_go_on=True)]  # its words are not sure yet
    call.silence(0.6)
    assert stops(call)[1:] == [c.StopGenerating(stopped)]


def test_it_is_stopped_then_even_where_the_next_answer_has_to_wait() -> None:
    call = listening()
    call.recognition_seconds = 0.6
    call.caller_says("please tell me about the youngest one", seconds=2.0)
    call.silence(0.55)
    call.caller_says("son", seconds=1.0)  # another turn, before the words of the first are known
    assert len(call.requests) == 1
    assert [stop.may_go_on for stop in stops(call)] == [True, False]


def test_words_that_the_caller_did_not_say_are_no_reason_to_drop_the_rest() -> None:
    call = listening(audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}}})
    call.caller_makes_noise(2.5)
    elsewhere = base64.b64encode(b"".join(call.record("spoken elsewhere", 1.0))).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": elsewhere}]}
    call.client_sends("conversation.item.create", item=item)
    call.silence(1.0)
    assert call.judged == ["interruption", "false"]
    assert [stop.may_go_on for stop in stops(call)] == [True]


@pytest.mark.parametrize("turn_detection", [{"create_response": False}, {"interrupt_response": True}])
def test_the_rest_is_kept_only_where_it_may_be_said_of_our_own_accord(turn_detection: dict[str, bool]) -> None:
    call = Call(audio=server_vad(**turn_detection))
    call.client_sends("response.create")
    call.bot_says(STORY, seconds=STORY_SECONDS)
    call.silence(2.0)
    call.caller_makes_noise(2.5)
    assert [stop.may_go_on for stop in stops(call)] == [turn_detection.get("create_response", True)]


def test_nothing_is_kept_of_an_answer_that_will_not_go_on() -> None:
    call = listening()
    call.bot_calls("look_up", "{}")
    call.bot_calls("look_up_more", "{", call_id="call_2")
    call.caller_makes_noise(2.5)
    assert [stop.may_go_on for stop in stops(call)] == [False]
