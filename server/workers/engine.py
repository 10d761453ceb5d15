"""What a speech synthesis engine is to the TTS worker: text in, PCM out, cancellable between any two chunks."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.errors import VoicefleetError


class UnknownVoice(VoicefleetError):
    """The engine has no voice of that name."""

    def __init__(self, voice: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown voice {voice!r}; this engine has: {', '.join(known)}")


class Unspeakable(VoicefleetError):
    """The text holds nothing that can be said aloud."""


class EngineBusy(VoicefleetError):
    """Every slot of the engine is taken."""


class EngineFailed(VoicefleetError):
    """The device failed under this stream; others may go on, and the same text may be asked for elsewhere."""


_INSTALLED_BY = {
    "chatterbox": "`make gpu` installs all that it needs (docs/voice.md)",
    "faster-whisper": "`make whisper` installs it (docs/models.md)",
}


class EngineMissing(VoicefleetError):
    """The engine, one that is an extra of the package, is not installed."""

    def __init__(self, engine: str, module: str | None) -> None:
        super().__init__(
            f"{engine} needs the Python package {module!r}, which is not installed; {_INSTALLED_BY[engine]}"
        )


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice an engine can speak with; `language` is a BCP 47 tag."""

    name: str
    language: str
    description: str
    is_default: bool = False


class TtsEngine(Protocol):
    """A text-to-speech engine. It is driven from one event loop and computes elsewhere (a thread, a GPU stream)."""

    name: str
    sample_rate: int

    def voices(self) -> Sequence[Voice]:
        """Every voice that can be asked for."""
        ...

    def synthesize(self, text: str, voice: str, speed: float) -> AsyncGenerator[bytes, None]:
        """Speak `text`: chunks of 16-bit little-endian mono PCM at `sample_rate`, without silence at either end.

        Closing the generator frees the engine's slot within a step. The same text, voice and speed give the same
        samples every time, so that a retry can go on where the first try broke off. An empty `voice` is the
        engine's default. Raises `UnknownVoice`, `Unspeakable`, `EngineBusy` or `EngineFailed`; anything else that it
        raises is taken for the fault of this text.
        """
        ...

    def streams(self) -> int:
        """Streams that it can speak at once in real time now; 0: no bound known. Must not block."""
        ...

    def healthy(self) -> bool:
        """False while its device is stuck or lost, and nothing can be spoken. Must not block."""
        ...

    async def warm_up(self) -> None:
        """Speak once into the void, so that the first caller does not wait for caches and compilers."""
        ...

    async def close(self) -> None:
        """Free threads and device memory."""
        ...
