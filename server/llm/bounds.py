"""What one answer may hold at most, whatever the model's server sends.

Pure. The bounds follow from the token limit of the request, but for that of time, which is a setting. There is so much
room that no honest model meets them: a server that keeps to the limit ends its answer long before. What passes one ends
as the token limit itself would end it.
"""

from typing import Literal

from server.llm.interface import LlmError, LlmEvent, TextDelta, ToolCallDelta, ToolCallStarted

Bound = Literal["text", "arguments", "calls", "bytes", "event", "seconds"]

MOST_EVENT_BYTES = 1 << 17
"""Of one event of the stream, which has to be there whole before it can be read: some 0.05 s of work at worst."""

MOST_CALLS = 128
"""Of functions in one answer; as many as a request may offer to OpenAI's models."""

_LEAST_TOKENS = 1024  # short limits differ from server to server by what they count
_CHARACTERS_PER_TOKEN = 16  # on average; English has 4
_BYTES_PER_TOKEN = 1024  # of the stream: each token comes as an event of its own, with names and numbers around it
_OTHER_BYTES = 4_194_304  # comments that keep the connection open, and what describes the answer


class BoundPassed(LlmError):
    """An answer is worth nothing, since what was to be a whole has no end. Another try would be no better."""

    def __init__(self, bound: Bound, message: str) -> None:
        super().__init__("interrupted", message)
        self.bound = bound

    @property
    def retryable(self) -> bool:
        """Never."""
        return False


def most_characters(max_tokens: int | None) -> int:
    """Of an answer's text, and of the arguments in it, where the request asks for `max_tokens` at most."""
    return _tokens(max_tokens) * _CHARACTERS_PER_TOKEN


class CallBounds:
    """The bounds of an answer's function calls."""

    def __init__(self, max_tokens: int | None) -> None:
        """`max_tokens` is the limit that the request asks the model to keep to."""
        self._most = self._characters = most_characters(max_tokens)
        self._calls = MOST_CALLS

    def begin(self) -> None:
        """Another call begins. Raises `BoundPassed`."""
        self._calls -= 1
        if self._calls < 0:
            raise BoundPassed("calls", f"the language model called more than {MOST_CALLS} functions at once")

    def take(self, characters: int) -> None:
        """So many more of names and arguments have come. Raises `BoundPassed`."""
        self._characters -= characters
        if self._characters < 0:
            raise BoundPassed("arguments", f"the language model wrote arguments of more than {self._most} characters")


class AnswerBounds:
    """The bounds of one answer. `passed` names the first that was passed, after which the answer is over."""

    def __init__(self, max_tokens: int, ends_at: float) -> None:
        """`max_tokens` is the limit that the request asks the model to keep to; at `ends_at` the answer is over."""
        self.ends_at = ends_at
        self._calls = CallBounds(max_tokens)
        self._characters = most_characters(max_tokens)
        self._bytes = _tokens(max_tokens) * _BYTES_PER_TOKEN + _OTHER_BYTES
        self.passed: Bound | None = None

    def wait(self, now: float) -> None:
        """More of the answer may come, and it is `now`, by the clock of `ends_at`."""
        if now >= self.ends_at:
            self.passed = "seconds"

    def receive(self, size: int) -> None:
        """So many bytes of the answer have come, thoughts and all."""
        self._bytes -= size
        if self._bytes < 0:
            self.passed = "bytes"

    def take(self, event: LlmEvent) -> LlmEvent:
        """As much of `event` as there is room for. Raises `BoundPassed` where a part of it would be worth nothing."""
        match event:
            case TextDelta(text):
                event = TextDelta(text[: self._characters])
                self._characters -= len(text)
                if self._characters < 0:
                    self.passed = "text"
            case ToolCallStarted(call_id, name):
                self._calls.begin()
                self._calls.take(len(call_id) + len(name))
            case ToolCallDelta(_, arguments):
                self._calls.take(len(arguments))
        return event


def _tokens(max_tokens: int | None) -> int:
    return max(max_tokens or 0, _LEAST_TOKENS)
