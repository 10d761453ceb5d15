"""Reads what a language model's server sends, under one guard that knows every way in which that fails.

Pure. Bytes that are no UTF-8, JSON that is none or is nested without end, values of another type than the
specification's, numbers that nothing can hold: each costs itself where it can, and else is a typed failure.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from server.llm.interface import LlmError

MOST_TOKENS = 10_000_000
"""No request and no answer has more; it is also the most that VOICE_LLM_CONTEXT_TOKENS takes."""

# JSON or UTF-8 that is none, too deep, and integers of too many digits (for msgspec, Python and a machine's word).
_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


class Undecodable(ValueError):
    """It is no JSON, or none that can be held."""


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Inside, `what` a model's server sent is read. Whatever goes wrong there raises `LlmError`."""
    try:
        yield
    except LlmError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise LlmError("interrupted", f"the language model's server sent {what} that can't be read ({kind})") from None


def from_json(data: bytes | str) -> Any:
    """The value of `data`. Raises `Undecodable`."""
    try:
        return msgspec.json.decode(data)
    except _UNDECODABLE as error:
        raise Undecodable(type(error).__name__) from None


def from_json_with_halves(data: bytes) -> Any:
    """The same, where half a character, which is no JSON, may stand in a text: it is half a surrogate pair there."""
    try:
        return from_json(data)
    except Undecodable:
        pass
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"))
    except _UNDECODABLE as error:
        raise Undecodable(type(error).__name__) from None


def to_text(value: Any) -> str:
    """`value`, which was decoded, as words to search in; empty if it is nested too deeply for that."""
    try:
        return str(value)
    except _UNDECODABLE:
        return ""


def token_count(value: Any) -> int:
    """How many tokens a server says there were; 0 where it says nothing of the kind."""
    return min(value, MOST_TOKENS) if type(value) is int and value > 0 else 0
