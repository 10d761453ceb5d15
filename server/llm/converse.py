"""The wire format of Bedrock's ConverseStream, both ways: a request's arguments, and the reader of its answer.

Pure. Converse is strict where other services are lenient: roles alternate and begin with the user, no text is blank,
every tool use has its result in the next message (`server.llm.history` sees to these), and a history with tool uses
needs a tool configuration.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server.llm.characters import CharacterJoiner
from server.llm.decoding import from_json, guarded, token_count
from server.llm.history import dialogue, in_wire_format, wire_call_id, wire_name
from server.llm.interface import (
    AssistantText,
    ChatMessage,
    ChatRequest,
    Finished,
    LlmError,
    LlmEvent,
    SystemText,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    Usage,
    UserText,
)
from server.llm.model_fields import model_fields

_CACHE_POINT = {"cachePoint": {"type": "default"}}

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
_REASONS: dict[str, FinishReason] = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}


@dataclass(frozen=True, slots=True)
class ConverseOptions:
    """What every request to one Bedrock model shares; an empty `guardrail_id` means no guardrail."""

    model_id: str
    latency: Literal["standard", "optimized"] = "standard"
    guardrail_id: str = ""
    guardrail_version: str = "DRAFT"


def converse_arguments(
    request: ChatRequest, options: ConverseOptions, prompt_cache: bool, model_specific: bool = True
) -> dict[str, Any]:
    """The keyword arguments of `converse_stream` that ask for an answer to `request`.

    `model_specific` False leaves out what only some families of models take.
    """
    shaped = dialogue(request.instructions, request.messages, request.memo)
    arguments: dict[str, Any] = {"modelId": options.model_id}
    if shaped.instructions:
        system: list[dict[str, Any]] = [{"text": text} for text in shaped.instructions]
        arguments["system"] = [*system, _CACHE_POINT] if prompt_cache else system
    arguments["messages"] = in_wire_format(shaped, request.memo, _turn)
    used = {message.name for turn in shaped.turns for message in turn if isinstance(message, ToolCall)}
    if tool_config := _tool_config(request, used, prompt_cache and _caches_tools(options.model_id)):
        arguments["toolConfig"] = tool_config
    inference: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        inference["maxTokens"] = request.max_output_tokens
    if request.temperature is not None:
        inference["temperature"] = min(request.temperature, 1.0)  # the most that Converse takes
    if fields := model_fields(options.model_id, request) if model_specific else {}:
        arguments["additionalModelRequestFields"] = fields
    if fields.get("reasoningConfig", {}).get("maxReasoningEffort") == "high":
        inference = {}  # Nova 2 refuses any beside its highest effort
    if inference:
        arguments["inferenceConfig"] = inference
    if options.latency != "standard":
        arguments["performanceConfig"] = {"latency": options.latency}
    if options.guardrail_id:
        arguments["guardrailConfig"] = {
            "guardrailIdentifier": options.guardrail_id,
            "guardrailVersion": options.guardrail_version,
            # The default, sync, holds text back until it was checked: seconds, on a call.
            "streamProcessingMode": "async",
        }
    return arguments


def _turn(by_assistant: bool, turn: list[ChatMessage]) -> list[dict[str, Any]]:
    return [
        {
            "role": "assistant" if by_assistant else "user",
            "content": [block for message in turn for block in _blocks(message)],
        }
    ]


def _blocks(message: ChatMessage) -> Iterator[dict[str, Any]]:
    match message:
        case UserText(text, images):
            yield from ({"image": {"format": image.format, "source": {"bytes": image.data}}} for image in images)
            if text.strip():
                yield {"text": text}
        case AssistantText(text) | SystemText(text):
            yield {"text": text}
        case ToolCall(call_id, name, arguments):
            use = {"toolUseId": wire_call_id(call_id), "name": wire_name(name), "input": from_json(arguments)}
            yield {"toolUse": use}
        case ToolResult(call_id, output):
            yield {"toolResult": {"toolUseId": wire_call_id(call_id), "content": [{"text": output}]}}


def _tool_config(request: ChatRequest, used: set[str], prompt_cache: bool) -> dict[str, Any] | None:
    """`used` names the tools that the history calls; Converse wants those to be described too."""
    offered = () if request.tool_choice == "none" and not used else request.tools
    forgotten = used - {tool.name for tool in offered}
    tools = [_tool(tool) for tool in [*offered, *(Tool(name, "", {"type": "object"}) for name in sorted(forgotten))]]
    if not tools:
        return None
    config: dict[str, Any] = {"tools": [*tools, _CACHE_POINT] if prompt_cache else tools}
    if request.tool_choice == "required":
        config["toolChoice"] = {"any": {}}
    elif request.tool_choice in {tool.name for tool in offered}:
        config["toolChoice"] = {"tool": {"name": wire_name(request.tool_choice)}}
    return config


def _tool(tool: Tool) -> dict[str, Any]:
    specification: dict[str, Any] = {
        "name": wire_name(tool.name),
        "inputSchema": {"json": dict(tool.parameters) or {"type": "object"}},
    }
    if tool.description:
        specification["description"] = tool.description
    return {"toolSpec": specification}


def _caches_tools(model_id: str) -> bool:
    """Nova caches instructions and refuses cache points among the tools."""
    return "amazon.nova" not in model_id


class ConverseReader:
    """Turns the events of one ConverseStream answer into `LlmEvent`s.

    Calls of tools that the request did not offer are left out: with `tool_choice` "none", Converse has no way to
    forbid the tools that the history needs.
    """

    def __init__(self, request: ChatRequest) -> None:
        offered = request.tools if request.tool_choice != "none" else ()
        self._names = {wire_name(tool.name): tool.name for tool in offered}
        self._text, self._arguments = CharacterJoiner(), CharacterJoiner()
        self._call_id = ""
        self._has_arguments = False
        self._called = False
        self._stop_reason: str | None = None
        self._usage = Usage()

    def push(self, event: Mapping[str, Any]) -> Iterator[LlmEvent]:
        """The events in `event`, as botocore parsed it. Raises `LlmError`."""
        with guarded("an event"):
            yield from self._push(event)

    def _push(self, event: Mapping[str, Any]) -> Iterator[LlmEvent]:
        match event:
            case {"contentBlockDelta": {"delta": {"text": str(piece)}}}:
                if text := self._text.push(piece):
                    yield TextDelta(text)
            case {"contentBlockStart": {"start": {"toolUse": {"toolUseId": str(call_id), "name": str(name)}}}} if (
                name in self._names
            ):
                self._call_id, self._has_arguments, self._called = call_id, False, True
                yield ToolCallStarted(call_id, self._names[name])
            case {"contentBlockDelta": {"delta": {"toolUse": {"input": str(piece)}}}} if self._call_id:
                if text := self._arguments.push(piece):
                    self._has_arguments = True
                    yield ToolCallDelta(self._call_id, text)
            case {"contentBlockStop": _} if self._call_id:
                if not self._has_arguments:
                    yield ToolCallDelta(self._call_id, "{}")
                self._call_id = ""
            case {"messageStop": {"stopReason": str(reason)}}:
                self._stop_reason = reason
            case {"metadata": {"usage": Mapping() as usage}}:
                self._usage = _usage(usage)

    def finish(self) -> Finished:
        """The last event, once the stream has ended. Raises `LlmError` when it ended too early."""
        if self._stop_reason is None:
            raise LlmError("interrupted", "Bedrock's answer broke off before its end")
        reason = _REASONS.get(self._stop_reason, "stop")
        if reason == "tool_calls" and not self._called:
            reason = "stop"
        return Finished(reason, self._usage)


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Bedrock counts cached tokens beside the input, the others count them in it."""
    cached = token_count(usage.get("cacheReadInputTokens"))
    fresh = token_count(usage.get("inputTokens")) + token_count(usage.get("cacheWriteInputTokens"))
    return Usage(token_count(fresh + cached), token_count(usage.get("outputTokens")), cached)
