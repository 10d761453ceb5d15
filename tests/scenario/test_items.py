"""Items that a client places, looks at and takes away, and turns that it commits by hand."""

import base64
from typing import Any

import numpy as np
import pytest

from server.llm.interface import AssistantText, SystemText, ToolCall, ToolResult, UserText
from tests.support.call import Call


def create(call: Call, item: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return call.client_sends("conversation.item.create", item=item, **fields)


def text_item(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}


@pytest.fixture
def manual() -> Call:
    """A push-to-talk client."""
    return Call(audio={"input": {"turn_detection": None, "format": {"type": "audio/pcm", "rate": 16000}}})


# --- items


def test_client_chosen_ids_are_kept() -> None:
    call = Call()
    added, done = create(call, text_item("hello", id="my_item"))
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["item"]["id"] == done["item"]["id"] == "my_item"
    [retrieved] = call.client_sends("conversation.item.retrieve", item_id="my_item")
    assert retrieved["item"]["content"] == [{"type": "input_text", "text": "hello"}]


def test_items_without_an_id_get_one() -> None:
    call = Call()
    assert len({call.client_adds("one"), call.client_adds("two")}) == 2


def test_an_id_that_is_taken_is_refused() -> None:
    call = Call()
    create(call, text_item("hello", id="my_item"))
    [error] = create(call, text_item("other", id="my_item"), event_id="mine")
    assert (error["error"]["code"], error["error"]["param"]) == ("item_already_exists", "item.id")
    assert error["error"]["event_id"] == "mine"
    assert call.history == [("user", "hello")]


def test_items_are_placed_where_the_client_says() -> None:
    call = Call()
    middle = call.client_adds("middle")
    [first, _] = create(call, text_item("first"), previous_item_id="root")
    [last, _] = create(call, text_item("last"))
    [between, _] = create(call, text_item("between"), previous_item_id=middle)
    assert [event["previous_item_id"] for event in (first, last, between)] == [None, middle, middle]
    assert [text for _, text in call.history] == ["first", "middle", "between", "last"]


def test_a_place_that_is_not_there_is_refused() -> None:
    call = Call()
    [error] = create(call, text_item("hello"), previous_item_id="nowhere")
    assert (error["error"]["code"], error["error"]["param"]) == ("item_not_found", "previous_item_id")
    assert "'nowhere'" in error["error"]["message"]
    assert call.history == []


def test_items_of_every_kind_reach_the_model_in_order() -> None:
    call = Call()
    call.client_adds("Be polite.", role="system")
    call.client_adds("hello")
    call.client_adds("Good day.", role="assistant")
    create(call, {"type": "function_call", "name": "f", "arguments": '{"a":1}', "call_id": "c1"})
    create(call, {"type": "function_call_output", "call_id": "c1", "output": "2"})
    spoken = {"type": "output_audio", "transcript": "It is two."}
    create(call, {"type": "message", "role": "assistant", "content": [spoken]})
    heard = {"type": "input_audio", "transcript": "thanks"}
    create(call, {"type": "message", "role": "user", "content": [heard, {"type": "input_text", "text": "a lot"}]})
    call.client_sends("response.create")
    assert call.asked == [
        SystemText("Be polite."),
        UserText("hello"),
        AssistantText("Good day."),
        ToolCall("c1", "f", '{"a":1}'),
        ToolResult("c1", "2"),
        AssistantText("It is two."),
        UserText("thanks a lot"),
    ]


def test_names_of_parts_from_before_ga_are_understood() -> None:
    call = Call()
    [added, _] = create(call, {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi."}]})
    assert added["item"]["content"] == [{"type": "output_text", "text": "Hi."}]


def test_what_the_client_deletes_the_model_no_longer_sees() -> None:
    call = Call()
    secret = call.client_adds("secret")
    call.client_adds("hello")
    [deleted] = call.client_sends("conversation.item.delete", item_id=secret)
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", secret)
    call.client_sends("response.create")
    assert call.asked == [UserText("hello")]


def test_a_deleted_id_can_be_used_again() -> None:
    # agents-realtime changes an item by deleting it and creating it anew
    call = Call()
    create(call, text_item("helo", id="my_item"))
    call.client_sends("conversation.item.delete", item_id="my_item")
    create(call, text_item("hello", id="my_item"))
    assert call.history == [("user", "hello")]


def test_an_item_with_audio_gets_its_words_before_the_model_is_asked() -> None:
    call = Call(
        recognition_seconds=0.5,
        audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}, "transcription": {"model": "whisper-1"}}},
    )
    pcm = b"".join(call.record("spoken elsewhere", seconds=1.0))
    audio = base64.b64encode(pcm).decode()
    content = [{"type": "input_audio", "transcript": "I was"}, {"type": "input_audio", "audio": audio}]
    [added, _] = create(call, {"type": "message", "role": "user", "content": content})
    assert added["item"]["content"][1] == {"type": "input_audio", "transcript": None}
    call.client_sends("response.create")
    assert not call.requests
    call.silence(0.6)
    assert call.asked == [UserText("I was spoken elsewhere")]
    done = call.last("conversation.item.input_audio_transcription.completed")
    assert (done["transcript"], done["usage"]) == (
        "spoken elsewhere",
        {"type": "duration", "seconds": pytest.approx(0.992)},
    )


