"""A caller on the line to a real node: speaks in real time, with a synthesised or a recorded voice, and hears all that
comes back. For tests of what is heard and in which order; what they wait for, they wait for long.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from server.audio import Samples
from server.client.caller import WIRE_RATE, Caller, Speech, call
from tests.support.node import NodeProcess
from tests.support.speech import resample, speak

Event = dict[str, Any]

_PATIENCE = 30.0  # seconds for what takes one: on a busy machine a sentence's words may take as long as the sentence


async def voice_of(text: str) -> Samples:
    """`text` as the CPU voice says it, at 24 kHz."""
    samples: Samples = np.frombuffer(resample(await speak(text), 16_000, 24_000), "<i2")
    return samples


async def speech(text: str) -> Speech:
    """The same, to be said."""
    return Speech(await voice_of(text))


class Ear:
    """Hears every event of a call; `until` waits for the next of a type."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def hear(self, event: Event) -> None:
        """Take the next event."""
        self.events.append(event)
        self._changed.set()

    async def until(self, kind: str, number: int = 1) -> Event:
        """The event of that type with that number, counted from the call's start."""
        await self.until_holds(lambda: len(self.all(kind)) >= number)
        return self.all(kind)[number - 1]

    async def until_holds(self, condition: Callable[[], bool]) -> None:
        """Wait until events make it hold."""
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def all(self, kind: str) -> list[Event]:
        """The events of that type so far."""
        return [event for event in self.events if event["type"] == kind]


class Phone(Ear):
    """An open call and what is heard on it."""

    caller: Caller

    def __init__(self) -> None:
        super().__init__()
        self._plays_until = 0.0

    def hear(self, event: Event) -> None:
        if event["type"] == "response.output_audio.delta":
            seconds = len(samples_in(event)) / WIRE_RATE
            self._plays_until = max(self._plays_until, time.monotonic()) + seconds
        super().hear(event)

    async def say(self, *parts: Samples) -> None:
        """Say these (24 kHz) one after the other, and wait until they have been said."""
        for part in (*parts, np.zeros(0, np.int16)):
            await self.caller.begin(Speech(part))

    async def listen(self, answer: int, seconds: float) -> None:
        """Wait until so much of that answer, counted from the call's start, has been heard."""
        created = await self.until("response.created", answer)
        await self.until_holds(lambda: created["response"]["id"] in self.spoken_by)
        await asyncio.sleep(seconds)

    async def listen_to_the_end(self, answer: int) -> None:
        """Wait until that answer has been played."""
        await self.until("response.done", answer)
        await asyncio.sleep(self._plays_until - time.monotonic())

    @property
    def spoken_by(self) -> list[str]:
        """The ids of the responses that were heard, in order."""
        return list(dict.fromkeys(event["response_id"] for event in self.all("response.output_audio.delta")))

    @property
    def heard(self) -> str:
        """What the node understood of the caller."""
        kind = "conversation.item.input_audio_transcription.completed"
        return " ".join(event["transcript"] for event in self.all(kind))

    @property
    def answers(self) -> list[tuple[str, str]]:
        """Status and words of each answer that has ended."""
        return [(event["response"]["status"], said_in(event["response"])) for event in self.all("response.done")]

    def logged(self, node: NodeProcess, name: str) -> list[Event]:
        """What the node's log says of this call under that name."""
        mine = self.events[0]["session"]["id"]
        return [line for line in node.events(name) if line["session_id"] == mine]


def said_in(response: Event) -> str:
    """The words of an answer."""
    parts = [part for item in response["output"] for part in item.get("content", ())]
    return " ".join(part.get("transcript", "") for part in parts)


def samples_in(delta: Event) -> Samples:
    """The audio (24 kHz) of a response.output_audio.delta."""
    samples: Samples = np.frombuffer(delta["delta"], "<i2")
    return samples


@asynccontextmanager
async def phone(node: NodeProcess, line: Phone | None = None, **turn_detection: Any) -> AsyncIterator[Phone]:
    """Call the node from `line`, with these settings of `semantic_vad`."""
    line = line or Phone()
    detection = {"type": "semantic_vad", **turn_detection}
    async with call(node.websocket, turn_detection=detection, on_event=line.hear) as line.caller:
        yield line
