"""Brings a conversation's history into the shape that the strictest service takes.

Pure. A conversation may hold calls that nobody has answered yet, answers that came late, answers to calls that were
deleted, arguments that are no JSON, two turns of the caller in a row and instructions in the middle. Services and chat
templates refuse each of these, so every provider sends what is made here.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

from server.llm.decoding import Undecodable, from_json
from server.llm.interface import AssistantText, ChatMessage, Memo, SystemText, ToolCall, ToolResult, UserText

_NO_RESULT = "No result yet."
_NO_OUTPUT = "No output."
_OPENING = UserText("(The call begins.)")
_GO_ON = UserText("(Go on.)")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A history in shape: the instructions, and turns of which the first, the third ... and the last are the user's.

    A user's turn holds first the results of all calls of the turn before it, then texts; an assistant's first texts,
    then calls. No text is blank but beside an image, and all texts of a user's turn are `UserText`s.
    """

    instructions: list[str]
    turns: list[list[ChatMessage]]


def dialogue(instructions: str, messages: Sequence[ChatMessage], memo: Memo | None = None) -> Dialogue:
    """`messages` under `instructions`, in shape. System texts that open the conversation are instructions too.

    Of a conversation that has only grown since the last request with the same `memo`, only what is new is shaped.
    """
    messages, memo = list(messages), memo or Memo()
    grown = messages[: len(memo.messages)] == memo.messages
    # What the assistant was asked for in passing ("go on") is not there any more: its two texts are one turn.
    if not grown or (memo.messages and _is_assistants_first(messages[len(memo.messages) :])):
        memo.messages, memo.instructions, memo.names, memo.turns, memo.wire = [], [], {}, [], []
    names = dict(memo.names)
    shaped = well_formed(messages[len(memo.messages) :], names)
    opening = list(memo.instructions)
    while not memo.turns and shaped and isinstance(system := shaped[0], SystemText):
        opening.append(system.text)
        del shaped[0]
    turns = list(memo.turns)
    for by_assistant, turn in groupby(map(_inside, shaped), key=_is_assistants):
        if by_assistant and not turns:
            turns.append([_OPENING])
        turns.append(list(turn))
    if len(turns) % 2 == 0:
        turns.append([_GO_ON if turns else _OPENING])
    settled = _settled(messages)
    if settled > len(memo.messages) and all(isinstance(message, AssistantText) for message in turns[-2]):
        memo.messages, memo.instructions, memo.names, memo.turns = messages[:settled], opening, names, turns[:-1]
    return Dialogue([instructions, *opening] if instructions.strip() else opening, turns)


def in_wire_format(
    shaped: Dialogue, memo: Memo, write: Callable[[bool, list[ChatMessage]], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """All turns as `write` makes messages of each, given whether it is the assistant's; of settled turns only once."""
    wire = memo.wire + [
        write(index % 2 == 1, shaped.turns[index]) for index in range(len(memo.wire), len(shaped.turns))
    ]
    memo.wire = wire[: len(memo.turns)]
    return list(chain.from_iterable(wire))


def _settled(messages: Sequence[ChatMessage]) -> int:
    """How many of the first messages the user's last texts, which end the conversation, follow; 0: none do.

    What comes after those texts changes nothing of what is before them, if that ends with the assistant's texts.
    """
    for index in range(len(messages), 0, -1):
        message = messages[index - 1]
        if isinstance(message, ToolResult):
            return 0
        if _is_assistants(message) and _says_something(message):
            return index if any(map(_says_something, messages[index:])) else 0
    return 0


def well_formed(messages: Sequence[ChatMessage], names: dict[str, str] | None = None) -> list[ChatMessage]:
    """`messages` with blank texts dropped and each run of calls followed by exactly their results, in their order.

    A call without a result gets a placeholder. A result that does not directly follow its call becomes a `UserText`
    at its place, so that nothing the application told the model is lost. Arguments that are no JSON object (a call
    that was cut off, say) become an empty one. `names` are the functions of the calls before these messages, by the
    calls' ids; those of these are added.
    """
    shaped: list[ChatMessage] = []
    names = {} if names is None else names
    open_calls: list[ToolCall] = []
    for kind, group in groupby(filter(_says_something, messages), key=_kind):
        run = list(group)
        if open_calls or kind == "results":
            results = [message for message in run if isinstance(message, ToolResult)]
            shaped += _answers(open_calls, results, names)
            open_calls = []
        if kind == "assistant":
            calls = {message.call_id: message for message in run if isinstance(message, ToolCall)}
            open_calls = [_with_json_object(call) for call_id, call in calls.items() if call_id not in names]
            names.update({call.call_id: call.name for call in open_calls})
            shaped += [message for message in run if isinstance(message, AssistantText)]
            shaped += open_calls
        elif kind != "results":
            shaped += run
    return shaped + _answers(open_calls, [], names)


def wire_name(name: str) -> str:
    """A tool's name as services take it: up to 64 letters, digits, `_` and `-`."""
    return name if _NAME.fullmatch(name) else re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "_"


def wire_call_id(call_id: str) -> str:
    """`call_id`, or where a client chose one that services refuse, another that is always the same."""
    return call_id if _NAME.fullmatch(call_id) else f"call_{zlib.crc32(call_id.encode()):08x}"


def _inside(message: ChatMessage) -> ChatMessage:
    """A system text in the middle of a conversation, where services take none, is the user's word."""
    return UserText(f"(Instruction: {message.text})") if isinstance(message, SystemText) else message


def _is_assistants(message: ChatMessage) -> bool:
    return isinstance(message, AssistantText | ToolCall)


def _is_assistants_first(messages: Iterable[ChatMessage]) -> bool:
    first = next(filter(_says_something, messages), None)
    return first is not None and _is_assistants(first)


def _says_something(message: ChatMessage) -> bool:
    shows = isinstance(message, UserText) and message.images
    return isinstance(message, ToolCall | ToolResult) or bool(shows or message.text.strip())


def _kind(message: ChatMessage) -> str:
    match message:
        case AssistantText() | ToolCall():
            return "assistant"
        case ToolResult():
            return "results"
        case UserText() | SystemText():
            return "user"


def _with_json_object(call: ToolCall) -> ToolCall:
    try:
        is_object = isinstance(from_json(call.arguments), dict)
    except Undecodable:
        is_object = False
    return call if is_object else replace(call, arguments="{}")


def _answers(calls: Iterable[ToolCall], results: Iterable[ToolResult], names: dict[str, str]) -> list[ChatMessage]:
    given = {result.call_id: result.output if result.output.strip() else _NO_OUTPUT for result in results}
    paired: list[ChatMessage] = [ToolResult(call.call_id, given.pop(call.call_id, _NO_RESULT)) for call in calls]
    late = [UserText(f"Result of {names.get(call_id, 'a function')}: {output}") for call_id, output in given.items()]
    return paired + late
