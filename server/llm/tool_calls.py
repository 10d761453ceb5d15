"""Assembles the function calls of one answer from their pieces, as streaming chat completions carry them.

Pure. By the specification the first piece of a call has its index, id and name, and the others its index and more of
the arguments. Servers differ: names come late, empty or with every piece, ids never or a new one each time, one index
for all calls, arguments as an object. So a piece is judged by all that is known of the calls so far.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.llm.bounds import CallBounds
from server.llm.characters import CharacterJoiner
from server.llm.decoding import Undecodable, from_json
from server.llm.history import wire_name
from server.llm.interface import LlmEvent, Tool, ToolCallDelta, ToolCallStarted


class _Arguments:
    """The JSON of a call's arguments as it comes in. What follows its closing brace does not belong to it."""

    def __init__(self) -> None:
        self.text = ""
        self._joiner = CharacterJoiner()
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def complete(self) -> bool:
        """Whether the object is closed."""
        return self.are_an_object and self._depth == 0

    @property
    def are_an_object(self) -> bool:
        """As they should be; some servers send `[]` for none, or the object as a string in a string."""
        return self.text.startswith("{")

    def as_object(self) -> str:
        """The text of the object, once all has come; of what is none, an empty one."""
        try:
            value = from_json(self.text)
            value = from_json(value) if isinstance(value, str) else value
        except Undecodable:
            value = None
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else "{}"

    def push(self, text: str) -> str:
        """Take more; gives what of it belongs to the object."""
        if self.complete:
            return ""
        text = self._joiner.push(text)
        if not self.text:
            text = text.lstrip()
        taken = text[: self._end(text)]
        self.text += taken
        return taken

    def _end(self, text: str) -> int:
        for index, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = character == "\\"
                self._in_string = character != '"'
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self._depth = 0
                    return index + 1
        return len(text)


@dataclass(slots=True)
class _Call:
    index: int | None
    own_id: str
    """The server's; empty: none so far."""
    name: str = ""
    arguments: _Arguments = field(default_factory=_Arguments)
    call_id: str = ""
    """What the client is told; empty: nothing so far."""


class ToolCalls:
    """The function calls of one answer.

    They come out one after the other, as the interface promises: the first as it is written, as soon as its name is
    sure, the others (which a server may interleave with it) when the answer ends.
    """

    def __init__(self, tools: Sequence[Tool] = (), max_tokens: int | None = None) -> None:
        """`tools` are those that the model may call; a call that names none of them is told as it came.

        The calls are bounded here as well, since those that are told at the end are kept until then.
        """
        self._bounds = CallBounds(max_tokens)
        self._tools = {wire_name(tool.name): tool for tool in tools}
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return any(self._name(call) for call in self._calls)

    def push(self, piece: Mapping[str, Any]) -> Iterator[LlmEvent]:
        """The events that one element of a delta's `tool_calls` completes. Raises `BoundPassed`."""
        function = piece.get("function")
        function = function if isinstance(function, Mapping) else piece
        name, own_id = _word(function.get("name")), _word(piece.get("id"))
        text, index = _json_text(function.get("arguments")), piece.get("index")
        self._bounds.take(len(text))
        call = self._call_of(index if isinstance(index, int) else None, own_id, name, text)
        self._take_name(call, name)
        more = call.arguments.push(text)
        if call is not self._calls[0]:
            return
        if not call.call_id:
            if call.name and (call.name in self._tools or not self._tools):
                yield from self._tell(call)
        elif more and call.arguments.are_an_object:
            yield ToolCallDelta(call.call_id, more)

    def finish(self) -> Iterator[LlmEvent]:
        """What was not told yet. A call whose name never came and can't be guessed is left out: nobody could run it."""
        for call in self._calls:
            call.name = self._name(call)
            if not call.name:
                continue
            if not call.call_id:
                yield from self._tell(call)
            if not call.arguments.are_an_object:
                yield ToolCallDelta(call.call_id, call.arguments.as_object())

    def _tell(self, call: _Call) -> Iterator[LlmEvent]:
        # An id that two calls share (some servers have one for all) would give one of them the other's result.
        taken = {other.call_id for other in self._calls}
        call.call_id = call.own_id if call.own_id and call.own_id not in taken else f"call_{secrets.token_hex(8)}"
        tool = self._tools.get(call.name)
        yield ToolCallStarted(call.call_id, tool.name if tool else call.name)
        if call.arguments.are_an_object:
            yield ToolCallDelta(call.call_id, call.arguments.text)

    def _call_of(self, index: int | None, own_id: str, name: str, text: str) -> _Call:
        """The call that a piece continues, else a new one."""
        for call in reversed(self._calls):
            if self._continues(call, index, own_id, name, text):
                call.own_id = call.own_id or own_id
                return call
        self._bounds.begin()
        self._calls.append(_Call(index, own_id))
        return self._calls[-1]

    def _continues(self, call: _Call, index: int | None, own_id: str, name: str, text: str) -> bool:
        if own_id and own_id == call.own_id:
            return not self._begins_another(call, name, text)
        if index is not None and call.index is not None and index != call.index:
            return False
        if own_id and call.own_id and (name or call.arguments.complete):
            return False  # a new id: another call, unless it is a server that gives each piece of a call a new one
        return not self._begins_another(call, name, text)

    def _begins_another(self, call: _Call, name: str, text: str) -> bool:
        """Whether a piece that could belong to `call` by its numbers has what `call` has already."""
        if name and call.name and name != call.name and f"{call.name}{name}" not in self._tools:
            return True
        return call.arguments.complete and text.lstrip().startswith("{") and text.strip() != call.arguments.text

    def _take_name(self, call: _Call, name: str) -> None:
        if not call.name:
            # Some models write the name of a namespace before it.
            last = re.split(r"[./:]", name)[-1]
            call.name = last if name not in self._tools and last in self._tools else name
        elif f"{call.name}{name}" in self._tools:  # some servers cut names, too
            call.name += name

    def _name(self, call: _Call) -> str:
        """The call's name; where none came, the only tool that takes just these arguments."""
        if call.name:
            return call.name
        try:
            given = from_json(call.arguments.text)
        except Undecodable:
            return ""
        given = given.keys() if isinstance(given, dict) else set()
        fitting = [name for name, tool in self._tools.items() if given and given <= _parameters(tool)]
        return fitting[0] if len(fitting) == 1 else ""


def _parameters(tool: Tool) -> set[str]:
    properties = tool.parameters.get("properties")
    return set(properties) if isinstance(properties, Mapping) else set()


def _word(value: Any) -> str:
    """A name or an id, in characters that can be sent on."""
    return value.strip().encode(errors="replace").decode() if isinstance(value, str) else ""


def _json_text(arguments: Any) -> str:
    if isinstance(arguments, Mapping):
        return json.dumps(arguments, ensure_ascii=False)
    return arguments if isinstance(arguments, str) else ""
