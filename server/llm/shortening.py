"""What to leave out of a conversation that holds more than a language model can read.

Pure. Instructions stay, and so does the newest turn; a function's call and its result stay or go together. The size of
a text is estimated, since every model cuts text into tokens in its own way.
"""

import math
import re
from collections.abc import Callable, Sequence

from server.llm.interface import ChatMessage, SystemText, ToolCall, ToolResult, UserText

_MESSAGE_TOKENS = 8  # what a chat template puts around a message
_IMAGE_TOKENS = 1600  # a large image, by Anthropic's rule; others count fewer
_PLAIN = re.compile(r"[a-zA-Z ]+")


def text_tokens(text: str) -> int:
    """At least as many tokens as `text` has, but for oddities: 3 letters a token, any other byte one of its own."""
    rest = _PLAIN.sub("", text)
    return math.ceil((len(text) - len(rest)) / 3) + len(rest.encode(errors="replace"))


def message_tokens(message: ChatMessage) -> int:
    """The same of a whole message."""
    match message:
        case ToolCall(_, name, arguments):
            return _MESSAGE_TOKENS + text_tokens(name) + text_tokens(arguments)
        case ToolResult(_, text):
            return _MESSAGE_TOKENS + text_tokens(text)
        case UserText(text, images):
            return _MESSAGE_TOKENS + text_tokens(text) + _IMAGE_TOKENS * len(images)
    return _MESSAGE_TOKENS + text_tokens(message.text)


def left_out(
    messages: Sequence[ChatMessage], surplus: float, size: Callable[[ChatMessage], float] = message_tokens
) -> frozenset[int]:
    """Which of `messages` go, the oldest first, until they make up `surplus`; fewer if all the others have to stay.

    System texts stay: the application put them there as instructions. Of the newest turn, which begins with the user's
    last words, only functions' calls and results go, but for the last of them.
    """
    gone: set[int] = set()
    for group in _oldest_first(messages):
        if surplus <= 0:
            break
        surplus -= sum(size(messages[index]) for index in group)
        gone.update(group)
    return frozenset(gone)


def _oldest_first(messages: Sequence[ChatMessage]) -> list[list[int]]:
    """What may go, as groups that go as one."""
    newest = max((index for index, message in enumerate(messages) if isinstance(message, UserText)), default=0)
    groups: list[list[int]] = []
    calls: dict[str, list[int]] = {}
    for index, message in enumerate(messages):
        match message:
            case ToolCall(call_id) | ToolResult(call_id, _) if call_id in calls:
                calls[call_id].append(index)
            case ToolCall(call_id) | ToolResult(call_id, _):
                calls[call_id] = [index]
                groups.append(calls[call_id])
            case SystemText():
                pass
            case _ if index < newest:
                groups.append([index])
    if groups and isinstance(messages[groups[-1][0]], ToolCall | ToolResult):
        last = groups[-1]
        if last[-1] > newest:
            groups.pop()
    return groups
