"""Reads the streamed answer of chat completions: the events in its bytes, and what each means to us.

Pure. A field that is not as the specification has it costs that field and not the answer: servers of every make and age
call themselves compatible. It opens no connection.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from server.llm.bounds import MOST_EVENT_BYTES, BoundPassed
from server.llm.characters import CharacterJoiner
from server.llm.decoding import Undecodable, from_json_with_halves, guarded, token_count
from server.llm.interface import ChatRequest, Finished, LlmError, LlmEvent, TextDelta, Usage
from server.llm.refusals import failure_of
from server.llm.tool_calls import ToolCalls

_END = b"[DONE]"
_LENGTH = ("length", "max_tokens", "model_length")
_FILTERED = ("content_filter", "refusal", "safety")
_BROKEN = ("error", "abort", "insufficient_system_resource")


class ServerSentEvents:
    """Splits a body of server-sent events into their `data`, wherever the network cut it.

    A body that is one JSON object, since the server did not stream after all, is one event.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_object: bool | None = None  # None: not known yet

    def push(self, block: bytes) -> list[bytes]:
        """The `data` of each event line that `block` completes; comments and other fields are left out."""
        if self._is_object is None and (block := block.lstrip()):
            self._is_object = block.startswith(b"{")
        first, *lines = [block] if self._is_object else block.split(b"\n")
        self._rest += first  # which costs nothing more for a line that comes byte by byte
        if lines:
            *lines, rest = bytes(self._rest), *lines
            self._rest = bytearray(rest)
        if len(self._rest) > MOST_EVENT_BYTES:
            raise BoundPassed("event", f"the language model sent a line of more than {MOST_EVENT_BYTES} bytes")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    def finish(self) -> list[bytes]:
        """The same of what is left when the body has ended."""
        return [bytes(self._rest)] if self._is_object else self.push(b"\n")


class AnswerReader:
    """Turns the `data` of the events of one answer into `LlmEvent`s."""

    def __init__(self, request: ChatRequest) -> None:
        """`request` is what is being answered."""
        self._text = CharacterJoiner()
        self._calls = ToolCalls(request.tools, request.max_output_tokens)
        self._usage = Usage()
        self._reason = ""
        self.started = False
        """Whether there was an event."""
        self.ended = False
        """Whether the server said that no more comes."""

    def push(self, data: bytes) -> Iterator[LlmEvent]:
        """The events in `data`. Raises `LlmError` when it is an error or can't be read."""
        with guarded("an event"):
            yield from self._push(data)

    def _push(self, data: bytes) -> Iterator[LlmEvent]:
        if data == _END:
            self.ended = True
            return
        try:
            chunk = from_json_with_halves(data)
        except Undecodable:
            raise LlmError("interrupted", "the language model sent an event that is no chat completion chunk") from None
        if not isinstance(chunk, Mapping):
            return
        self._raise_error(chunk)
        self._usage = _usage(chunk.get("usage")) or self._usage
        for choice in _mappings(chunk.get("choices")):
            if choice.get("index") not in (None, 0):
                continue  # a second answer, which nobody asked for
            reason = choice.get("finish_reason")
            self._reason = reason if isinstance(reason, str) and reason else self._reason
            for event in self._read(choice):
                self.started = True
                yield event

    def finish(self) -> Iterator[LlmEvent]:
        """The last events, once the server has sent everything. Raises `LlmError` when the answer is not whole."""
        with guarded("an answer"):
            yield from self._finish()

    def _finish(self) -> Iterator[LlmEvent]:
        if (not self._reason and not self.ended) or self._reason in _BROKEN:
            raise LlmError("interrupted", "the language model's answer broke off before its end")
        if rest := self._text.flush():
            yield TextDelta(rest)
        yield from self._calls.finish()
        yield Finished(self._finish_reason(), self._usage)

    def _read(self, choice: Mapping[str, Any]) -> Iterator[LlmEvent]:
        """What is for the caller in a choice. A server that was asked to stream may still send a whole `message`."""
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, Mapping):
            return
        # What is refused is refused in words that are meant for the caller.
        if text := self._text.push(_words(delta.get("content")) + _words(delta.get("refusal"))):
            yield TextDelta(text)
        for piece in _mappings(delta.get("tool_calls")):
            yield from self._calls.push(piece)
        if isinstance(legacy := delta.get("function_call"), Mapping):
            yield from self._calls.push({"function": legacy})

    def _raise_error(self, chunk: Mapping[str, Any]) -> None:
        is_error = chunk.get("object") == "error"
        if not (error := chunk.get("error")) and not is_error:
            return
        if self.started:
            raise LlmError("interrupted", "the language model broke off its answer with an error")
        failure, code = failure_of(chunk if is_error else {"error": error})
        raise LlmError(failure, f"the language model answered with an error ({code})")

    def _finish_reason(self) -> Literal["stop", "length", "tool_calls", "content_filter"]:
        if self._reason in _LENGTH:
            return "length"
        if self._reason in _FILTERED:
            return "content_filter"
        return "tool_calls" if self._calls else "stop"


def _words(content: Any) -> str:
    """The text of a `content`: a text, or a list of parts, of which those that think are not for the caller."""
    if isinstance(content, str):
        return content
    return "".join(_part_text(part) for part in content) if isinstance(content, list) else ""


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping) or part.get("type", "text") not in ("text", "output_text", "refusal"):
        return ""
    return next((value for name in ("text", "refusal") if isinstance(value := part.get(name), str)), "")


def _mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects in a list, or the one that stands in a list's place."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return Usage(
        token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens")), token_count(cached)
    )
