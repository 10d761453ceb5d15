"""The session object of the OpenAI Realtime API (GA): what a client sets, what it is told, what it means to us.

Settings that this server has no use for (tracing, noise reduction) are taken and shown again, never refused: clients
send them unasked. What can't be honoured and would be missed (MCP tools, a language that the node does not understand)
is refused by name.
"""

from dataclasses import replace
from typing import Any, Literal

import msgspec
from msgspec import Struct

from server.audio.formats import AudioFormat
from server.conversation.config import Modality, ResponseConfig, SessionConfig, Speculation, ToolFiller, Truncation
from server.conversation.endpointing import TurnDetection
from server.conversation.turn_policy import Eagerness
from server.dialects.languages import language_code
from server.dialects.openai.session_parts import (
    Audio,
    AudioInput,
    EagernessName,
    Format,
    FunctionTool,
    Pcm,
    Pcma,
    Pcmu,
    Reasoning,
    RetentionRatio,
    SemanticVad,
    ServerVad,
    Temperature,
    TokenLimit,
    TokenLimits,
    Tool,
    ToolChoice,
    ToolChoiceFunction,
    Transcription,
    WireToolFiller,
)
from server.llm.interface import Tool as LlmTool

DEFAULT_MODEL = "voicefleet"
"""What a session shows that names none."""

_PROBABILITIES = "item.input_audio_transcription.logprobs"


class TranscriptionAudio(Struct):
    """The one direction of a transcription session."""

    input: AudioInput


class TranscriptionSession(Struct, kw_only=True):
    """A session that only transcribes, as its client is shown it."""

    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    expires_at: int | None
    audio: TranscriptionAudio
    include: list[str] | None
    x_session_expiring: bool
    x_resume: bool


class Session(Struct, kw_only=True):
    """A session's settings, whole; of one of type `transcription`, most are without effect.

    `expires_at` is when it ends at the latest, in seconds since 1970.
    """

    type: Literal["realtime", "transcription"] = "realtime"
    object: str = "realtime.session"
    id: str
    model: str
    expires_at: int | None = None
    output_modalities: list[Literal["text", "audio"]] = msgspec.field(default_factory=lambda: ["audio"])
    instructions: str
    tools: list[Tool] = msgspec.field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    max_output_tokens: TokenLimit = "inf"
    audio: Audio = msgspec.field(default_factory=Audio)
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"
    include: list[str] | None = None
    prompt: Any = None
    tracing: Any = None
    x_interruptible: bool = True
    x_temperature: Temperature | None = None
    x_tool_filler: WireToolFiller | None = None
    x_turn_timings: bool = False
    x_turn_decisions: bool = False
    x_speculation: Speculation = "full"
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
        merged |= {"id": self.id, "object": self.object, "expires_at": self.expires_at}
        merged.setdefault("model", self.model)
        merged.setdefault("instructions", self.instructions)
        changed = msgspec.convert(merged, Session)
        own = {name: getattr(changed, name) for name in self.__struct_fields__ if name in patch}
        return msgspec.structs.replace(self, **own)

    @property
    def transcribes(self) -> bool:
        """Whether it only transcribes."""
        return self.type == "transcription"

    @property
    def tells_words(self) -> bool:
        """Whether the client is told what the caller says."""
        return self.transcribes or self.audio.input.transcription is not None

    @property
    def tells_probabilities(self) -> bool:
        """Whether the client is told how probable the words are."""
        return _PROBABILITIES in (self.include or ())

    def shown(self) -> "Session | TranscriptionSession":
        """The session as its client is shown it."""
        if not self.transcribes:
            return self
        return TranscriptionSession(
            id=self.id,
            expires_at=self.expires_at,
            audio=TranscriptionAudio(self.audio.input),
            include=self.include,
            x_session_expiring=self.x_session_expiring,
            x_resume=self.x_resume,
        )

    def config(self) -> SessionConfig:
        """What the settings mean to a conversation."""
        transcription = self.audio.input.transcription or Transcription()
        turn_detection = _turn_detection(self.audio.input.turn_detection)
        if turn_detection and self.transcribes:
            turn_detection = replace(turn_detection, idle_timeout=None, create_response=False, interrupt_response=False)
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
            turn_detection=turn_detection,
            truncation=_truncation(self.truncation),
            language=",".join(languages(transcription)),
            vocabulary=", ".join(filter(None, [transcription.prompt, *(transcription.keywords or ())])),
            transcribes=self.transcribes,
            token_probabilities=self.tells_probabilities,
            speculation=self.x_speculation,
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


def wire_format(own: AudioFormat) -> Format:
    """The wire's name for a format of the audio package."""
    match own.type:
        case "audio/pcmu":
            return Pcmu()
        case "audio/pcma":
            return Pcma()
    return Pcm(own.rate)  # type: ignore[arg-type]  # one of those that `audio_format` gives


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


def _eagerness(wire: EagernessName) -> Eagerness:
    return "medium" if wire == "auto" else wire
