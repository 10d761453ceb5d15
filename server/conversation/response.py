"""One answer of the assistant: what it was asked to be, how far it came, how it ended."""

from dataclasses import dataclass, field, replace
from typing import Literal

from server.conversation.config import ResponseConfig
from server.conversation.history import FunctionCall, Item, snapshot
from server.llm.interface import Usage

ResponseStatus = Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]
EndReason = Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]

STATUS_OF: dict[str, tuple[ResponseStatus, EndReason | None]] = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "content_filter": ("incomplete", "content_filter"),
}
"""How an answer ends that the language model has ended, by its reason."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an answer failed, in words that may be shown to the client."""

    code: str
    message: str


@dataclass(slots=True)
class Response:
    """An answer. `reason` is set when it was cancelled or is incomplete, `failure` when it failed."""

    id: str
    config: ResponseConfig
    status: ResponseStatus = "in_progress"
    reason: EndReason | None = None
    failure: Failure | None = None
    output: list[Item] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    @property
    def calls(self) -> bool:
        """Whether the application was told to run a function."""
        return any(isinstance(item, FunctionCall) and item.status == "completed" for item in self.output)

    def snapshot(self) -> "Response":
        """The response as it stands now."""
        return replace(self, output=[snapshot(item) for item in self.output])
