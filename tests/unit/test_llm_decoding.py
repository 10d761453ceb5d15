"""Whatever a model's server sends is read, or costs itself alone, or is a typed failure: in each of the readers."""

import json
import math
from typing import Any

import pytest

from server.llm.bounds import MOST_CALLS
from server.llm.chat_stream import AnswerReader, ServerSentEvents
from server.llm.converse import ConverseReader
from server.llm.decoding import MOST_TOKENS, Undecodable, from_json, token_count
from server.llm.history import well_formed
from server.llm.interface import ChatRequest, Finished, LlmError, LlmEvent, Tool, ToolCall, Usage, UserText
from server.llm.refusals import decoded, failure_of, refused_field

TOOL = Tool("get_weather", "", {"type": "object", "properties": {"city": {}}})
REQUEST = ChatRequest("", [UserText("Hi.")], tools=[TOOL])
DEPTHS = [300, 900, 970, 990, 1000, 100_000]


def deep(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def read(*data: bytes) -> list[LlmEvent]:
    reader = AnswerReader(REQUEST)
    return [event for one in data for event in reader.push(one)] + list(reader.finish())


def outcome(*data: bytes) -> str:
    try:
        finished = read(*data)[-1]
    except LlmError as error:
        return error.failure
    return finished.reason if isinstance(finished, Finished) else ""


def converse(*events: Any) -> list[LlmEvent]:
    reader = ConverseReader(REQUEST)
    return [part for event in events for part in reader.push(event)] + [reader.finish()]


STOP = json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]}).encode()


@pytest.mark.parametrize("levels", DEPTHS)
@pytest.mark.parametrize(
    "chunk",
    [
        "%s", '{"choices": %s}', '{"error": %s}', '{"error": {"message": %s, "code": %s}}', '{"usage": %s}',
        '{"choices": [{"delta": {"content": %s}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": %s}}}]}}]}',
    ],
)  # fmt: skip
def test_json_without_end_is_read_or_a_typed_failure(chunk: str, levels: int) -> None:
    for nested in (deep(levels), deep(levels, '{"a":', "}").replace(":}", ":1}", 1)):
        end = outcome(chunk.replace("%s", nested).encode(), STOP)
        assert end in ("interrupted", "invalid_request", "stop", "tool_calls")


@pytest.mark.parametrize("levels", DEPTHS)
def test_arguments_nested_without_end_are_no_object(levels: int) -> None:
    arguments = '{"city": ' + deep(levels) + "}"
    assert well_formed([UserText("Hi."), ToolCall("a", "f", arguments)])
    call = {"id": "a", "function": {"arguments": arguments}}
    end = outcome(json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode(), STOP)
    assert end in ("stop", "tool_calls", "interrupted")


@pytest.mark.parametrize("levels", DEPTHS)
def test_a_refusal_nested_without_end_is_a_refusal(levels: int) -> None:
    for body in (deep(levels), f'{{"error": {{"message": {deep(levels)}}}}}', f'{{"detail": {deep(levels)}}}'):
        assert failure_of(decoded(body.encode()), 400) == ("invalid_request", "no code")
        assert refused_field(decoded(body.encode()), ["temperature"]) == ""


@pytest.mark.parametrize("data", [b"\xff\xfe", b'{"a": "\xff"}', b'"\\ud800"', b"9" * 5000, b"1e999999", b"", b"{"])
def test_what_is_no_json_is_one_kind_of_failure(data: bytes) -> None:
    with pytest.raises(Undecodable):
        from_json(data)
    assert isinstance(decoded(data), str)
    assert outcome(data, STOP) in ("interrupted", "stop")


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (12, 12), (0, 0), (-1, 0), (True, 0), (None, 0), ("12", 0), (12.5, 0), (math.nan, 0), (math.inf, 0), ([], 0),
        (10**30, MOST_TOKENS), (10**400, MOST_TOKENS),
    ],
)  # fmt: skip
def test_an_absurd_number_of_tokens_is_a_sane_one(told: Any, meant: int) -> None:
    assert token_count(told) == meant
    assert converse(
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": told, "outputTokens": told, "cacheReadInputTokens": told}}},
    ) == [Finished("stop", Usage(min(2 * meant, MOST_TOKENS), meant, meant))]
    usage = {"prompt_tokens": told, "completion_tokens": told, "prompt_tokens_details": {"cached_tokens": told}}
    assert read(json.dumps({"usage": usage}).encode(), STOP) == [Finished("stop", Usage(meant, meant, meant))]


@pytest.mark.parametrize(
    "odd",
    [
        {"messageStop": {"stopReason": []}},
        {"metadata": {"usage": []}},
        {"metadata": {"usage": None}},
        {"contentBlockStart": {"start": {"toolUse": {"toolUseId": [], "name": {}}}}},
        {"contentBlockDelta": {"delta": {"text": 5}}},
        {"contentBlockDelta": None},
        {},
    ],
    ids=str,
)
def test_an_odd_field_of_bedrocks_costs_itself_alone(odd: Any) -> None:
    assert converse(odd, {"messageStop": {"stopReason": "end_turn"}}) == [Finished("stop")]


def test_a_line_that_comes_byte_by_byte_is_read_in_linear_time() -> None:
    events = ServerSentEvents()
    for _ in range(1 << 17):
        assert events.push(b"a") == []
    with pytest.raises(LlmError, match="a line of more than"):
        events.push(b"a")


def test_calls_without_end_are_refused_before_they_are_told() -> None:
    calls = [{"index": number, "function": {"arguments": ""}} for number in range(MOST_CALLS + 1)]
    with pytest.raises(LlmError, match=f"more than {MOST_CALLS} functions"):
        read(json.dumps({"choices": [{"delta": {"tool_calls": calls}}]}).encode())