def test_the_words_of_a_deleted_item_are_not_waited_for() -> None:
    call = Call(recognition_seconds=60.0, audio={"input": {"format": {"type": "audio/pcmu"}}})
    content = [{"type": "input_audio", "audio": base64.b64encode(bytes(8000)).decode()}]
    create(call, {"type": "message", "role": "user", "content": content, "id": "slow"})
    call.client_adds("typed")
    call.client_sends("response.create")
    assert not call.requests
    call.client_sends("conversation.item.delete", item_id="slow")
    assert call.asked == [UserText("typed")]


def test_an_item_that_was_typed_cannot_be_cut() -> None:
    call = Call()
    for item_id in (call.client_adds("hello"), call.client_adds("Hello.", role="assistant")):
        [error] = call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
        assert (error["error"]["code"], error["error"]["param"]) == ("invalid_value", "item_id")
        assert "was not spoken" in error["error"]["message"]


# --- by hand


def test_push_to_talk(manual: Call) -> None:
    manual.caller_says("over")
    manual.silence(3.0)
    assert manual.events == []
    sent = [event["type"] for event in manual.client_sends("input_audio_buffer.commit")]
    assert sent == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    manual.silence(0.5)
    assert not manual.requests
    manual.client_sends("response.create")
    assert manual.asked == [UserText("over")]


def test_appended_audio_is_what_is_committed(manual: Call) -> None:
    pcm = b"".join(manual.record("out of the buffer", seconds=1.0))
    for offset in range(0, len(pcm), 640):  # 20 ms each
        chunk = base64.b64encode(pcm[offset : offset + 640]).decode()
        assert manual.client_sends("input_audio_buffer.append", audio=chunk) == []
    manual.client_sends("input_audio_buffer.commit")
    manual.silence(0.5)
    manual.client_sends("response.create")
    assert manual.asked == [UserText("out of the buffer")]


def test_what_was_cleared_is_not_committed(manual: Call) -> None:
    manual.caller_says("never mind")
    assert [event["type"] for event in manual.client_sends("input_audio_buffer.clear")] == [
        "input_audio_buffer.cleared"
    ]
    manual.caller_says("listen")
    manual.client_sends("input_audio_buffer.commit")
    manual.client_sends("response.create")
    manual.silence(0.5)
    assert manual.asked == [UserText("listen")]


@pytest.mark.parametrize("milliseconds", [0, 20, 90])
def test_too_short_a_commit_is_refused(manual: Call, milliseconds: int) -> None:
    audio = base64.b64encode(np.zeros(16 * milliseconds, "<i2").tobytes()).decode()
    manual.client_sends("input_audio_buffer.append", audio=audio)
    [error] = manual.client_sends("input_audio_buffer.commit", event_id="mine")
    assert (error["error"]["code"], error["error"]["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    assert f"{milliseconds} ms" in error["error"]["message"]
    manual.caller_says("long enough")
    assert manual.client_sends("input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"


def test_a_tenth_of_a_second_is_enough_in_whatever_pieces_it_comes(manual: Call) -> None:
    audio = base64.b64encode(bytes(320)).decode()
    for _ in range(10):
        manual.client_sends("input_audio_buffer.append", audio=audio)
    assert manual.client_sends("input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"


def test_what_a_resampler_holds_back_of_a_tenth_of_a_second_does_not_count(manual: Call) -> None:
    manual.conversation.append_audio(bytes(3160))  # 100 ms at 24 kHz, of which the last samples are still to come
    assert manual.client_sends("input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"


def test_what_a_turn_held_is_not_committed_again() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(0.52)
    assert call.events[2] == "input_audio_buffer.committed"
    [error] = call.client_sends("input_audio_buffer.commit")
    assert error["error"]["code"] == "input_audio_buffer_commit_empty"


def test_a_commit_by_hand_ends_an_utterance_that_is_being_spoken() -> None:
    call = Call(recognition_seconds=0.1)
    call.caller_says("first part", seconds=0.5)
    call.silence(0.4)  # a pause; words have come for what was said so far
    started = call.last("input_audio_buffer.speech_started")["item_id"]
    assert call.client_sends("input_audio_buffer.commit")[0]["item_id"] == started
    call.silence(1.0)
    assert call.history == [("user", "first part")]
    assert call.all_of("input_audio_buffer.speech_stopped") == []
    assert not call.requests
    call.caller_says("second part")
    call.silence(1.0)
    assert call.asked == [UserText("first part"), UserText("second part")]


def test_clearing_the_buffer_ends_an_utterance_that_is_being_spoken() -> None:
    call = Call(recognition_seconds=1.0)
    call.caller_says("oh no")
    call.silence(0.3)
    call.client_sends("input_audio_buffer.clear")
    call.silence(2.0)
    assert not call.requests
    assert call.history == []
    call.caller_says("hello")
    call.silence(2.0)
    assert call.asked == [UserText("hello")]
