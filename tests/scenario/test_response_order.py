"""The events of one answer, in order, however it ends."""

from typing import Any

import pytest

from server.llm.interface import Finished, Usage, UserText
from tests.support.call import Call

_OPENED = ["response.output_item.added", "conversation.item.added"]
_CLOSED = ["response.output_item.done", "conversation.item.done"]
_SPEAKING = [
    *_OPENED,
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
]
_SPOKEN = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    *_CLOSED,
]
_WRITING = [*_OPENED, "response.content_part.added", "response.output_text.delta"]
_WRITTEN = ["response.output_text.done", "response.content_part.done", *_CLOSED]
_CALLING = [*_OPENED, "response.function_call_arguments.delta"]
_CALLED = ["response.function_call_arguments.done", *_CLOSED]
_DONE = ["response.done", "rate_limits.updated"]


@pytest.fixture
def call() -> Call:
    call = Call()
    call.client_adds("hello")
    call.client_sends("response.create")
    _ = call.events
    return call


@pytest.fixture
def text_call() -> Call:
    call = Call(output_modalities=["text"])
    call.client_adds("hello")
    call.client_sends("response.create")
    _ = call.events
    return call


def outcome(call: Call) -> tuple[str, dict[str, Any]]:
    response = call.last("response.done")["response"]
    return response["status"], response["status_details"]


def test_a_spoken_answer(call: Call) -> None:
    call.bot_says("Hello.")
    call.bot_finishes()
    assert call.events == _SPEAKING + _SPOKEN + _DONE
    assert outcome(call) == ("completed", {"type": "completed"})


def test_clauses_are_one_message_with_a_space_between_them(call: Call) -> None:
    call.bot_says("Hello.")
    call.bot_says("How are you?")
    call.bot_finishes()
    item = call.last("response.output_item.done")["item"]
    assert item["content"] == [{"type": "output_audio", "transcript": "Hello. How are you?"}]
    assert [event["delta"] for event in call.all_of("response.output_audio_transcript.delta")] == [
        "Hello.",
        " How are you?",
    ]


def test_a_written_answer(text_call: Call) -> None:
    text_call.bot_writes("Hel", "lo,", " you.")
    text_call.bot_finishes()
    assert text_call.events == _WRITING + _WRITTEN + _DONE
    assert text_call.history[-1] == ("assistant", "Hello, you.")


def test_a_function_call(call: Call) -> None:
    call.bot_calls("get_weather", '{"city":', '"Oslo"}')
    call.bot_finishes("tool_calls")
    assert call.events == _CALLING + _CALLED + _DONE
    [item] = call.last("response.done")["response"]["output"]
    assert (item["name"], item["call_id"], item["arguments"]) == ("get_weather", "call_1", '{"city":"Oslo"}')


def test_speech_followed_by_function_calls(call: Call) -> None:
    call.bot_says("One moment.")
    call.bot_calls("get_weather", "{}", call_id="call_1")
    call.bot_calls("get_time", call_id="call_2")
    call.bot_finishes("tool_calls")
    second_call = [*_OPENED, *_CALLED]  # a call without arguments has no deltas
    assert call.events == [*_SPEAKING, *_SPOKEN, *_CALLING, *_CALLED, *second_call, *_DONE]
    output = call.last("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]


def test_an_answer_without_words(call: Call) -> None:
    call.bot_finishes()
    assert call.events == _DONE
    assert call.last("response.done")["response"]["output"] == []


def test_a_turn_cancels_a_spoken_answer(call: Call) -> None:
    call.bot_says("Hello there, how can I help you today?")
    call.silence(0.5)
    call.caller_says("wait please", seconds=0.5)
    assert call.events == [*_SPEAKING, "input_audio_buffer.speech_started", *_SPOKEN, *_DONE]
    assert outcome(call) == ("cancelled", {"type": "cancelled", "reason": "turn_detected"})


def test_a_turn_cancels_a_written_answer(text_call: Call) -> None:
    text_call.bot_writes("Hello the")
    text_call.caller_says("hi", seconds=0.2)
    assert text_call.events == [*_WRITING, "input_audio_buffer.speech_started", *_WRITTEN, *_DONE]
    assert outcome(text_call) == ("cancelled", {"type": "cancelled", "reason": "turn_detected"})


def test_a_turn_cancels_a_function_call(call: Call) -> None:
    call.bot_calls("get_weather", '{"ci')
    call.caller_says("hi", seconds=0.2)
    assert call.events == [*_CALLING, "input_audio_buffer.speech_started", *_CALLED, *_DONE]
    assert call.last("response.output_item.done")["item"]["status"] == "incomplete"
    call.silence(1.0)
    assert call.asked == [UserText("hello"), UserText("hi")]  # half a call is nothing to a model


def test_the_client_cancels_an_answer(call: Call) -> None:
    call.bot_says("Hello.")
    call.client_sends("response.cancel", response_id=call.client.active)
    assert call.events == _SPEAKING + _SPOKEN + _DONE
    assert outcome(call) == ("cancelled", {"type": "cancelled", "reason": "client_cancelled"})
    assert call.answering is None


def test_the_client_cancels_an_answer_that_has_not_begun(call: Call) -> None:
    call.client_sends("response.cancel")
    assert call.events == _DONE
    assert call.last("response.done")["response"]["usage"]["total_tokens"] == 0


def test_an_answer_fails_in_the_middle(call: Call) -> None:
    call.bot_says("Hello.")
    call.bot_fails()
    assert call.events == _SPEAKING + _SPOKEN + _DONE
    assert outcome(call) == (
        "failed",
        {
            "type": "failed",
            "error": {
                "type": "server_error",
                "code": "unavailable",
                "message": "the language model does not answer",
            },
        },
    )


def test_the_call_goes_on_after_an_answer_that_failed(call: Call) -> None:
    call.bot_fails()
    assert call.conversation.fail("resp_of_old", call.outputs, call.now) == []  # type: ignore[arg-type]  # dropped unread
    call.caller_says("hello")
    call.silence(1.0)
    assert call.asked == [UserText("hello"), UserText("hello")]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_is_cut_short_by_the_model(call: Call, finish: str, reason: str) -> None:
    call.bot_says("Hello and")
    call.bot_finishes(finish)
    assert call.events == _SPEAKING + _SPOKEN + _DONE
    assert outcome(call) == ("incomplete", {"type": "incomplete", "reason": reason})
    assert call.last("response.output_item.done")["item"]["status"] == "incomplete"


def test_usage_is_told_as_the_model_counted_it(call: Call) -> None:
    call.bot_says("Hello.")
    call.bot_finishes()
    usage = call.last("response.done")["response"]["usage"]
    assert (usage["total_tokens"], usage["input_tokens"], usage["output_tokens"]) == (19, 12, 7)
    assert usage["input_token_details"]["cached_tokens"] == 3
    assert usage["output_token_details"] == {"text_tokens": 0, "audio_tokens": 7}


def test_a_written_answer_is_counted_as_text(text_call: Call) -> None:
    text_call.bot_writes("Hello.")
    text_call.bot_finishes()
    usage = text_call.last("response.done")["response"]["usage"]
    assert usage["output_token_details"] == {"text_tokens": 7, "audio_tokens": 0}


def test_what_comes_for_an_answer_that_has_ended_is_dropped(call: Call) -> None:
    response_id = str(call.client.active)
    call.client_sends("response.cancel")
    assert call.conversation.finish(response_id, Finished("stop", Usage()), call.now) == []
