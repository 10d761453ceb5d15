"""The model is asked when a turn is likely over; of its answer nothing is seen before it is."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.conversation.config import Speculation
from server.llm.interface import ToolResult, UserText
from tests.support.call import Call

_RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "none"}


def speculating(**session: Any) -> Call:
    """A caller who has just stopped speaking, and may be done."""
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, **session)
    call.caller_says("what is the capital of France")
    call.silence(0.25)
    return call


def test_the_model_is_asked_before_the_turn_is_over_for_what_it_is_asked_then() -> None:
    """livekit/agents#4219: it is asked a second time for the same, at twice the price."""
    call = speculating()
    [ahead] = call.commands(c.Speculate)
    assert call.caller_is_speaking
    assert list(ahead.request.messages) == [UserText("what is the capital of France")]
    assert ahead.input_tokens == 4 + 8 + 10  # "Be brief.", a message, its 29 letters: an estimate on the safe side
    assert call.requests == []
    call.silence(1.0)
    assert call.foreseen
    assert call.requests == [ahead.request]


def test_nothing_of_it_is_told_to_the_client_or_kept_in_history() -> None:
    """livekit/agents#3414, #5924: an answer that is never given changes pages, orders and state."""
    call = speculating()
    assert call.history == []
    assert call.all_of("response.created") == []
    assert call.all_of("conversation.item.added") == []


def test_speech_that_goes_on_is_the_end_of_it() -> None:
    """livekit/agents-js#2059: the answer that was thought ahead is spoken beside the one that was asked for."""
    call = speculating()
    call.caller_says("and of Spain")
    assert call.speculation is None
    assert call.all_of("response.created") == []
    call.silence(1.0)
    assert call.asked == [UserText("what is the capital of France and of Spain")]
    assert call.foreseen  # of the second pause


def test_it_is_asked_once_in_a_pause() -> None:
    call = speculating()
    call.silence(0.1)
    assert len(call.commands(c.Speculate)) == 1


def test_what_the_application_adds_meanwhile_is_answered_too() -> None:
    call = speculating()
    call.client_adds("The caller is in a hurry.", role="system")
    call.silence(1.0)
    assert not call.foreseen
    assert len(call.requests) == 1


def test_what_the_application_says_in_the_assistant_s_place_is_not_what_was_foreseen() -> None:
    call = speculating()
    call.client_sends("input_audio_buffer.commit")
    call.client_adds("Paris.", role="assistant")
    call.client_sends("response.create")
    call.silence(0.5)
    [ahead], [given] = call.commands(c.Speculate), call.commands(c.Generate)
    assert not ahead.foresaw(given)


def test_a_functions_result_that_comes_meanwhile_is_in_what_is_answered() -> None:
    """livekit/agents-js#1365: what was thought before the result came is spoken, and made up."""
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    call.caller_says("is there a table for two")
    call.silence(1.0)
    call.bot_calls("look_up", "{}")
    call.bot_finishes("tool_calls")
    call.caller_says("by the window please")
    call.silence(0.25)
    assert call.speculation
    call.client_sends("conversation.item.create", item=_RESULT)
    call.silence(1.0)
    assert not call.foreseen
    assert ToolResult("call_1", "none") in call.asked


def test_a_call_without_second_thoughts_costs_no_more_requests_than_turns() -> None:
    """livekit/agents#4219: the model is asked twice for each turn."""
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    for question in ("one", "two", "three"):
        call.turn(f"what about number {question} then", "That is fine.")
        assert call.foreseen
    assert len(call.commands(c.Speculate)) == len(call.requests) == 3


def test_an_answer_that_is_to_be_read_is_not_the_one_that_was_to_be_heard() -> None:
    call = speculating()
    call.client_sends("session.update", session={"output_modalities": ["text"]})
    call.silence(1.0)
    assert not call.foreseen
    assert call.last("response.created")["response"]["output_modalities"] == ["text"]


@pytest.mark.parametrize("event", ["input_audio_buffer.clear", "input_audio_buffer.commit"])
def test_what_the_client_does_by_hand_is_the_end_of_it(event: str) -> None:
    call = speculating()
    call.client_sends(event)
    assert call.speculation is None


def test_a_sentence_left_open_is_not_speculated_on() -> None:
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    call.sounds_finished = 0.3
    call.caller_says("i would like to")
    call.silence(1.0)
    assert call.commands(c.Speculate) == []


@pytest.mark.parametrize(
    "turn_detection", [{"type": "server_vad"}, {"type": "semantic_vad", "create_response": False}, None]
)
def test_where_turns_end_by_silence_or_are_not_answered_nothing_is_asked_ahead(turn_detection: Any) -> None:
    call = Call(audio={"input": {"turn_detection": turn_detection}})
    call.caller_says("what is the capital of France")
    call.silence(0.3)
    assert call.commands(c.Speculate) == []


def test_nothing_is_asked_ahead_while_an_answer_is_being_given() -> None:
    call = speculating()
    call.silence(1.0)
    call.client_sends(
        "session.update",
        session={"audio": {"input": {"turn_detection": {"type": "semantic_vad", "interrupt_response": False}}}},
    )
    call.bot_says("Paris is the capital of France.", seconds=5.0)
    call.caller_says("and of Spain")
    call.silence(0.3)
    assert len(call.commands(c.Speculate)) == 1


def test_where_items_would_have_to_be_left_out_nothing_is_asked_ahead() -> None:
    truncation = {"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {"post_instructions": 3}}
    assert speculating(truncation=truncation).commands(c.Speculate) == []


def test_without_truncation_it_is_asked_ahead_whatever_its_length() -> None:
    assert len(speculating(truncation="disabled").commands(c.Speculate)) == 1


def test_what_it_will_cost_is_estimated_by_what_the_model_counted_before() -> None:
    call = speculating()
    call.silence(1.0)
    assert call.commands(c.Speculate)[0].input_tokens == 22
    call.bot_says("Paris.")
    call.bot_finishes()  # with 12 tokens of input
    call.silence(2.0)
    call.caller_says("and of Spain")
    call.silence(0.25)
    assert call.commands(c.Speculate)[1].input_tokens == round((22 + 11 + 12) * 12 / 22)


@pytest.mark.parametrize("speculation", ["off", "stt"])
def test_only_where_it_is_set_is_the_model_asked_ahead(speculation: Speculation) -> None:
    call = Call(speculation=speculation, audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    call.caller_says("what is the capital of France")
    call.silence(1.0)
    assert call.commands(c.Speculate) == []
    assert call.asked == [UserText("what is the capital of France")]


@pytest.mark.parametrize("session", ["off", "stt", "full"])
@pytest.mark.parametrize("node", ["off", "stt", "full"])
def test_a_session_may_have_less_begin_ahead_than_the_node_and_not_more(node: Speculation, session: str) -> None:
    call = Call(speculation=node, audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, x_speculation=session)
    call.caller_says("what is the capital", sound="level")
    call.caller_says("", 0.1, sound="far")  # a moment of quiet, in which a first guess is made
    call.caller_says("of France")
    call.silence(1.0)
    assert bool(call.commands(c.Glimpse)) == ("off" not in (node, session))
    assert bool(call.commands(c.Speculate)) == (node == session == "full")


def test_the_answer_to_an_interruption_is_thought_ahead_too() -> None:
    call = speculating()
    call.silence(1.0)
    call.bot_says("It is Paris, as it has been for a very long time.", seconds=6.0)
    call.silence(2.0)
    call.caller_says("what is the capital of Spain")
    call.silence(2.0)
    assert call.asked[-1] == UserText("what is the capital of Spain")
    assert call.foreseen
