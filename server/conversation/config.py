"""What a session, and one response in it, are set to. A dialect translates its own words into these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from server.audio.formats import AudioFormat
from server.conversation.endpointing import TurnDetection
from server.llm.interface import ReasoningEffort, Tool

Modality = Literal["audio", "text"]
Speculation = Literal["off", "stt", "full"]


@dataclass(frozen=True, slots=True)
class ToolFiller:
    """What is said while functions have been running for `after` seconds in which the caller heard nothing."""

    text: str
    after: float


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """How one answer is made. `max_output_tokens` None: the node's own limit; `speed` 1.0 is the voice's own pace.

    One that is not `interruptible` is heard to its end, whatever the caller says. `tool_filler` is for the functions
    that it calls; None: the caller waits in silence. `output_format` None: its audio is in the session's own.
    """

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
    interruptible: bool = True
    tool_filler: ToolFiller | None = None
    output_format: AudioFormat | None = None


@dataclass(frozen=True, slots=True)
class Truncation:
    """When the oldest items are left out, and how many.

    `post_instructions` is the most tokens of the conversation after instructions and tools (None: what the model can
    read), `retention` the fraction of it that is kept when it is exceeded. Less than all, so that the model's prompt
    cache is spoiled once in a while and not with every turn.
    """

    post_instructions: int | None = None
    retention: float = 0.8


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How a session listens (`turn_detection` None: the client commits by hand) and answers.

    `truncation` None: a conversation that outgrows the language model fails its answers. `language` is the ISO 639-1
    code of the caller's, or several, comma-separated; empty: the node's own. One that only `transcribes` gives no
    answers, of its own accord or otherwise, and tells words while the caller speaks, whatever ends their turns.
    `token_probabilities`: transcripts come with their tokens. `speculation` is the most that may begin before a turn is
    surely over; the node may allow less.
    """

    response: ResponseConfig = field(default_factory=ResponseConfig)
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)
    truncation: Truncation | None = field(default_factory=Truncation)
    language: str = ""
    vocabulary: str = ""
    transcribes: bool = False
    token_probabilities: bool = False
    speculation: Speculation = "full"
