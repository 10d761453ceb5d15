"""What a session of the OpenAI Realtime API (GA) is made of, as types: formats, turn detection, tools, audio.

Pure. Settings that this server has no use for are taken and shown again, never refused: clients send them unasked.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from server.llm.interface import ReasoningEffort

Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
TokenLimit = Annotated[int, Meta(ge=1, le=4096)] | Literal["inf"]
_Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
_Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]


class Pcm(Struct, tag="audio/pcm", tag_field="type"):
    """16-bit little-endian mono PCM."""

    rate: Literal[8000, 16000, 24000, 48000] = 24000


class Pcmu(Struct, tag="audio/pcmu", tag_field="type"):
    """G.711 mu-law at 8 kHz."""


class Pcma(Struct, tag="audio/pcma", tag_field="type"):
    """G.711 A-law at 8 kHz."""


Format = Pcm | Pcmu | Pcma


EagernessName = Literal["low", "medium", "high", "auto"]


class ServerVad(Struct, tag="server_vad", tag_field="type"):
    """Turns end after a silence; with `x_eagerness`, as those of `semantic_vad` do."""

    threshold: _Probability = 0.5
    prefix_padding_ms: _Milliseconds = 300
    silence_duration_ms: _Milliseconds = 500
    idle_timeout_ms: Annotated[int, Meta(ge=1000, le=600_000)] | None = None
    create_response: bool = True
    interrupt_response: bool = True
    x_eagerness: EagernessName | None = None


class SemanticVad(Struct, tag="semantic_vad", tag_field="type"):
    """Turns end when the caller sounds finished."""

    eagerness: EagernessName = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Struct, omit_defaults=True):
    """How the caller's words are told to the client; the model's name is taken and mapped to the node's own.

    `languages` are those that the caller may speak, as well as `language`; `keywords` are words to expect, as well as
    those of `prompt`. What is not set is not shown: pipecat's own type refuses a field that it does not know.
    """

    model: str | None = None
    language: str | None = None
    languages: list[str] | None = None
    prompt: str | None = None
    keywords: list[str] | None = None


class FunctionTool(Struct, tag="function", tag_field="type"):
    """A function that the client runs."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class McpTool(Struct, tag="mcp", tag_field="type"):
    """A remote tool server: refused, but by name."""

    server_label: str = ""


Tool = FunctionTool | McpTool


class WireToolFiller(Struct):
    """What is said while functions run, after so much silence."""

    text: Annotated[str, Meta(max_length=300, pattern=r"\S")]
    after_ms: _Milliseconds = 800


class ToolChoiceFunction(Struct):
    """One function that the model has to call."""

    type: Literal["function"]
    name: str


ToolChoice = Literal["auto", "none", "required"] | ToolChoiceFunction


class Reasoning(Struct):
    """How long a model that reasons may think."""

    effort: ReasoningEffort | None = None


class TokenLimits(Struct):
    """The most tokens of a conversation after instructions and tools."""

    post_instructions: Annotated[int, Meta(ge=1)] | None = None


class RetentionRatio(Struct, tag="retention_ratio", tag_field="type"):
    """How much of the most tokens is kept when a conversation exceeds them."""

    retention_ratio: _Probability
    token_limits: TokenLimits | None = None


class AudioInput(Struct):
    """How the session listens."""

    format: Format = msgspec.field(default_factory=Pcm)
    transcription: Transcription | None = None
    noise_reduction: Any = None
    turn_detection: ServerVad | SemanticVad | None = msgspec.field(default_factory=ServerVad)


class AudioOutput(Struct):
    """How the session sounds. Any voice is taken; one that the engine lacks becomes its default."""

    format: Format = msgspec.field(default_factory=Pcm)
    voice: str | dict[str, Any] = "default"
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0


class Audio(Struct):
    """The session's two directions."""

    input: AudioInput = msgspec.field(default_factory=AudioInput)
    output: AudioOutput = msgspec.field(default_factory=AudioOutput)
