"""What a language model is to a conversation: a request in, a stream of text and tool calls out.

Three providers stand behind it (`bedrock`, `openai_compatible`, `local`); none of their own words or types pass this
border.
"""

from binascii import b2a_base64
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from server.errors import VoicefleetError

ImageFormat = Literal["png", "jpeg", "gif", "webp"]
ImageDetail = Literal["auto", "low", "high"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image, encoded; `detail` is how closely a model that can choose is to look at it."""

    format: ImageFormat
    data: bytes = field(repr=False)
    detail: ImageDetail = "auto"

    @property
    def url(self) -> str:
        """The image as a data URI."""
        return f"data:image/{self.format};base64,{b2a_base64(self.data, newline=False).decode()}"


@dataclass(frozen=True, slots=True)
class UserText:
    """What the caller said or typed, or showed in `images`, for models that take them."""

    text: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class AssistantText:
    """What the assistant said, as far as the caller heard it."""

    text: str


@dataclass(frozen=True, slots=True)
class SystemText:
    """An instruction that the application placed inside the conversation."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call that the model made earlier; `arguments` is a JSON object as text, never empty."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the application answered to the call `call_id`."""

    call_id: str
    output: str


ChatMessage = UserText | AssistantText | SystemText | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


@dataclass(slots=True)
class Memo:
    """What the earlier requests of a call have become, so that the next one only adds to it; a provider's own.

    `messages` are the first ones of the conversation, for which everything else stands.
    """

    messages: list[ChatMessage] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    turns: list[list[ChatMessage]] = field(default_factory=list)
    wire: list[list[dict[str, Any]]] = field(default_factory=list)
    others: "dict[int, Memo]" = field(default_factory=dict)

    def of(self, model: int) -> "Memo":
        """That of one of several models, by its place among them: each may have another wire format."""
        return self.others.setdefault(model, Memo()) if model else self


def _unheard() -> None:
    """Nobody asks whether the provider lives."""


def _uncounted(_: int) -> None:
    """Nobody asks how much comes."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One answer asked for. `tool_choice` is "auto", "none", "required" or a tool's name.

    `parallel_tool_calls` False lets the answer call one function at most, `reasoning_effort` says how long a model that
    reasons may think; None leaves both to the model. `may_be_shortened` False: a request that is too long for the model
    is to fail. A provider calls `heartbeat` whenever bytes of the answer arrive, whatever they hold: thoughts and
    comments show that the model is at work. It calls `received` with how many bytes they are, about. Requests of one
    conversation share a `memo`.
    """

    instructions: str
    messages: Sequence[ChatMessage]
    tools: Sequence[Tool] = ()
    tool_choice: str = "auto"
    max_output_tokens: int | None = None
    temperature: float | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    may_be_shortened: bool = True
    heartbeat: Callable[[], None] = field(default=_unheard, compare=False, repr=False)
    received: Callable[[int], None] = field(default=_uncounted, compare=False, repr=False)
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer, as the model wrote it (markdown and all)."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model begins a function call."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of the JSON arguments of the call that was started last."""

    call_id: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The stream's last event."""

    reason: Literal["stop", "length", "tool_calls", "content_filter"]
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Shortened:
    """The request was too long for the model, which now answers one without the messages at the indexes `gone`."""

    gone: frozenset[int]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Another model, or the same one asked again, goes on from here, and closes no mark, such as a thought's."""


LlmEvent = TextDelta | ToolCallStarted | ToolCallDelta | Finished | Shortened | TakenOver

LlmFailure = Literal["throttled", "timeout", "unavailable", "invalid_request", "interrupted", "context_length_exceeded"]


class LlmError(VoicefleetError):
    """The model gave no answer, or broke off.

    `failure` says how: "interrupted" means that the stream broke after it had begun, "context_length_exceeded" that the
    request holds more than the model can read; `retryable` that the same request may succeed if sent again.
    `retry_after` is for how many seconds the server wants no other; 0: it does not say.
    """

    def __init__(self, failure: LlmFailure, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.failure = failure
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed if it is sent again."""
        return self.failure not in ("invalid_request", "context_length_exceeded")


class LlmProvider(Protocol):
    """A language model behind one of the three wire protocols."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`: text and tool calls as they come, then exactly one `Finished`. It does not shorten it.

        Closing the generator (or cancelling the task that reads it) frees the connection at once. Raises `LlmError`.
        """
        ...

    async def warm_up(self) -> None:
        """Pay now what the first request would pay: connections, model load. Raises `LlmError`."""
        ...

    async def close(self) -> None:
        """Free everything the provider holds."""
        ...
