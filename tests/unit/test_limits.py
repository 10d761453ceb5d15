"""What a call may have of its node: each limit refused by its name, with what was asked for, and nothing changed."""

import json
from base64 import b64encode
from typing import Any

import pytest

from server.limits import LimitExceeded, Limits
from server.settings.settings import Settings
from tests.support.call import Call


def call_with(**limits: int) -> Call:
    return Call(limits=Limits(**limits))


def refused(call: Call, type: str, /, **fields: Any) -> str:
    """What the client is told in the one error that its event costs it."""
    [event] = call.client_sends(type, **fields)
    assert event["type"] == "error"
    assert event["error"]["code"] == "limit_exceeded"
    return str(event["error"]["message"])


def said(text: str, parts: int = 1, **fields: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}] * parts
    return {"item": {"type": "message", "role": "user", "content": content, **fields}}


def test_every_limit_is_a_setting_of_the_same_name_and_default() -> None:
    assert Limits.of(Settings()) == Limits()


def test_a_limit_is_named_with_what_was_asked_for_and_what_is_taken() -> None:
    with pytest.raises(LimitExceeded, match=r"^got 513 tools; takes at most 512 \(VOICE_MAX_TOOLS\)$"):
        Limits().check("max_tools", 513, "513 tools")


def test_items_are_counted_and_a_deleted_one_makes_room() -> None:
    call = call_with(max_items=3)
    for number in range(3):
        call.client_sends("conversation.item.create", **said("Hi.", id=f"item_of_mine_{number}"))
    assert "a conversation of 4 items; takes at most 3 (VOICE_MAX_ITEMS)" in refused(
        call, "conversation.item.create", **said("Hi.")
    )
    call.client_sends("conversation.item.delete", item_id="item_of_mine_1")
    assert call.client_sends("conversation.item.create", **said("Hi."))[0]["type"] == "conversation.item.added"


def test_a_turn_by_hand_and_an_answer_are_items_too() -> None:
    call = call_with(max_items=1)
    call.client_sends("session.update", session={"audio": {"input": {"turn_detection": None}}})
    call.client_sends("conversation.item.create", **said("Hi."))
    call.conversation.append_audio(bytes(32_000))
    assert "2 items" in refused(call, "input_audio_buffer.commit")
    assert "2 items" in refused(call, "response.create")


def test_the_audio_of_items_is_counted_with_that_of_the_microphone() -> None:
    call = Call()
    audio = b64encode(bytes(48_000 * 29)).decode()
    content = [{"type": "input_audio", "audio": audio}]
    for _ in range(4):
        call.client_sends("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    [event] = call.client_sends(
        "conversation.item.create", item={"type": "message", "role": "user", "content": content}
    )
    assert event["error"]["code"] == "rate_limit_exceeded"
    [event] = call.client_sends("input_audio_buffer.append", audio=audio)
    assert event["error"]["code"] == "rate_limit_exceeded"


def test_what_the_caller_says_is_always_taken() -> None:
    call = call_with(max_items=1, max_conversation_bytes=10)
    for _ in range(2):
        call.caller_says("What is the time?")
        call.silence(1.0)
        call.bot_says("Noon.")
        call.bot_finishes()
        call.silence(3.0)
    assert len(call.conversation.history) == 4


def test_parts_are_counted_before_they_are_read() -> None:
    call = call_with(max_parts=2)
    assert "a message of 3 parts" in refused(call, "conversation.item.create", **said("Hi.", parts=3))
    response = {"conversation": "none", "input": [said("Hi.", parts=3)["item"]]}
    assert "a message of 3 parts" in refused(call, "response.create", response=response)


def test_the_text_of_a_conversation_is_counted_in_bytes_with_what_was_heard_and_said() -> None:
    call = call_with(max_conversation_bytes=100)
    call.caller_says("What is the time?")
    call.silence(1.0)
    call.bot_says("It is noon.")
    call.bot_finishes()
    call.silence(3.0)
    held = call.conversation.history.text_bytes
    ids = sum(len(item.id) for item in call.conversation.history)
    assert held == ids + len("What is the time?") + len("It is noon.")
    got = f"{held + 62:,} bytes of text; takes at most 100"
    assert got in refused(call, "conversation.item.create", **said("é" * 30, id="id"))


