"""What a client gets for a bad message: one error that names what was wrong, and a call that goes on."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.dialects.dialect import Reply
from server.dialects.openai.client_events import CLIENT_EVENT_TYPES
from tests.support.call import Call

_TEXT = [{"type": "input_text", "text": "hello"}]


def message(**fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": _TEXT} | fields


def event(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, "event_id": "mine", **fields})


def create(item: Any, **fields: Any) -> str:
    return event("conversation.item.create", item=item, **fields)


def update(**session: Any) -> str:
    return event("session.update", session=session)


def update_input(**settings: Any) -> str:
    return update(audio={"input": settings})


def respond(**response: Any) -> str:
    return event("response.create", response=response)


def part(kind: str, role: str = "user", **fields: Any) -> str:
    return create(message(role=role, content=[{"type": kind, **fields}]))


# What a client may send, and what of it the error has to name: code, param, a piece of the message.
_NO_JSON: list[tuple[str | bytes, str]] = [
    ("", "invalid_json"),
    ("{", "invalid_json"),
    ("hello", "invalid_json"),
    ('{"type": "response.create",}', "invalid_json"),
    ('{"type": "response.cancel", "response_id": "\\ud800"}', "invalid_json"),
    ('{"type": "response.cancel", "response_id": "\ud800"}', "invalid_json"),
    ('{"type": "session.update", "session": {"tracing": ' + "[" * 50_000 + "]" * 50_000 + "}}", "invalid_json"),
    (b"\x00\x01\x02", "invalid_message"),
    (b'{"type": "response.create"}', "invalid_message"),
]
_NO_EVENT = [
    "null",
    "[]",
    '"response.create"',
    "17",
    "{}",
    '{"type": null}',
    '{"type": 5}',
    '{"type": ["response.create"]}',
    '{"type": "response.creat"}',
    '{"type": "session.created"}',
    '{"type": "transcription_session.update"}',
]
_WRONG_VALUES: list[tuple[str, str, str | None, str]] = [
    (event("session.update"), "invalid_value", None, "`session`"),
    (event("session.update", session=[]), "invalid_value", "session", "object"),
    (event("input_audio_buffer.append"), "invalid_value", None, "`audio`"),
    (event("input_audio_buffer.append", audio=5), "invalid_value", "audio", "Expected `"),
    (event("input_audio_buffer.append", audio="####"), "invalid_value", "audio", "base64"),
    (event("input_audio_buffer.append", audio="AAA"), "invalid_value", "audio", "base64"),
    (event("input_audio_buffer.commit"), "input_audio_buffer_commit_empty", None, "0 ms"),
    (event("conversation.item.create"), "invalid_value", None, "`item`"),
    (create(5), "invalid_value", "item", "object"),
    (create({"role": "user"}), "invalid_value", "item", "`type`"),
    (create({"type": "mcp_call"}), "invalid_value", "item.type", "mcp_call"),
    (create({"type": "item_reference", "id": "x"}), "invalid_value", "item.type", "item_reference"),
    (create({"type": "message", "role": "user"}), "invalid_value", "item", "`content`"),
    (create(message(role="robot")), "invalid_value", "item.role", "robot"),
    (create(message(content="hello")), "invalid_value", "item.content", "array"),
    (create(message(content=[5])), "invalid_value", "item.content[0]", "object"),
    (create(message(id=5)), "invalid_value", "item.id", "str"),
    (create(message(), previous_item_id=5), "invalid_value", "previous_item_id", "str"),
    (create(message(), previous_item_id="item_x"), "item_not_found", "previous_item_id", "'item_x'"),
    (create(message(id="item_taken")), "item_already_exists", "item.id", "'item_taken'"),
    (create({"type": "function_call", "name": "f"}), "invalid_value", "item", "`arguments`"),
    (create({"type": "function_call_output", "output": "x"}), "invalid_value", "item", "`call_id`"),
    (part("input_image", image_url="x"), "invalid_value", "item.content[0].image_url", "takes a data URI"),
    (part("output_text", text="x"), "invalid_value", "item.content[0].type", "input_text or input_audio"),
    (part("input_audio", "system", audio="AAAA"), "invalid_value", "item.content[0].type", "input_text"),
    (part("input_text"), "invalid_value", "item.content[0]", "takes text"),
    (part("output_audio", "assistant"), "invalid_value", "item.content[0]", "takes transcript"),
    (part("input_audio", audio=""), "invalid_value", "item.content[0]", "takes audio or transcript"),
    (part("input_audio", audio="#"), "invalid_value", "item.content[0].audio", "base64"),
    (part("input_audio", audio="AA=="), "invalid_value", None, "even number of bytes"),
    (part("input_audio", audio="AAAA" * 500_000), "invalid_value", "item.content", "at most 30 s"),
    (
        create(message(content=[{"type": "input_audio", "audio": "AAAA"}] * 2)),
        "invalid_value",
        "item.content",
        "one input_audio part",
    ),
    (event("conversation.item.retrieve"), "invalid_value", None, "`item_id`"),
    (event("conversation.item.retrieve", item_id="item_x"), "item_not_found", "item_id", "'item_x'"),
    (event("conversation.item.delete", item_id="item_x"), "item_not_found", "item_id", "'item_x'"),
    (event("conversation.item.delete", item_id=None), "invalid_value", "item_id", "str"),
    (
        event("conversation.item.truncate", item_id="item_x", content_index=0, audio_end_ms=0),
        "item_not_found",
        "item_id",
        "'item_x'",
    ),
    (
        event("conversation.item.truncate", item_id="item_spoken", content_index=1, audio_end_ms=0),
        "invalid_value",
        "content_index",
        "takes 0",
    ),
    (
        event("conversation.item.truncate", item_id="item_taken", content_index=0, audio_end_ms=0),
        "invalid_value",
        "item_id",
        "not spoken",
    ),
    (event("conversation.item.truncate", item_id="item_x", audio_end_ms=0), "invalid_value", None, "`content_index`"),
    *(
        (
            event("conversation.item.truncate", item_id="item_spoken", content_index=0, audio_end_ms=wrong),
            "invalid_value",
            "audio_end_ms",
            "int",
        )
        for wrong in (-1, 10**400, 1.5, "100", None)
    ),
    (event("response.create", response="x"), "invalid_value", "response", "object"),
    (respond(input=[{"type": "item_reference", "id": "item_x"}]), "item_not_found", "response.input[0].id", "'item_x'"),
    (
        respond(input=[message(content=[{"type": "output_text", "text": "x"}])]),
        "invalid_value",
        "response.input[0].content[0].type",
        "output_text",
    ),
    (
        respond(input=[message(content=[{"type": "input_audio", "audio": "AAAA"}])]),
        "invalid_value",
        "response.input[0]",
        "transcript",
    ),
    (respond(metadata={"a": 1}), "invalid_value", "response.metadata[...]", "str"),
    (respond(output_modalities=["video"]), "invalid_value", "response.output_modalities[0]", "video"),
    (respond(max_output_tokens=0), "invalid_value", "response.max_output_tokens", ">= 1"),
    (respond(max_output_tokens="lots"), "invalid_value", "response.max_output_tokens", "lots"),
    (respond(x_temperature=3), "invalid_value", "response.x_temperature", "<= 2"),
    (respond(x_tool_filler={"text": " "}), "invalid_value", "response.x_tool_filler.text", "\\S"),
    (respond(x_tool_filler={"text": "x" * 301}), "invalid_value", "response.x_tool_filler.text", "<= 300"),
    (respond(x_tool_filler={"after_ms": 500}), "invalid_value", "response.x_tool_filler", "`text`"),
    (respond(tools=[{"type": "mcp"}]), "mcp_not_supported", "response.tools[0]", "function tools"),
    (respond(tools=[{"type": "web_search"}]), "invalid_value", "response.tools[0].type", "web_search"),
    (event("response.cancel"), "response_cancel_not_active", None, "no response is in progress"),
    (event("response.cancel", response_id="resp_x"), "response_cancel_not_active", "response_id", "'resp_x'"),
    (event("response.cancel", response_id=5), "invalid_value", "response_id", "str"),
    (update(type="transcription"), "invalid_value", "session.type", "settled"),
    (update(type="dictation"), "invalid_value", "session.type", "transcription"),
    (update(instructions=5), "invalid_value", "session.instructions", "str"),
    (update(tools={}), "invalid_value", "session.tools", "array"),
    (update(tools=[{"type": "function"}]), "invalid_value", "session.tools[0]", "`name`"),
    (
        update(tools=[{"type": "function", "name": "f"}, {"type": "mcp", "server_label": "x", "server_url": "y"}]),
        "mcp_not_supported",
        "session.tools[1]",
        "function tools",
    ),
    (update(tool_choice="maybe"), "invalid_value", "session.tool_choice", "maybe"),
    (update(tool_choice={"type": "mcp", "name": "x"}), "invalid_value", "session.tool_choice.type", "mcp"),
    (update(output_modalities="audio"), "invalid_value", "session.output_modalities", "array"),
    (update(max_output_tokens=5000), "invalid_value", "session.max_output_tokens", "<= 4096"),
    (update(x_temperature=-0.1), "invalid_value", "session.x_temperature", ">= 0"),
    (update(x_tool_filler="One moment."), "invalid_value", "session.x_tool_filler", "object"),
    (
        update(x_tool_filler={"text": "One moment.", "after_ms": 60_001}),
        "invalid_value",
        "session.x_tool_filler.after_ms",
        "a number from 0 to 60000",
    ),
    (update(audio=[]), "invalid_value", "session.audio", "object"),
    (update_input(format="pcm16"), "invalid_value", "session.audio.input.format", "object"),
    (update_input(format={"type": "audio/opus"}), "invalid_value", "session.audio.input.format.type", "audio/opus"),
    (
        update_input(format={"type": "audio/pcm", "rate": 44100}),
        "invalid_value",
        "session.audio.input.format.rate",
        "44100",
    ),
    (
        update_input(turn_detection={"type": "magic"}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
        "magic",
    ),
    (update_input(turn_detection=False), "invalid_value", "session.audio.input.turn_detection", "object"),
    (
        update_input(turn_detection={"type": "server_vad", "threshold": 2}),
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
        "<= 1",
    ),
    (
        update_input(turn_detection={"type": "server_vad", "silence_duration_ms": -1}),
        "invalid_value",
        "session.audio.input.turn_detection.silence_duration_ms",
        ">= 0",
    ),
    (update(audio={"output": {"speed": 9}}), "invalid_value", "session.audio.output.speed", "<= 4"),
    (update(audio={"output": {"voice": 5}}), "invalid_value", "session.audio.output.voice", "Expected `"),
]


@pytest.fixture
def call() -> Call:
    """A call with an item that was typed and one that was spoken."""
    call = Call()
    call.client_sends_raw(create(message(id="item_taken")))
    call.client_sends("response.create")
    call.bot_says("Hello there.")
    call.bot_finishes()
    return call


def refusal(call: Call, sent: str | bytes) -> dict[str, Any]:
    """The one error that a message gets; after it, history is as it was and the call goes on."""
    before = call.history
    [answer] = call.client_sends_raw(sent)
    assert answer["type"] == "error"
    assert call.history == before
    assert call.conversation.active_response is None
    [pong] = call.client_sends("session.update", session={})
    assert pong["type"] == "session.updated"
    call.caller_says("still there")
    call.silence(1.0)
    assert call.answering
    error = answer["error"]
    assert error["type"] == "invalid_request_error"
    return dict(error)


@pytest.mark.parametrize(("sent", "code"), _NO_JSON, ids=[str(text)[:40] for text, _ in _NO_JSON])
def test_what_is_no_json_is_refused(call: Call, sent: str | bytes, code: str) -> None:
    assert refusal(call, sent)["code"] == code


@pytest.mark.parametrize("sent", _NO_EVENT)
def test_what_is_no_client_event_is_refused_with_those_there_are(call: Call, sent: str) -> None:
    error = refusal(call, sent)
    assert (error["code"], error["param"]) == ("unknown_event", "type")
    assert all(known in error["message"] for known in CLIENT_EVENT_TYPES)


@pytest.mark.parametrize(
    ("sent", "code", "param", "named"),
    _WRONG_VALUES,
    ids=[sent.replace('"event_id": "mine", ', "")[:110] for sent, *_ in _WRONG_VALUES],
)
def test_a_wrong_value_is_refused_by_name(call: Call, sent: str, code: str, param: str | None, named: str) -> None:
    error = refusal(call, sent.replace("item_spoken", call.client.items[-1]))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert named in error["message"]


def test_an_event_id_that_is_no_text_is_not_echoed(call: Call) -> None:
    error = refusal(call, '{"type": "response.cancel", "event_id": 5}')
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "event_id", None)


@pytest.fixture
def pythons_own_depth() -> Iterator[None]:
    """As in a gateway: where torch has compiled something, it is twice as deep."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("pythons_own_depth")
def test_json_of_any_depth_is_either_taken_or_refused() -> None:
    dialect = Call().dialect
    told = set()
    for depth in range(700, 1100):
        nested = "[" * depth + "]" * depth
        for value in (nested, "null"):
            [reply] = dialect.receive('{"type": "session.update", "session": {"tracing": ' + value + "}}", 0.0)
            assert isinstance(reply, Reply)
            assert dialect.encode(reply)
            told.add(reply.message["type"])
    assert told == {"session.updated", "error"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = ("session", "item", "item_id", "response", "response_id", "audio", "previous_item_id", "content_index",
           "audio_end_ms", "event_id", "type", "content", "input", "output", "tools", "role", "metadata")  # fmt: skip


@given(
    type=st.sampled_from(CLIENT_EVENT_TYPES),
    fields=st.dictionaries(st.sampled_from(_FIELDS), _json | st.dictionaries(st.sampled_from(_FIELDS), _json)),
)
@example("session.update", {"session": {"": 0}})
def test_no_message_breaks_the_call(type: str, fields: dict[str, Any]) -> None:
    call = Call()
    call.client_sends_raw(json.dumps({"type": type} | fields))
    assert call.client_sends("session.update", session={})[0]["type"] == "session.updated"
