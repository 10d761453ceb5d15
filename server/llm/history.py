"""Brings a conversation's history into the shape that every model's wire format asks for: each call with its result.

Pure. A conversation may hold calls that nobody has answered yet, answers that came late and answers to calls that were
deleted; the services refuse all of these.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from server.llm.interface import AssistantText, ChatMessage, SystemText, ToolCall, ToolResult, UserText

_NO_RESULT = "No result yet."


def well_formed(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """`messages` with blank texts dropped and each run of calls followed by exactly their results, in their order.

    A call without a result gets a placeholder. A result that does not directly follow its call becomes a `UserText`
    at its place, so that nothing the application told the model is lost.
    """
    shaped: list[ChatMessage] = []
    names: dict[str, str] = {}
    open_calls: list[ToolCall] = []
    for kind, group in groupby(filter(_says_something, messages), key=_kind):
        run = list(group)
        if open_calls or kind == "results":
            results = [message for message in run if isinstance(message, ToolResult)]
            shaped += _answers(open_calls, results, names)
            open_calls = []
        if kind == "assistant":
            calls = {message.call_id: message for message in run if isinstance(message, ToolCall)}
            open_calls = [call for call_id, call in calls.items() if call_id not in names]
            names |= {call.call_id: call.name for call in open_calls}
            shaped += [message for message in run if isinstance(message, AssistantText)]
            shaped += open_calls
        elif kind != "results":
            shaped += run
    return shaped + _answers(open_calls, [], names)


def _says_something(message: ChatMessage) -> bool:
    return isinstance(message, ToolCall | ToolResult) or bool(message.text.strip())


def _kind(message: ChatMessage) -> str:
    match message:
        case AssistantText() | ToolCall():
            return "assistant"
        case ToolResult():
            return "results"
        case UserText() | SystemText():
            return "user"


def _answers(calls: Iterable[ToolCall], results: Iterable[ToolResult], names: dict[str, str]) -> list[ChatMessage]:
    given = {result.call_id: result for result in results}
    paired: list[ChatMessage] = [given.pop(call.call_id, ToolResult(call.call_id, _NO_RESULT)) for call in calls]
    late = [
        UserText(f"Result of {names.get(call_id, 'a function')}: {result.output}") for call_id, result in given.items()
    ]
    return paired + late
