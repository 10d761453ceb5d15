"""Images that a client shows to the language model."""

import base64
from typing import Any

import pytest

from server.conversation.conversation import Conversation
from server.conversation.history import Message
from server.dialects.dialect import Abilities
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session
from server.limits import Limits
from server.llm.interface import AssistantText, Image, UserText
from tests.support.call import Call

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
BYTES = {"png": PNG, "jpeg": b"\xff\xd8\xff\xe0" + PNG, "gif": b"GIF89a" + PNG, "webp": b"RIFF\0\0\0\0WEBP" + PNG}


def uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def show(call: Call, url: Any, *parts: dict[str, Any], role: str = "user", **fields: Any) -> list[dict[str, Any]]:
    content = [*parts, {"type": "input_image", "image_url": url, **fields}]
    return call.client_sends("conversation.item.create", item={"type": "message", "role": role, "content": content})


@pytest.mark.parametrize("kind", BYTES)
def test_the_model_sees_what_is_shown(kind: Any) -> None:
    call = Call()
    show(call, uri(BYTES[kind], kind), {"type": "input_text", "text": "What is this?"}, detail="low")
    call.client_sends("response.create")
    assert call.asked == [UserText("What is this?", (Image(kind, BYTES[kind], "low"),))]


def test_an_image_without_a_word_is_asked_about_in_the_next_turn() -> None:
    call = Call()
    show(call, uri(PNG))
    call.turn("what is this", "A cat.")
    call.caller_says("what colour")
    call.silence(1.0)
    shown = UserText("", (Image("png", PNG),))
    assert call.asked == [shown, UserText("what is this"), AssistantText("A cat."), UserText("what colour")]


def test_the_client_is_told_the_item_with_its_image() -> None:
    [added, _] = show(Call(), uri(PNG))
    assert added["item"]["content"] == [{"type": "input_image", "image_url": uri(PNG), "detail": "auto"}]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (None, "got no data URI"),
        ("https://example.com/cat.png", "got no data URI"),
        ("data:image/png;base64,????", "holds no base64"),
        ("data:image/png;base64,é", "holds no base64"),
        ("data:image/png;base64,", "another format"),
        (uri(b"<svg/>", "svg+xml"), "another format"),
    ],
)
def test_what_is_no_image_is_refused_by_name(url: str | None, named: str) -> None:
    call = Call()
    [error] = show(call, url, {"type": "input_text", "text": "What is this?"})
    assert error["error"]["param"] == "item.content[1].image_url"
    assert named in error["error"]["message"]
    assert "takes a data URI" in error["error"]["message"]
    assert call.history == []


def test_only_the_user_shows_images() -> None:
    [error] = show(Call(), uri(PNG), role="system")
    assert "a system message has no part of type 'input_image'" in error["error"]["message"]


def test_a_model_that_takes_none_is_shown_none() -> None:
    wire = Session(id="sess_1", model="voicefleet", instructions="")
    conversation = Conversation(wire.config(), lambda prefix: prefix)
    call = Call()
    call.dialect = OpenAiDialect(wire, conversation, lambda prefix: prefix, Abilities(takes_images=False))
    [error] = show(call, uri(PNG))
    assert (error["error"]["code"], error["error"]["param"]) == ("images_not_supported", "item.content[0]")
    assert "VOICE_LLM_IMAGES" in error["error"]["message"]


def test_images_count_in_what_a_conversation_holds() -> None:
    call = Call(limits=Limits(max_conversation_bytes=70_000))
    show(call, uri(PNG + bytes(65_000)))
    show(call, uri(PNG + bytes(65_000)))
    assert call.errors == ["limit_exceeded"]


def test_images_count_in_what_a_model_can_read() -> None:
    limits = {"post_instructions": 4000}
    call = Call(truncation={"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": limits})
    for _ in range(3):
        show(call, uri(PNG))
    call.client_sends("response.create")
    assert len(call.asked) == 1


def test_a_resumed_call_knows_that_there_was_one() -> None:
    call = Call()
    show(call, uri(PNG), {"type": "input_text", "text": "This one."})
    state = call.dialect.state(call.now, 1 << 20)
    other = call.resumed()
    [item] = other.conversation.history
    assert isinstance(item, Message)
    assert item.text == "This one. (An image was shown here, and is not at hand any more.)"
    assert len(state) < 2000
    [added] = other.all_of("conversation.item.added")
    assert [part["type"] for part in added["item"]["content"]] == ["input_text", "input_image"]
