"""A request in the wire format of OpenAI's streaming chat completions.

Pure. `server.llm.chat_stream` reads the answer.
"""

from collections.abc import Collection
from typing import Any

from server.llm.history import dialogue, in_wire_format, wire_call_id, wire_name
from server.llm.interface import AssistantText, ChatMessage, ChatRequest, ToolCall, ToolResult, UserText

# Between a function's result and the user's next words some chat templates want the assistant's.
_BETWEEN = "One moment."


def request_body(
    model: str, request: ChatRequest, limit_name: str = "max_tokens", without: Collection[str] = ()
) -> dict[str, Any]:
    """The JSON body that asks `model` for a streamed answer to `request`.

    `limit_name` is the field of the token limit; `without` names optional fields that the server does not take.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": wire_name(tool.name),
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ]
        if request.tool_choice in ("auto", "none", "required"):
            body["tool_choice"] = request.tool_choice
        elif request.tool_choice in {tool.name for tool in request.tools}:
            body["tool_choice"] = {"type": "function", "function": {"name": wire_name(request.tool_choice)}}
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort
    if request.max_output_tokens is not None:
        body[limit_name] = request.max_output_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    return {name: value for name, value in body.items() if name not in without}


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    shaped = dialogue(request.instructions, request.messages, request.memo)
    messages: list[dict[str, Any]] = []
    if shaped.instructions:
        messages.append({"role": "system", "content": "\n\n".join(shaped.instructions)})
    return messages + in_wire_format(shaped, request.memo, _turn)


def _turn(by_assistant: bool, turn: list[ChatMessage]) -> list[dict[str, Any]]:
    return _assistants_turn(turn) if by_assistant else _users_turn(turn)


def _users_turn(turn: list[ChatMessage]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": wire_call_id(message.call_id), "content": message.output}
        for message in turn
        if isinstance(message, ToolResult)
    ]
    said = [message for message in turn if isinstance(message, UserText)]
    if results and said:
        results.append({"role": "assistant", "content": _BETWEEN})
    return [*results, {"role": "user", "content": _content(said)}] if said else results


def _content(said: list[UserText]) -> str | list[dict[str, Any]]:
    """Plain text, which every server takes, unless there are images."""
    text = "\n".join(message.text for message in said if message.text.strip())
    images = [
        {"type": "image_url", "image_url": {"url": image.url, "detail": image.detail}}
        for message in said
        for image in message.images
    ]
    if not images:
        return text
    return [*images, {"type": "text", "text": text}] if text else images


def _assistants_turn(turn: list[ChatMessage]) -> list[dict[str, Any]]:
    texts = [message.text for message in turn if isinstance(message, AssistantText)]
    message: dict[str, Any] = {"role": "assistant", "content": "\n".join(texts) or None}
    calls = [message for message in turn if isinstance(message, ToolCall)]
    if calls:
        message["tool_calls"] = [
            {
                "id": wire_call_id(call.call_id),
                "type": "function",
                "function": {"name": wire_name(call.name), "arguments": call.arguments},
            }
            for call in calls
        ]
    return [message]
