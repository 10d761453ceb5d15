"""The session object of the OpenAI Realtime API (GA): what a client sets, what it is told, what it means to us.

Settings that this server has no use for (tracing, noise reduction) are taken and shown again, never refused: clients
send them unasked. What can't be honoured and would be missed (MCP tools, a language that the node does not understand)
is refused by name.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from server.audio.formats import AudioFormat
from server.conversation.config import Modality, ResponseConfig, SessionConfig, ToolFiller, Truncation
from server.conversation.endpointing import TurnDetection
from server.conversation.turn_policy import Eagerness
from server.dialects.openai.languages import language_code
from server.llm.interface import ReasoningEffort
from server.llm.interface import Tool as LlmTool

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


_Eagerness = Literal["low", "medium", "high", "auto"]


class ServerVad(Struct, tag="server_vad", tag_field="type"):
    """Turns end after a silence; with `x_eagerness`, as those of `semantic_vad` do."""

    threshold: _Probability = 0.5
    prefix_padding_ms: _Milliseconds = 300
    silence_duration_ms: _Milliseconds = 500
    idle_timeout_ms: Annotated[int, Meta(ge=1000, le=600_000)] | None = None
    create_response: bool = True
    interrupt_response: bool = True
    x_eagerness: _Eagerness | None = None


class SemanticVad(Struct, tag="semantic_vad", tag_field="type"):
    """Turns end when the caller sounds finished."""

    eagerness: _Eagerness = "auto"
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


class Session(Struct, kw_only=True):
    """A session's settings, whole."""

    type: Literal["realtime"] = "realtime"
    object: str = "realtime.session"
    id: str
    model: str
    output_modalities: list[Literal["text", "audio"]] = msgspec.field(default_factory=lambda: ["audio"])
    instructions: str
    tools: list[Tool] = msgspec.field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    max_output_tokens: TokenLimit = "inf"
    audio: Audio = msgspec.field(default_factory=Audio)
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"
    include: Any = None
    prompt: Any = None
    tracing: Any = None
    x_interruptible: bool = True
    x_temperature: Temperature | None = None
    x_tool_filler: WireToolFiller | None = None
    x_turn_timings: bool = False
    x_session_expiring: bool = False
    x_resume: bool = False

    def updated(self, patch: dict[str, Any]) -> "Session":
        """This session with a client's partial settings laid over it; a setting given as null is its default again.

        Model and instructions have none, and stay. What the patch does not name is neither read nor copied: tools can
        be many.

        Raises `msgspec.ValidationError` with the path of what is wrong.
        """
        base = {"audio": msgspec.to_builtins(self.audio)} if "audio" in patch else {}
        merged = _merge(base, patch)
        merged |= {"id": self.id, "object": self.object}
        merged.setdefault("model", self.model)
        merged.setdefault("instructions", self.instructions)
        changed = msgspec.convert(merged, Session)
        own = {name: getattr(changed, name) for name in self.__struct_fields__ if name in patch}
        return msgspec.structs.replace(self, **own)

    def config(self) -> SessionConfig:
        """What the settings mean to a conversation."""
        transcription = self.audio.input.transcription or Transcription()
        return SessionConfig(
            response=ResponseConfig(
                instructions=self.instructions,
                tools=llm_tools(self.tools),
                tool_choice=tool_choice(self.tool_choice),
                modality=modality(self.output_modalities),
                voice=voice_name(self.audio.output.voice),
                speed=self.audio.output.speed,
                max_output_tokens=token_limit(self.max_output_tokens),
                temperature=self.x_temperature,
                parallel_tool_calls=self.parallel_tool_calls,
                reasoning_effort=self.reasoning.effort if self.reasoning else None,
                interruptible=self.x_interruptible,
                tool_filler=tool_filler(self.x_tool_filler),
            ),
            turn_detection=_turn_detection(self.audio.input.turn_detection),
            truncation=_truncation(self.truncation),
            language=",".join(languages(transcription)),
            vocabulary=", ".join(filter(None, [transcription.prompt, *(transcription.keywords or ())])),
        )


# Objects whose fields are set one by one; any other value is set whole.
_MERGED_OBJECTS = frozenset({"audio", "input", "output"})
_NULL_MEANS_OFF = frozenset({"turn_detection", "transcription"})


def _merge(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in patch.items():
        if value is None and key not in _NULL_MEANS_OFF:
            merged.pop(key, None)
        elif key in _MERGED_OBJECTS and isinstance(value, dict):
            merged[key] = _merge(merged.get(key, {}), value)
        else:
            merged[key] = value
    return merged


def audio_format(wire: Format) -> AudioFormat:
    """The audio package's name for a wire format."""
    match wire:
        case Pcm(rate=rate):
            return AudioFormat.of("audio/pcm", rate)
        case Pcmu():
            return AudioFormat.of("audio/pcmu")
        case Pcma():
            return AudioFormat.of("audio/pcma")


def languages(transcription: Transcription) -> tuple[str, ...]:
    """The codes of the languages that the caller may speak, without repetition; none: as the node is set."""
    named = [transcription.language, *(transcription.languages or ())]
    return tuple(dict.fromkeys(code for name in named if name and (code := language_code(name))))


def llm_tools(tools: list[Tool]) -> tuple[LlmTool, ...]:
    """The functions among the tools."""
    return tuple(
        LlmTool(tool.name, tool.description or "", tool.parameters or {"type": "object", "properties": {}})
        for tool in tools
        if isinstance(tool, FunctionTool)
    )


def tool_choice(choice: ToolChoice) -> str:
    """The mode, or the name of the one function."""
    return choice.name if isinstance(choice, ToolChoiceFunction) else choice


def tool_filler(wire: WireToolFiller | None) -> ToolFiller | None:
    """None where the caller waits in silence."""
    return ToolFiller(wire.text, wire.after_ms / 1000) if wire else None


def modality(modalities: list[Literal["text", "audio"]]) -> Modality:
    """Audio brings its transcript along, so the two together are audio."""
    return "text" if modalities == ["text"] else "audio"


def voice_name(voice: str | dict[str, Any]) -> str:
    """The name in either of a voice's two forms."""
    return str(voice.get("id", "")) if isinstance(voice, dict) else voice


def token_limit(limit: int | Literal["inf"]) -> int | None:
    """None where the client sets no limit."""
    return None if limit == "inf" else limit


def _truncation(wire: Literal["auto", "disabled"] | RetentionRatio) -> Truncation | None:
    match wire:
        case "disabled":
            return None
        case "auto":
            return Truncation()
        case RetentionRatio():
            limits = wire.token_limits or TokenLimits()
            return Truncation(limits.post_instructions, wire.retention_ratio)


def _turn_detection(wire: ServerVad | SemanticVad | None) -> TurnDetection | None:
    match wire:
        case None:
            return None
        case SemanticVad():
            return TurnDetection(
                eagerness=_eagerness(wire.eagerness),
                create_response=wire.create_response,
                interrupt_response=wire.interrupt_response,
            )
        case ServerVad():
            return TurnDetection(
                threshold=wire.threshold,
                prefix_padding=wire.prefix_padding_ms / 1000,
                silence=wire.silence_duration_ms / 1000,
                idle_timeout=wire.idle_timeout_ms / 1000 if wire.idle_timeout_ms else None,
                create_response=wire.create_response,
                interrupt_response=wire.interrupt_response,
                eagerness=_eagerness(wire.x_eagerness) if wire.x_eagerness else None,
            )


def _eagerness(wire: _Eagerness) -> Eagerness:
    return "medium" if wire == "auto" else wire
