"""A caller who phones through PyPI `openai`: a microphone that never stops, a loudspeaker, and a strict ear.

Each event is checked as it comes (see `StrictClient`) and parsed by the package itself. Audio is coded here with the
standard library, so that the node's own coders are held against something else.
"""

import asyncio
import time
import warnings
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent

from tests.support.node import NodeProcess
from tests.support.speech import resample
from tests.support.strict_client import StrictClient

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # gone in Python 3.13; see tests/unit/test_audio_g711.py
    import audioop

Event = dict[str, Any]

_FRAME_SECONDS = 0.02
_PATIENCE = 20.0  # seconds; an answer is there within two, where the machine has nothing else to do


@dataclass(frozen=True)
class Wire:
    """An audio format and its sample rate in Hz."""

    type: str = "audio/pcm"
    rate: int = 24_000

    def __str__(self) -> str:
        return f"{self.type.removeprefix('audio/')}-{self.rate}"

    @property
    def sample_bytes(self) -> int:
        return 2 if self.type == "audio/pcm" else 1

    @property
    def session(self) -> dict[str, Any]:
        """The format as session.update takes it."""
        return {"type": self.type} | ({"rate": self.rate} if self.type == "audio/pcm" else {})

    def encode(self, pcm: bytes) -> bytes:
        """PCM at 16 kHz, on the wire."""
        pcm = resample(pcm, 16_000, self.rate)
        match self.type:
            case "audio/pcmu":
                return audioop.lin2ulaw(pcm, 2)
            case "audio/pcma":
                return audioop.lin2alaw(pcm, 2)
        return pcm

    def decode(self, audio: bytes) -> bytes:
        """What came over the wire, as PCM at 16 kHz."""
        match self.type:
            case "audio/pcmu":
                audio = audioop.ulaw2lin(audio, 2)
            case "audio/pcma":
                audio = audioop.alaw2lin(audio, 2)
        return resample(audio, self.rate, 16_000)


class OpenAiCaller:
    """An open call. `strict` has taken every event so far; `parsed` is what the package made of them."""

    def __init__(self, connection: AsyncRealtimeConnection, wire: Wire) -> None:
        self.connection = connection
        self.strict = StrictClient()
        self.parsed: list[RealtimeServerEvent] = []
        self._wire = wire
        self._silence = wire.encode(bytes(round(32_000 * _FRAME_SECONDS)))
        self._microphone: list[bytes] = []
        self._spoken = asyncio.Event()
        self._changed = asyncio.Condition()
        self._read = 0
        self._plays_until = 0.0

    # --- the caller does

    async def say(self, pcm: bytes) -> None:
        """Speak (PCM at 16 kHz) in real time; returns when the last of it has left."""
        audio, step = self._wire.encode(pcm), len(self._silence)
        self._microphone += [audio[start : start + step].ljust(step, b"\0") for start in range(0, len(audio), step)]
        self._spoken.clear()
        await self._spoken.wait()

    async def append(self, pcm: bytes) -> None:
        """Hand over audio (PCM at 16 kHz) all at once."""
        await self.connection.input_audio_buffer.append(audio=b64encode(self._wire.encode(pcm)).decode())

    async def type(self, text: str) -> None:
        """Put a typed message into the conversation."""
        content: Any = [{"type": "input_text", "text": text}]
        await self.connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})

    # --- the caller sees and hears

    async def next(self, kind: str, **fields: Any) -> Event:
        """The first event of that type, with these fields, after the one that this gave last."""

        def found() -> Event | None:
            events = self.strict.received
            for index in range(self._read, len(events)):
                event = events[index]
                if event["type"] == kind and all(event.get(name) == value for name, value in fields.items()):
                    self._read = index + 1
                    return event
            return None

        try:
            async with asyncio.timeout(_PATIENCE), self._changed:
                while (event := found()) is None:
                    await self._changed.wait()
                return event
        except TimeoutError:
            seen = [event["type"] for event in self.strict.received[self._read :]]
            raise AssertionError(f"no {kind} {fields or ''} came, but {seen}") from None

    async def answer(self) -> Event:
        """The next response that ends, as it then is."""
        response: Event = (await self.next("response.done"))["response"]
        return response

    async def heard(self) -> str:
        """What the node understood of the caller's next words."""
        return str((await self.next("conversation.item.input_audio_transcription.completed"))["transcript"])

    def audio(self, response: Event) -> bytes:
        """The sound of a response, as PCM at 16 kHz."""
        return self._wire.decode(b"".join(self.strict.audio(item["id"]) for item in response["output"]))

    def played_ms(self, item_id: str) -> int:
        """How much of the spoken item that came last the loudspeaker has played by now."""
        return round(1000 * (self._seconds(self.strict.audio(item_id)) - self._unplayed()))

    async def play_out(self) -> None:
        """Wait until the loudspeaker has played all that came."""
        await asyncio.sleep(self._unplayed())

    async def words_in(self, pcm: bytes) -> str:
        """What the node understands when this (PCM at 16 kHz) is handed over as a message of the caller's."""
        content: Any = [{"type": "input_audio", "audio": b64encode(self._wire.encode(pcm)).decode()}]
        await self.connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        return await self.heard()

    # --- the line

    async def speak_on(self) -> None:
        """The microphone: a frame every 20 ms, of speech or of silence."""
        deadline = time.monotonic()
        while True:
            frame = self._microphone.pop(0) if self._microphone else self._silence
            deadline += _FRAME_SECONDS
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            await self.connection.input_audio_buffer.append(audio=b64encode(frame).decode())
            if not self._microphone:
                self._spoken.set()

    async def listen_on(self) -> None:
        """Take every event there is."""
        while True:
            message = await self.connection.recv_bytes()
            self.strict.take(message)
            self.parsed.append(self.connection.parse_event(message))
            newest = self.strict.received[-1]
            if newest["type"] == "response.output_audio.delta":
                seconds = self._seconds(b64decode(newest["delta"]))
                self._plays_until = max(self._plays_until, time.monotonic()) + seconds
            async with self._changed:
                self._changed.notify_all()

    def _seconds(self, audio: bytes) -> float:
        return len(audio) / self._wire.sample_bytes / self._wire.rate

    def _unplayed(self) -> float:
        return max(0.0, self._plays_until - time.monotonic())


@asynccontextmanager
async def phoning(node: NodeProcess, wire: Wire | None = None, **session: Any) -> AsyncIterator[OpenAiCaller]:
    """Call the node; `session` holds further settings. The microphone is open unless turn detection is off."""
    wire = wire or Wire()
    detects = session.pop("turn_detection", {"type": "server_vad"})
    audio = {
        "input": {"format": wire.session, "transcription": {"model": "whisper-1"}, "turn_detection": detects},
        "output": {"format": wire.session},
    }
    query: dict[str, object] = {}
    if session.get("type") == "transcription":
        query["intent"] = "transcription"
        del audio["output"]
    client = AsyncOpenAI(api_key="unused", websocket_base_url=node.base_url)
    connecting = client.realtime.connect(model="voicefleet", extra_query=query)
    async with client, connecting as connection, asyncio.TaskGroup() as tasks:
        caller = OpenAiCaller(connection, wire)
        line = [tasks.create_task(caller.listen_on())]
        update: Any = {"type": "realtime", "audio": audio, **session}
        await connection.session.update(session=update)
        await caller.next("session.updated")
        if detects:
            line.append(tasks.create_task(caller.speak_on()))
        yield caller
        for task in line:
            task.cancel()
