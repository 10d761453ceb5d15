"""What a session, and one response in it, are set to. A dialect translates its own words into these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from server.conversation.context import Truncation
from server.conversation.endpointing import TurnDetection
from server.llm.interface import ReasoningEffort, Tool

Modality = Literal["audio", "text"]


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """How one answer is made. `max_output_tokens` None: the node's own limit; `speed` 1.0 is the voice's own pace."""

    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    modality: Modality = "audio"
    voice: str = ""
    speed: float = 1.0
    max_output_tokens: int | None = None
    temperature: float | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    metadata: Mapping[str, str] | None = None
    in_conversation: bool = True


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How a session listens (`turn_detection` None: the client commits by hand) and answers.

    `truncation` None: a conversation that outgrows the language model fails its answers. `language` is the ISO 639-1
    code of the caller's, or several, comma-separated; empty: the node's own.
    """

    response: ResponseConfig = field(default_factory=ResponseConfig)
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)
    truncation: Truncation | None = field(default_factory=Truncation)
    language: str = ""
    vocabulary: str = ""
