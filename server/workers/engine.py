"""What a speech synthesis engine is to the TTS worker: text in, PCM out, cancellable between any two chunks."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.errors import VoicefleetError

FIRST_AUDIO_SECONDS = 0.5
"""No audio is late that comes so soon after it was asked for, whatever the caller's playout needed."""


class UnknownVoice(VoicefleetError):
    """The engine has no voice of that name."""

    def __init__(self, voice: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown voice {voice!r}; this engine has: {', '.join(known)}")


class Unspeakable(VoicefleetError):
    """The text holds nothing that can be said aloud."""


class UnusableProgress(VoicefleetError):
    """Nothing can go on from there: it is not of this text, or not of this engine."""


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


@dataclass(slots=True)
class Progress:
    """How far an engine has come with a text, for another to go on with the very same audio.

    The engine keeps it up to date, if what it draws depends on what else it speaks; others leave it as it is.
    """

    piece: int = 0
    """Of the pieces in which the engine says the text, the one that is being said."""
    samples: int = 0
    """Of the text's audio that come before that piece."""
    tokens: Sequence[int] = ()
    """Drawn for it so far, as the engine numbers them."""
    heard: int = 0
    """Samples of the text's audio that the caller has, and needs no more."""


class TtsEngine(Protocol):
    """A text-to-speech engine. It is driven from one event loop and computes elsewhere (a thread, a GPU stream)."""

    name: str
    sample_rate: int

    def voices(self) -> Sequence[Voice]:
        """Every voice that can be asked for."""
        ...

    def synthesize(
        self, text: str, voice: str, speed: float, needed_in: float = 0.0, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Speak `text`: chunks of 16-bit little-endian mono PCM at `sample_rate`, without silence at either end.

        Closing the generator frees the engine's slot within a step. The audio begins with the piece that `progress`
        tells of. The same text, voice, speed and progress give the same samples every time, so that a retry can go on
        where the first try broke off. An empty `voice` is the engine's default. The caller's playout needs the first
        sample in `needed_in` seconds; 0: the caller hears nothing, and waits. Raises `UnknownVoice`, `Unspeakable`,
        `UnusableProgress`, `EngineBusy` or `EngineFailed`; anything else that it raises is taken for the fault of this
        text.
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
