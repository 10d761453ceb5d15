"""Whatever a client says, it gets a typed error event, its call goes on, and the node serves the next one."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.dialects.openai.client_events import CLIENT_EVENT_TYPES
from tests.support.live_call import live_call, serves
from tests.support.node import NodeProcess

pytestmark = pytest.mark.usefixtures("no_error_logged")

USER = {"type": "message", "role": "user"}


def message(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, "event_id": "mine", **fields})


def item(**fields: Any) -> str:
    return message("conversation.item.create", item=fields)


def session(**fields: Any) -> str:
    return message("session.update", session={"type": "realtime", **fields})


def user_says(*parts: dict[str, Any]) -> str:
    return item(**USER, content=list(parts))


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        # no JSON
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ('{"type": "response.cancel"} and more', "invalid_json", None),
        ("{'type': 'response.cancel'}", "invalid_json", None),
        ("\ufeff{}", "invalid_json", None),
        ('{"type": "session.update", "session": {"instructions": "\\ud800"}}', "invalid_json", None),
        # no event
        ("null", "unknown_event", "type"),
        ("[]", "unknown_event", "type"),
        ("[" * 100_000, "unknown_event", "type"),
        ('{"type": 1}', "unknown_event", "type"),
        ('{"event_id": "mine"}', "unknown_event", "type"),
        (message("response.craete"), "unknown_event", "type"),
        (message("session.created"), "unknown_event", "type"),
        # wrong types
        (message("session.update", session=5), "invalid_value", "session"),
        (message("session.update"), "invalid_value", None),
        (session(audio=[]), "invalid_value", "session.audio"),
        (session(output_modalities=["smell"]), "invalid_value", "session.output_modalities[0]"),
        (session(max_output_tokens=0), "invalid_value", "session.max_output_tokens"),
        (session(audio={"output": {"speed": "fast"}}), "invalid_value", "session.audio.output.speed"),
        (
            session(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (session(tools=[{"type": "mcp", "server_label": "x"}]), "mcp_not_supported", "session.tools[0]"),
        (message("response.create", response=[]), "invalid_value", "response"),
        (message("response.create", response={"tools": [{"type": "function"}]}), "invalid_value", "response.tools[0]"),
        # audio
        (message("input_audio_buffer.append"), "invalid_value", None),
        (message("input_audio_buffer.append", audio=5), "invalid_value", "audio"),
        (message("input_audio_buffer.append", audio="@@@@"), "invalid_value", "audio"),
        (message("input_audio_buffer.append", audio="AAA"), "invalid_value", "audio"),
        (
            session(audio={"input": {"format": {"type": "audio/opus"}}}),
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            session(audio={"input": {"format": {"type": "audio/pcm", "rate": 11025}}}),
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (session(audio={"output": {"format": "g711_ulaw"}}), "invalid_value", "session.audio.output.format"),
        (message("input_audio_buffer.commit"), "input_audio_buffer_commit_empty", None),
        # items
        (item(type="hologram"), "invalid_value", "item.type"),
        (item(type="message", role="narrator", content=[]), "invalid_value", "item.role"),
        (user_says({"type": "input_text"}), "invalid_value", "item.content[0]"),
        (user_says({"type": "input_image", "image_url": "x"}), "invalid_value", "item.content[0].image_url"),
        (user_says(*[{"type": "input_audio", "audio": "AAA="}] * 2), "invalid_value", "item.content"),
        (user_says({"type": "output_text", "text": "x"}), "invalid_value", "item.content[0].type"),
        (
            message("conversation.item.create", previous_item_id="gone", item={**USER, "content": []}),
            "item_not_found",
            "previous_item_id",
        ),
        (message("conversation.item.retrieve", item_id="gone"), "item_not_found", "item_id"),
        (message("conversation.item.delete", item_id="gone"), "item_not_found", "item_id"),
        (message("conversation.item.delete", item_id=None), "invalid_value", "item_id"),
        (
            message("conversation.item.truncate", item_id="gone", content_index=0, audio_end_ms=5),
            "item_not_found",
            "item_id",
        ),
        (
            message("conversation.item.truncate", item_id="gone", content_index=0, audio_end_ms=-5),
            "invalid_value",
            "audio_end_ms",
        ),
        (
            message("conversation.item.truncate", item_id="gone", content_index=0, audio_end_ms=2**60),
            "invalid_value",
            "audio_end_ms",
        ),
        # answers
        (message("response.cancel"), "response_cancel_not_active", None),
        (message("response.cancel", response_id="resp_gone"), "response_cancel_not_active", "response_id"),
        (
            message("response.create", response={"input": [{"type": "item_reference", "id": "gone"}]}),
            "item_not_found",
            "response.input[0].id",
        ),
    ],
)
async def test_a_wrong_event_gets_a_typed_error_and_the_call_goes_on(
    node: NodeProcess, sent: str, code: str | None, param: str | None
) -> None:
    async with live_call(node.websocket) as call:
        await call.connection.send(sent)
        error = await call.error()
        assert (error["code"], error["param"]) == (code, param)
        assert error["type"] == "invalid_request_error"
        assert len(error["message"]) < 500
        if code not in ("invalid_json", "unknown_event"):
            assert error["event_id"] == "mine"
        assert await call.ask("ping") == "You said: ping"
    assert await serves(node.websocket)


async def test_a_binary_message_gets_a_typed_error_and_the_call_goes_on(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        await call.connection.send(b"\x00\xff" * 100)
        assert (await call.error())["code"] == "invalid_message"
        assert await call.ask("ping") == "You said: ping"


async def test_an_id_that_is_taken_is_refused(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        mine = {**USER, "id": "mine", "content": []}
        await call.send("conversation.item.create", item=mine)
        await call.until("conversation.item.done")
        await call.send("conversation.item.create", item=mine)
        assert (await call.error())["code"] == "item_already_exists"
        assert await call.ask("ping") == "You said: ping"


async def test_what_a_user_said_cannot_be_truncated(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        await call.send("conversation.item.create", item={**USER, "id": "m", "content": []})
        await call.send("conversation.item.truncate", item_id="m", content_index=0, audio_end_ms=0)
        assert (await call.error())["code"] == "invalid_value"


async def test_a_second_answer_at_the_same_time_is_refused(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        await call.type("one two three")
        await call.send("response.create")
        assert (await call.error())["code"] == "conversation_already_has_active_response"
        assert (await call.until("response.done"))["response"]["status"] == "completed"


async def test_less_audio_than_a_word_takes_cannot_be_committed(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        await call.append(bytes(2 * 24 * 80))  # 80 ms
        await call.send("input_audio_buffer.commit")
        assert (await call.error())["code"] == "input_audio_buffer_commit_empty"
        assert await call.ask("ping") == "You said: ping"


async def test_audio_that_comes_too_fast_is_refused_and_the_call_goes_on(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        await call.update(audio={"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}})
        for _ in range(3):  # two minutes may come at once
            await call.append(b"\xff" * 8000 * 45)
        assert (await call.error())["code"] == "rate_limit_exceeded"
        assert await call.ask("ping") == "You said: ping"
    assert await serves(node.websocket)


# Of the right shape often enough to get past the decoder.
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["item", ""])
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "role", "content", "audio", "input", "format", "tools"]), inner
        )
    ),
    max_leaves=8,
)
_ids = st.sampled_from(["item", "other", "root", ""])
_items = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["message", "function_call", "function_call_output"]),
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["input_text", "output_text", "input_audio", "output_audio"])},
                optional={"text": st.text(max_size=8), "transcript": st.just("hi"), "audio": st.just("AAAA")},
            ),
            max_size=2,
        ),
    },
    optional={"id": _ids, "call_id": _ids, "name": st.just("f"), "arguments": st.just("{"), "output": st.just("")},
)
_fields = st.fixed_dictionaries(
    {},
    optional={
        "event_id": st.text(max_size=4),
        "item": _items | _values,
        "item_id": _ids | _values,
        "previous_item_id": _ids | _values,
        "content_index": st.integers(0, 1) | _values,
        "audio_end_ms": st.integers(0, 5000) | _values,
        "audio": st.binary(max_size=8).map(lambda audio: b64encode(audio * 500).decode()) | _values,
        "session": st.fixed_dictionaries({}, optional={"audio": _values, "tools": _values, "instructions": _values}),
        "response": st.fixed_dictionaries(
            {"output_modalities": st.just(["text"])},
            optional={"input": st.lists(_items, max_size=2), "metadata": _values},
        ),
        "response_id": _values,
    },
)
_events = st.tuples(st.sampled_from(CLIENT_EVENT_TYPES), _fields).map(lambda made: {"type": made[0], **made[1]})


@settings(max_examples=100, derandomize=True)
@given(events=st.lists(_events, min_size=1, max_size=12))
async def test_no_events_in_any_order_end_a_call(node: NodeProcess, events: list[dict[str, Any]]) -> None:
    async with live_call(node.websocket) as call:
        for event in events:
            await call.connection.send(json.dumps(event))
        await call.send("the end", event_id="the end")
        while (await call.error())["event_id"] != "the end":
            pass
