"""A load of listeners on one speech synthesis engine: so many streams speak at once, all the time.

A listener asks for a sentence, plays it as it comes, and asks for the next when the last has been played. It collects
what each heard; what the engine costs is others' to say.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from server.workers.engine import EngineBusy

SENTENCES = (
    "Thank you for calling. How may I help you today?",
    "Your order left our warehouse this morning and should be with you by Thursday afternoon.",
    "I can move the appointment to half past three, or to any time on Monday, if that suits you better.",
    "Yes, of course.",
    "The total comes to forty-two pounds and eighty pence, including delivery, and you can pay by card or on account.",
    "Let me just check that for you. One moment, please.",
    "We are open from nine to five on weekdays, and from ten to two on Saturdays, but the line is staffed all day.",
    "Is there anything else that I can do for you?",
)
"""What is said: as long and as short as what a voice agent says, 14 to 112 characters."""

_CHARACTERS_PER_SECOND = 15.0
_BYTES_PER_SAMPLE = 2
_STAGGER_SECONDS = 4.0  # over which the listeners begin, so that they are out of step


def speech_tokens(text: str) -> int:
    """About as many speech tokens, 25 a second, as a voice takes to say `text`: for weights that never stop."""
    return max(10, round(len(text) / _CHARACTERS_PER_SECOND * 25))


class Speaker(Protocol):
    """What is listened to: a `TtsEngine`, or whatever speaks as one does."""

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        ...

    def synthesize(self, text: str, voice: str, speed: float) -> AsyncGenerator[bytes, None]:
        """See `TtsEngine`. Raises `EngineBusy`."""
        ...


@dataclass(slots=True)
class Heard:
    """What all listeners lived through. Seconds."""

    first_audio: list[float] = field(default_factory=list)
    """Of each sentence: from asking to the first audio."""
    underruns: int = 0
    chunks: int = 0
    refused: int = 0
    audio: float = 0.0


async def listen(engine: Speaker, streams: int, seconds: float, sentences: Sequence[str] = SENTENCES) -> Heard:
    """Let so many listeners listen; none asks for another sentence after `seconds`."""
    heard = Heard()
    ends_at = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for index in range(streams):
            delay = min(_STAGGER_SECONDS, seconds / 4) * index / streams
            tasks.create_task(_listener(engine, heard, index, delay, ends_at, sentences))
    return heard


async def _listener(
    engine: Speaker, heard: Heard, index: int, delay: float, ends_at: float, sentences: Sequence[str]
) -> None:
    await asyncio.sleep(delay)
    turn = index
    while time.monotonic() < ends_at:
        try:
            played_at = await _sentence(engine, heard, sentences[turn % len(sentences)])
        except EngineBusy:
            heard.refused += 1
            played_at = time.monotonic() + 0.5
        turn += 1
        await asyncio.sleep(played_at - time.monotonic())


async def _sentence(engine: Speaker, heard: Heard, text: str) -> float:
    """Hear one sentence; gives when its last sample is played."""
    asked_at = time.monotonic()
    plays_until = 0.0
    async for pcm in engine.synthesize(text, "", 1.0):
        now = time.monotonic()
        if not plays_until:
            heard.first_audio.append(now - asked_at)
            plays_until = now
        elif now > plays_until:
            heard.underruns += 1
            plays_until = now
        seconds = len(pcm) / (_BYTES_PER_SAMPLE * engine.sample_rate)
        plays_until += seconds
        heard.audio += seconds
        heard.chunks += 1
    return plays_until
