"""What the clients that people use send, in the order in which they send it, and what they need to see.

Sources: livekit-plugins-openai (realtime_model.py), pipecat (services/openai/realtime), @openai/agents-realtime.
"""

from typing import Any

from server.llm.interface import AssistantText, ToolCall, ToolResult, UserText
from tests.support.call import Call

_PIPECAT_BENIGN = {"response_cancel_not_active", "conversation_already_has_active_response"}


def test_livekit() -> None:
    call = Call()
    assert call.client_sends(
        "session.update",
        event_id="session_update_1",
        session={
            "type": "realtime",
            "model": "gpt-realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "noise_reduction": None,
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                    "turn_detection": {
                        "type": "semantic_vad",
                        "create_response": True,
                        "eagerness": "medium",
                        "interrupt_response": True,
                    },
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1.0, "voice": "marin"},
            },
            "max_output_tokens": "inf",
            "tool_choice": "auto",
            "tracing": None,
        },
    )
    message = {"id": "item_lk1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi."}]}
    added, _ = call.client_sends("conversation.item.create", previous_item_id="root", item=message)
    assert added["item"]["id"] == "item_lk1"  # its future waits for just this id
    # generate_reply
    metadata = {"client_event_id": "response_create_1"}
    response = {"instructions": None, "metadata": metadata}
    [created] = call.client_sends("response.create", event_id="response_create_1", response=response)
    assert created["response"]["metadata"] == metadata
    call.bot_says("How can I help you on this fine day?", seconds=3.0)
    call.silence(1.0)
    # the caller interrupts: the server cancels, LiveKit cancels too and says what was played
    call.caller_says("a table for two", seconds=0.5)
    spoken = call.last("response.output_item.added")["item"]["id"]
    [error] = call.client_sends("response.cancel")
    assert error["error"]["message"].startswith("Cancellation failed")  # all else is logged as an error
    call.client_sends("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=850)
    call.silence(2.0)
    assert call.asked == [AssistantText("Hi."), AssistantText("How can I"), UserText("a table for two")]
    # a function call, its result, and the answer to it
    call.bot_calls("book", '{"people":2}', call_id="call_lk")
    call.bot_finishes("tool_calls")
    assert call.last("response.output_item.done")["item"]["arguments"] == '{"people":2}'
    output = {"id": "item_lk2", "type": "function_call_output", "call_id": "call_lk", "output": "booked"}
    before = call.client.items[-1]
    call.client_sends("conversation.item.create", previous_item_id=before, item=output)
    call.client_sends("response.create", response={"metadata": {"client_event_id": "response_create_2"}})
    assert call.asked[-2:] == [ToolCall("call_lk", "book", '{"people":2}'), ToolResult("call_lk", "booked")]
    # interrupted before a sample of it was played: the item is deleted
    call.bot_says("Booked.")
    call.client_sends("response.cancel")
    item_id = call.last("response.output_item.added")["item"]["id"]
    assert [event["type"] for event in call.client_sends("conversation.item.delete", item_id=item_id)] == [
        "conversation.item.deleted"
    ]
    # tools alone are replaced; everything else stays
    tool = {"type": "function", "name": "book", "description": "Books a table.", "parameters": {"type": "object"}}
    [updated] = call.client_sends(
        "session.update", session={"type": "realtime", "model": "gpt-realtime", "tools": [tool]}
    )
    assert updated["session"]["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    assert updated["session"]["audio"]["output"]["voice"] == "marin"


def _pipecat(turn_detection: dict[str, Any] | None) -> Call:
    call = Call()
    call.client_sends(
        "session.update",
        event_id="a",
        session={
            "type": "realtime",
            "model": "gpt-realtime",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "gpt-realtime-whisper"},
                    "noise_reduction": {"type": "near_field"},
                    "turn_detection": turn_detection,
                },
                "output": {"voice": "alloy"},
            },
            "tools": [{"type": "function", "name": "f", "description": "", "parameters": {"type": "object"}}],
        },
    )
    assert call.last("session.updated")
    item = {"id": "0f", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
    call.client_sends("conversation.item.create", event_id="b", item=item)
    call.client_sends("response.create", event_id="c", response={"output_modalities": ["audio"]})
    return call


def test_pipecat() -> None:
    call = _pipecat({"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500})
    call.bot_says("Hello, what can I do for you?", seconds=2.0)
    call.bot_finishes()
    call.silence(1.0)
    call.caller_says("what is f", seconds=0.6)
    delta = call.last("response.output_audio.delta")
    call.client_sends(
        "conversation.item.truncate",
        item_id=delta["item_id"],
        content_index=delta["content_index"],
        audio_end_ms=1000,
    )
    call.silence(1.0)
    assert call.asked[-2:] == [AssistantText("Hello, what"), UserText("what is f")]
    call.bot_calls("f", "{}", call_id="call_p")
    call.bot_finishes("tool_calls")
    added = [event["item"] for event in call.all_of("conversation.item.added")]
    assert added[-1]["call_id"] == call.last("response.function_call_arguments.done")["call_id"]
    output = {"id": "10", "type": "function_call_output", "call_id": "call_p", "output": '"42"'}
    call.client_sends("conversation.item.create", item=output)
    call.client_sends("response.create", response={"output_modalities": ["audio"]})
    assert call.asked[-1] == ToolResult("call_p", '"42"')
    assert call.errors == []  # any error but two ends its receive loop


def test_pipecat_with_turn_detection_of_its_own() -> None:
    call = _pipecat(None)
    call.bot_says("Hello, what can I do for you?", seconds=2.0)
    call.silence(0.5)
    # its own detector finds an interruption
    call.client_sends("input_audio_buffer.clear")
    call.client_sends("response.cancel")
    item_id = call.last("response.output_audio.delta")["item_id"]
    call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=500)
    call.caller_says("never mind")
    call.client_sends("input_audio_buffer.commit")
    call.client_sends("response.create", response={"output_modalities": ["audio"]})
    call.silence(0.5)
    assert call.asked[-2:] == [AssistantText("Hello,"), UserText("never mind")]
    call.bot_says("Fine.")
    call.bot_finishes()
    call.silence(1.0)
    call.client_sends("input_audio_buffer.clear")
    call.client_sends("response.cancel")  # nothing is active
    assert set(call.errors) <= _PIPECAT_BENIGN


def test_agents_realtime() -> None:
    call = Call()
    session = {
        "type": "realtime",
        "instructions": "Be nice.",
        "model": "gpt-realtime-2.1",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1},
        },
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "prompt": {"id": "pmpt_1", "version": "2", "variables": {}},
        "tools": [{"type": "function", "name": "f", "description": "", "parameters": {"type": "object"}}],
    }
    call.client_sends("session.update", event_id="event_sdk_session_update_1", session=session)
    [updated] = call.client_sends("session.update", session={"type": "realtime", "tracing": "auto"})
    # it sends no cancel of its own where the session says that the server interrupts
    assert updated["session"]["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert updated["session"]["instructions"] == "Be nice."
    call.caller_says("hi there")
    call.silence(1.2)
    heard = call.last("conversation.item.input_audio_transcription.completed")["item_id"]
    [retrieved] = call.client_sends("conversation.item.retrieve", item_id=heard)
    assert retrieved["item"]["content"] == [{"type": "input_audio", "transcript": "hi there"}]
    call.bot_says("Hi, and welcome to the show.", seconds=2.0)
    call.silence(0.6)
    call.caller_says("stop it", seconds=0.5)
    spoken = call.last("response.output_audio.delta")["item_id"]
    call.client_sends("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=640)
    [retrieved] = call.client_sends("conversation.item.retrieve", item_id=spoken)
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": "Hi, and"}]
    # resetHistory: what changed is deleted and created anew, under its own id
    call.client_sends("conversation.item.delete", item_id=spoken)
    content = [{"type": "output_audio", "transcript": "Hi."}]
    item = {"type": "message", "role": "assistant", "content": content, "id": spoken, "status": "incomplete"}
    call.client_sends("conversation.item.create", item=item)
    call.silence(1.5)
    assert AssistantText("Hi.") in call.asked
    assert call.errors == []
