"""What a language model may write that is hard on whoever reads it, and a plain long answer for everybody else."""

import json
from collections.abc import Callable
from typing import Any

from tests.support.openai_llm_standin import Answer, Raw, Request, by_rules

ANSWER = "We are open every day from nine to six, and on Thursdays until eight in the evening."
"""Some five seconds of the stand-in's voice."""

_TOKENS = 512


def _event(delta: dict[str, Any], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]})


def _writes(token: str) -> Raw:
    """A word, and then this token again and again."""
    said = [_event({"content": text}) for text in ("Well", *[token] * _TOKENS, ".")]
    return Raw((*said, _event({}, "stop"), "[DONE]"))


def _calls_with(piece: str) -> Raw:
    """A function call with one argument, of this piece again and again."""
    function = {"name": "look_up", "arguments": '{"text": "'}
    begun = {"index": 0, "id": "call_1", "type": "function", "function": function}
    more = [{"index": 0, "function": {"arguments": text}} for text in (*[piece] * _TOKENS, '"}')]
    return Raw((*(_event({"tool_calls": [call]}) for call in (begun, *more)), _event({}, "tool_calls"), "[DONE]"))


def hostile_model() -> Callable[[Request], Answer]:
    """How the stand-in answers: what is hard to read for whoever asks for it by name, else `ANSWER`."""
    rules: dict[str, Answer] = {
        "write blanks": _writes(" " * 16),
        "write letters": _writes("a " * 20),
        "write brackets": _writes("[" * 40),
        "write without spaces": _writes("a" * 40),
        "call with arguments": _calls_with("a" * 128),
    }
    return by_rules(rules, otherwise=lambda _: ANSWER)
