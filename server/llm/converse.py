"""The wire format of Bedrock's ConverseStream, both ways: a request's arguments, and the reader of its answer.

Pure. Converse is strict where other services are lenient: roles alternate and begin with the user, no text is blank,
every tool use has its result in the next message, and a history with tool uses needs a tool configuration.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from server.llm.history import well_formed
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

_CACHE_POINT = {"cachePoint": {"type": "default"}}
_OPENING = "(The call begins.)"
_GO_ON = "(Go on.)"
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
_REASONS: dict[str, FinishReason] = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


@dataclass(frozen=True, slots=True)
class ConverseOptions:
    """What every request to one Bedrock model shares; an empty `guardrail_id` means no guardrail."""

    model_id: str
    latency: Literal["standard", "optimized"] = "standard"
    guardrail_id: str = ""
    guardrail_version: str = "DRAFT"


def converse_arguments(request: ChatRequest, options: ConverseOptions, prompt_cache: bool) -> dict[str, Any]:
    """The keyword arguments of `converse_stream` that ask for an answer to `request`."""
    messages = well_formed(request.messages)
    arguments: dict[str, Any] = {"modelId": options.model_id}
    if system := _system(request.instructions, messages):
        arguments["system"] = [*system, _CACHE_POINT] if prompt_cache else system
    arguments["messages"] = _alternating(messages)
    if tool_config := _tool_config(request, messages, prompt_cache and _caches_tools(options.model_id)):
        arguments["toolConfig"] = tool_config
    inference: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        inference["maxTokens"] = request.max_output_tokens
    if request.temperature is not None:
        inference["temperature"] = min(request.temperature, 1.0)  # the most that Converse takes
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


def _system(instructions: str, messages: list[ChatMessage]) -> list[dict[str, str]]:
    """`instructions` and the system texts that open the conversation, which are taken out of `messages`."""
    texts = [SystemText(instructions)] if instructions.strip() else []
    while messages and isinstance(message := messages[0], SystemText):
        texts.append(message)
        del messages[0]
    return [{"text": message.text} for message in texts]


def _alternating(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Converse messages: neighbours of one role are merged, the first and the last are the user's."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if isinstance(message, AssistantText | ToolCall) else "user"
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": [{"text": _OPENING}]})
        if not turns or turns[-1]["role"] != role:
            turns.append({"role": role, "content": []})
        turns[-1]["content"].append(_block(message))
    if not turns or turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": [{"text": _GO_ON if turns else _OPENING}]})
    return turns


def _block(message: ChatMessage) -> dict[str, Any]:
    match message:
        case UserText(text) | AssistantText(text):
            return {"text": text}
        case SystemText(text):
            return {"text": f"(Instruction: {text})"}
        case ToolCall(call_id, name, arguments):
            return {
                "toolUse": {
                    "toolUseId": _tool_use_id(call_id),
                    "name": _tool_name(name),
                    "input": _json_object(arguments),
                }
            }
        case ToolResult(call_id, output):
            return {"toolResult": {"toolUseId": _tool_use_id(call_id), "content": [{"text": output}]}}


def _tool_use_id(call_id: str) -> str:
    """`call_id`, or where a client chose one that Converse refuses, another that is always the same."""
    return call_id if _TOOL_USE_ID.fullmatch(call_id) else f"call_{zlib.crc32(call_id.encode()):08x}"


def _tool_name(name: str) -> str:
    return name if _TOOL_NAME.fullmatch(name) else re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "_"


def _json_object(arguments: str) -> dict[str, Any]:
    """The arguments of an earlier call; a call that was cut off in the middle of its JSON counts as one without."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _tool_config(request: ChatRequest, messages: Sequence[ChatMessage], prompt_cache: bool) -> dict[str, Any] | None:
    used = {message.name for message in messages if isinstance(message, ToolCall)}
    offered = () if request.tool_choice == "none" and not used else request.tools
    forgotten = used - {tool.name for tool in offered}
    tools = [_tool(tool) for tool in [*offered, *(Tool(name, "", {"type": "object"}) for name in sorted(forgotten))]]
    if not tools:
        return None
    config: dict[str, Any] = {"tools": [*tools, _CACHE_POINT] if prompt_cache else tools}
    if request.tool_choice == "required":
        config["toolChoice"] = {"any": {}}
    elif request.tool_choice not in ("auto", "none"):
        config["toolChoice"] = {"tool": {"name": _tool_name(request.tool_choice)}}
    return config


def _tool(tool: Tool) -> dict[str, Any]:
    specification: dict[str, Any] = {
        "name": _tool_name(tool.name),
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
        self._names = {_tool_name(tool.name): tool.name for tool in offered}
        self._call_id = ""
        self._has_arguments = False
        self._called = False
        self._stop_reason: str | None = None
        self._usage = Usage()

    def push(self, event: Mapping[str, Any]) -> Iterator[LlmEvent]:
        """The events in `event`, as botocore parsed it."""
        match event:
            case {"contentBlockDelta": {"delta": {"text": text}}} if text:
                yield TextDelta(text)
            case {"contentBlockStart": {"start": {"toolUse": {"toolUseId": call_id, "name": name}}}} if (
                name in self._names
            ):
                self._call_id, self._has_arguments, self._called = call_id, False, True
                yield ToolCallStarted(call_id, self._names[name])
            case {"contentBlockDelta": {"delta": {"toolUse": {"input": text}}}} if text and self._call_id:
                self._has_arguments = True
                yield ToolCallDelta(self._call_id, text)
            case {"contentBlockStop": _} if self._call_id:
                if not self._has_arguments:
                    yield ToolCallDelta(self._call_id, "{}")
                self._call_id = ""
            case {"messageStop": {"stopReason": reason}}:
                self._stop_reason = reason
            case {"metadata": {"usage": usage}}:
                self._usage = _usage(usage)

    def finish(self) -> Finished:
        """The last event, once the stream has ended. Raises `LlmError` when it ended too early."""
        if self._stop_reason is None:
            raise LlmError("interrupted", "Bedrock's answer broke off before its end")
        reason = _REASONS.get(self._stop_reason, "stop")
        if reason == "tool_calls" and not self._called:
            reason = "stop"
        return Finished(reason, self._usage)


def _usage(usage: Mapping[str, int]) -> Usage:
    """Bedrock counts cached tokens beside the input, the others count them in it."""
    cached = usage.get("cacheReadInputTokens", 0)
    fresh = usage.get("inputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    return Usage(input_tokens=fresh + cached, output_tokens=usage.get("outputTokens", 0), cached_tokens=cached)
