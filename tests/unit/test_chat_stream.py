"""The answers of servers that call themselves compatible, each with ways of its own."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.chat_stream import AnswerReader, ServerSentEvents
from server.llm.interface import ChatRequest, Finished, LlmError, LlmEvent, TextDelta, Usage, UserText

REQUEST = ChatRequest("", [UserText("Hi.")])


def chunk(delta: Any = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": fields.pop("finish", None)}
    return json.dumps({"choices": [choice]} | fields).encode()


def read(*data: bytes) -> list[LlmEvent]:
    reader = AnswerReader(REQUEST)
    return [event for one in data for event in reader.push(one)] + list(reader.finish())


def said(events: list[LlmEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


STOP = chunk(finish="stop")


def test_an_emoji_in_two_chunks_is_whole() -> None:
    """rakazo#416."""
    halves = [
        b'{"choices": [{"delta": {"content": "Hi \\ud83d"}}]}',
        b'{"choices": [{"delta": {"content": "\\ude00."}}]}',
    ]
    assert said(read(*halves, STOP)) == "Hi \N{GRINNING FACE}."


def test_half_a_character_as_bytes_is_whole() -> None:
    first, second = '{"choices": [{"delta": {"content": "é"}}]}'.encode().split(b"\xa9")
    assert said(read(first + b'"}}]}', b'{"choices": [{"delta": {"content": "\xa9' + second, STOP)) == "é"


@pytest.mark.parametrize(
    "delta",
    [
        {"refusal": "I can't help with that."},
        {"content": None, "refusal": "I can't help with that."},
        {"content": [{"type": "text", "text": "I can't help with that."}]},
        {"content": [{"type": "refusal", "refusal": "I can't help with that."}]},
        {"content": [{"type": "thinking", "thinking": ["hm"]}, {"type": "text", "text": "I can't help with that."}]},
        {"content": "I can't help with that.", "tool_calls": {}},
        {"content": "I can't help with that.", "tool_calls": "none"},
        {"content": "I can't help with that.", "role": 5, "audio": None, "annotations": []},
    ],
    ids=json.dumps,
)
def test_text_is_told_wherever_it_stands(delta: Any) -> None:
    """langchain4j#5813: a refusal has a field of its own."""
    assert said(read(chunk(delta), STOP)) == "I can't help with that."


@pytest.mark.parametrize(
    "odd",
    [
        b"null", b"5", b"[]", b'"ping"', b"{}", b'{"choices": null}', b'{"choices": 5}', b'{"choices": [null, 5]}',
        b'{"choices": [{"delta": null}]}', b'{"choices": [{"delta": "Hi"}]}',
        b'{"choices": [{"delta": {"content": 5}}]}',
        b'{"choices": [{"delta": {"content": {"text": "x"}}}]}', b'{"choices": [{"finish_reason": 7}]}',
        b'{"choices": [], "usage": "none"}', b'{"usage": {"prompt_tokens": "12", "completion_tokens": -1}}',
        b'{"usage": {"prompt_tokens_details": []}}', b'{"error": null}', b'{"error": ""}', b'{"error": {}}',
        b'{"choices": [{"index": 1, "delta": {"content": "another answer"}}]}',
        b'{"choices": [{"delta": {"tool_calls": [null, 3]}}]}',
    ],
)  # fmt: skip
def test_one_odd_field_costs_that_field_and_not_the_answer(odd: bytes) -> None:
    events = read(chunk({"content": "Hello"}), odd, chunk({"content": " there."}), STOP)
    assert said(events) == "Hello there."
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"


def test_a_server_that_does_not_stream_is_understood() -> None:
    body = {
        "choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3},
    }
    events = ServerSentEvents()
    blocks = [json.dumps(body, indent=1).encode()[at : at + 7] for at in range(0, 400, 7)]
    data = [one for block in blocks for one in events.push(block)] + events.finish()
    assert read(*data) == [TextDelta("Hello."), Finished("stop", Usage(3))]


def test_the_last_event_may_lack_its_line_end() -> None:
    events = ServerSentEvents()
    data = (
        events.push(b": comment\n\ndata: 1\r\n\r\nevent: x\ndata:2\n\nda")
        + events.push(b"ta: [DONE]")
        + events.finish()
    )
    assert data == [b"1", b"2", b"[DONE]"]


def test_the_old_form_of_a_function_call_is_understood() -> None:
    reader = AnswerReader(REQUEST)
    pieces = [{"name": "get_time", "arguments": ""}, {"arguments": '{"tz": "UTC"}'}]
    for piece in pieces:
        list(reader.push(chunk({"function_call": piece})))
    list(reader.push(chunk(finish="function_call")))
    assert list(reader.finish())[-1] == Finished("tool_calls", Usage())


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b'{"error": {"code": "context_length_exceeded"}}', "context_length_exceeded"),
        (b'{"error": {"code": "rate_limit_exceeded"}}', "throttled"),
        (b'{"error": "something"}', "invalid_request"),
        (b'{"object": "error", "message": "the server is overloaded", "code": 503}', "unavailable"),
    ],
)
def test_an_error_before_the_answer_is_told_by_its_kind(data: bytes, failure: str) -> None:
    with pytest.raises(LlmError) as caught:
        read(data)
    assert caught.value.failure == failure


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_the_server_gave_up_is_no_whole_one(reason: str) -> None:
    with pytest.raises(LlmError):
        read(chunk({"content": "Hel"}), chunk(finish=reason))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "tool_calls", "function", "name", "arguments", "usage", "index", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
def test_no_json_breaks_the_reader(values: list[Any]) -> None:
    read(*(json.dumps(value).encode() for value in values), STOP)
