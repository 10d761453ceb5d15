"""The wire format of OpenAI's streaming chat completions, both ways: a request's body, and the reader of its answer.

Pure: bytes and messages in, events out. It opens no connection.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from server.llm.history import well_formed
from server.llm.interface import (
    AssistantText,
    ChatRequest,
    Finished,
    LlmError,
    LlmEvent,
    SystemText,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    Usage,
    UserText,
)

_MAX_LINE_BYTES = 1 << 20
_END = b"[DONE]"


class _FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(msgspec.Struct):
    """What is used of a `chat.completion.chunk`; other fields, `reasoning_content` among them, are passed over."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Error(msgspec.Struct):
    code: Any = None


class _Refusal(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Chunk).decode


def request_body(model: str, request: ChatRequest, limit_name: str = "max_tokens") -> dict[str, Any]:
    """The JSON body that asks `model` for a streamed answer to `request`; `limit_name` is the token limit's field."""
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
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            }
            for tool in request.tools
        ]
        if request.tool_choice in ("auto", "none", "required"):
            body["tool_choice"] = request.tool_choice
        else:
            body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
    if request.max_output_tokens is not None:
        body[limit_name] = request.max_output_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    return body


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if request.instructions.strip():
        messages.append({"role": "system", "content": request.instructions})
    for message in well_formed(request.messages):
        match message:
            case UserText(text):
                messages.append({"role": "user", "content": text})
            case SystemText(text):
                messages.append({"role": "system", "content": text})
            case AssistantText(text):
                messages.append({"role": "assistant", "content": text})
            case ToolResult(call_id, output):
                messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
            case ToolCall(call_id, name, arguments):
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                messages[-1].setdefault("tool_calls", []).append(call)
    return messages


def error_code(body: bytes) -> str:
    """The code in the body of a refusal, such as "model_not_found"; "no code" without one. Its text may quote us."""
    try:
        code = msgspec.json.decode(body, type=_Refusal).error.code
    except msgspec.DecodeError:
        code = None
    return code if isinstance(code, str) and re.fullmatch(r"\w{1,50}", code) else "no code"


class ServerSentEvents:
    """Splits a body of server-sent events into their `data`, wherever the network cut it."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, block: bytes) -> list[bytes]:
        """The `data` of each event line that `block` completes; comments and other fields are left out."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise LlmError("interrupted", f"the language model sent a line of more than {_MAX_LINE_BYTES} bytes")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]


@dataclass(slots=True)
class _Call:
    call_id: str
    index: int | None
    name: str
    arguments: str = ""


class AnswerReader:
    """Turns the `data` of one answer's events into `LlmEvent`s.

    Function calls come out one after the other, as the interface promises: the first as it is written, others (which
    a server may interleave with it) when the answer ends.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._usage = Usage()
        self._reason: str | None = None
        self.ended = False

    def push(self, data: bytes) -> Iterator[LlmEvent]:
        """The events in `data`. Raises `LlmError` when it is an error or no chunk at all."""
        if data == _END:
            self.ended = True
            return
        try:
            chunk = _decode(data)
        except msgspec.DecodeError:
            raise LlmError("interrupted", "the language model sent an event that is no chat completion chunk") from None
        if chunk.error is not None:
            raise LlmError("interrupted", "the language model broke off its answer with an error")
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        for choice in chunk.choices or ():
            self._reason = choice.finish_reason or self._reason
            if choice.delta is None:
                continue
            if choice.delta.content:
                yield TextDelta(choice.delta.content)
            for piece in choice.delta.tool_calls or ():
                yield from self._call_piece(piece)

    def finish(self) -> Iterator[LlmEvent]:
        """The last events, once the server has sent everything. Raises `LlmError` when the answer is not whole."""
        if self._reason is None and not self.ended:
            raise LlmError("interrupted", "the language model's answer broke off before its end")
        for number, call in enumerate(self._calls):
            if number:
                yield ToolCallStarted(call.call_id, call.name)
            if number or not call.arguments:
                yield ToolCallDelta(call.call_id, call.arguments or "{}")
        yield Finished(self._finish_reason(), self._usage)

    def _call_piece(self, piece: _CallDelta) -> Iterator[LlmEvent]:
        function = piece.function or _FunctionDelta()
        call = self._call_of(piece)
        if call is None:
            call = _Call(piece.id or f"call_{secrets.token_hex(8)}", piece.index, function.name or "")
            self._calls.append(call)
            if call is self._calls[0]:
                yield ToolCallStarted(call.call_id, call.name)
        call.arguments += function.arguments or ""
        if function.arguments and call is self._calls[0]:
            yield ToolCallDelta(call.call_id, function.arguments)

    def _call_of(self, piece: _CallDelta) -> _Call | None:
        """The call that `piece` continues: by its id where it has one (some servers number every call 0)."""
        if piece.id:
            return next((call for call in self._calls if call.call_id == piece.id), None)
        return next((call for call in reversed(self._calls) if piece.index in (call.index, None)), None)

    def _finish_reason(self) -> Literal["stop", "length", "tool_calls", "content_filter"]:
        if self._reason == "length":
            return "length"
        if self._reason == "content_filter":
            return "content_filter"
        return "tool_calls" if self._calls else "stop"


def _usage(usage: _Usage) -> Usage:
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached or 0)