def test_a_full_conversation_gives_no_answer_that_the_client_asks_for_until_there_is_room() -> None:
    call = call_with(max_conversation_bytes=100)
    call.client_sends("conversation.item.create", **said("word " * 18, id="long"))
    call.client_sends("response.create", response={"output_modalities": ["text"]})
    call.bot_writes("Much more than was left of the room.")
    call.bot_finishes()
    assert "bytes of text" in refused(call, "response.create")
    call.client_sends("conversation.item.delete", item_id="long")
    assert call.client_sends("response.create")[0]["type"] == "response.created"


def test_what_an_input_refers_to_is_counted_as_often_as_it_does() -> None:
    call = call_with(max_request_bytes=1000)
    call.client_sends("conversation.item.create", **said("x" * 90, id="long_item_"))
    references = [{"type": "item_reference", "id": "long_item_"}] * 11
    response = {"conversation": "none", "input": references}
    assert "an input of 1,100 bytes of text" in refused(call, "response.create", response=response)
    response["input"] = references[:10]
    assert call.client_sends("response.create", response=response)[0]["type"] == "response.created"


def test_the_items_of_an_input_are_counted_before_they_are_looked_up() -> None:
    call = call_with(max_items=10)
    response = {"conversation": "none", "input": [{"type": "item_reference", "id": "nobody"}] * 11}
    assert "an input of 11 items" in refused(call, "response.create", response=response)


def test_tools_are_counted_in_a_session_and_in_a_response() -> None:
    call = call_with(max_tools=1)
    tools = [{"type": "function", "name": f"tool_{number}"} for number in range(2)]
    assert "2 tools" in refused(call, "session.update", session={"tools": tools})
    assert "2 tools" in refused(call, "response.create", response={"tools": tools})


def test_responses_beside_the_conversation_are_counted_and_one_that_ends_makes_room() -> None:
    call = call_with(max_responses_beside=2)
    beside = {"conversation": "none", "output_modalities": ["text"]}
    for _ in range(2):
        call.client_sends("response.create", response=beside)
    assert "got 3 responses beside the conversation at once; takes at most 2 (VOICE_MAX_RESPONSES_BESIDE)" in refused(
        call, "response.create", response=beside
    )
    assert call.client_sends("response.create")[0]["type"] == "response.created"  # the conversation's
    call.client_sends("response.cancel")
    call.bot_finishes()
    assert call.client_sends("response.create", response=beside)[0]["type"] == "response.created"


def test_settings_are_counted_together_and_a_refused_update_changes_nothing() -> None:
    call = call_with(max_settings_bytes=2000)
    call.client_sends("session.update", session={"instructions": "x" * 900})
    tools = [{"type": "function", "name": "tool", "description": "x" * 900}]
    assert "as JSON" in refused(call, "session.update", session={"tools": tools})
    [told] = call.client_sends("session.update", session={"max_output_tokens": 7})
    assert told["session"]["tools"] == []
    assert call.conversation.config.response.tools == ()


def test_the_limit_that_a_client_met_is_counted() -> None:
    call = call_with(max_parts=1)
    event = {"type": "conversation.item.create", **said("Hi.", parts=2)}
    [reply] = call.dialect.receive(json.dumps(event), call.now)
    assert reply.limit == "max_parts"  # type: ignore[union-attr]  # it is a Reply


@pytest.mark.parametrize("depth", [100, 500, 900, 970, 985, 990, 995, 999, 1010, 100_000])
@pytest.mark.parametrize("start", ['{"type": 5, "x": ', '{"type": "session.update", "session": {"tracing": '])
def test_nesting_of_any_depth_costs_its_message_and_no_more(start: str, depth: int) -> None:
    call = Call()
    message = start + "[" * depth + "]" * depth + "}" * start.count("{")
    [reply] = call.dialect.receive(message, call.now)
    [event] = call.dialect.encode(reply)  # type: ignore[arg-type]  # it is a Reply
    assert b'"type":"error"' in event.data or b'"type":"session.updated"' in event.data
    assert call.client_sends("conversation.item.create", **said("Hi."))[0]["type"] == "conversation.item.added"
