"""A caller: speaks into a node through its public WebSocket, paced in real time, and listens to the answers.

What `voicefleet demo`, `call` and `bench` are made of. It speaks the OpenAI Realtime dialect as any client would, and
asks for the node's own waterfall of each turn (`x_turn_timings`).
"""

import asyncio
import json
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.asyncio.client import ClientConnection, connect

from server.audio import Samples
from server.audio.resampling import Resampler
from server.client.playout import Playout, last_audible
from server.errors import VoicefleetError

WIRE_RATE = 24_000
FRAME_SECONDS = 0.02
_FRAME_SAMPLES = round(WIRE_RATE * FRAME_SECONDS)


class CallFailed(VoicefleetError):
    """The node could not be reached, refused the call, or broke it off."""


@dataclass(slots=True)
class Turn:
    """One turn of a conversation as the caller lived it. Times are monotonic seconds.

    `stages_ms` is the node's own waterfall, in ms from the end of speech as the node heard it.
    """

    playout: Playout = field(default_factory=lambda: Playout(WIRE_RATE))
    heard: str = ""
    answered: str = ""
    status: str = ""
    error: str = ""
    stages_ms: dict[str, float] = field(default_factory=dict)
    speech_ended_at: float = 0.0

    @property
    def voice_to_voice(self) -> float | None:
        """Seconds from the last audible sample sent to the first audible one received; None without an answer."""
        first = self.playout.first_audible_at
        return None if first is None else first - self.speech_ended_at


class Caller:
    """An open call. `lateness` lists by how many seconds each frame left late: the caller's own scheduling lag."""

    def __init__(self, connection: ClientConnection, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._connection = connection
        self._on_event = on_event or (lambda _: None)
        self._speech: asyncio.Queue[Samples] = asyncio.Queue()
        self._turn = Turn()
        self._turn_done = asyncio.Event()
        self._ready = asyncio.Event()
        self.lateness: list[float] = []

    async def say(self, speech: Samples, timeout: float = 60.0) -> Turn:
        """Say `speech` (24 kHz), wait for the whole answer and until it has been played. Raises `CallFailed`."""
        await self._ready.wait()
        self._turn, self._turn_done = Turn(), asyncio.Event()
        self._speech.put_nowait(speech)
        try:
            async with asyncio.timeout(len(speech) / WIRE_RATE + timeout):
                await self._turn_done.wait()
        except TimeoutError:
            raise CallFailed(f"no answer within {timeout:g} s") from None
        turn = self._turn
        await asyncio.sleep(max(0.0, turn.playout.ends_at - time.monotonic()))
        return turn

    async def run(self, session: dict[str, Any]) -> None:
        """Keep the line open: frames out, events in. Raises `CallFailed` when the node hangs up."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                await self._connection.send(json.dumps({"type": "session.update", "session": session}))
                await self._ready.wait()
                tasks.create_task(self._speak())
        except* ConnectionClosed as group:
            closed = group.exceptions[0]
            raise CallFailed(f"the node hung up: {closed}") from None

    async def _speak(self) -> None:
        """A frame every 20 ms, on absolute deadlines: speech while there is some, silence otherwise."""
        deadline = time.monotonic()
        silence = np.zeros(_FRAME_SAMPLES, np.int16)
        speech, ends = silence[:0], 0
        while True:
            if not len(speech) and not self._speech.empty():
                speech = self._speech.get_nowait()
                ends = last_audible(speech)
                self._turn.speech_ended_at = deadline + ends / WIRE_RATE
            frame, speech = speech[:_FRAME_SAMPLES], speech[_FRAME_SAMPLES:]
            frame = np.concatenate((frame, silence[len(frame) :]))
            deadline += FRAME_SECONDS
            # A frame can leave only once its last sample has been spoken.
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            self.lateness.append(time.monotonic() - deadline)
            audio = b64encode(frame.tobytes()).decode()
            await self._connection.send(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')

    async def _listen(self) -> None:
        async for message in self._connection:
            event = json.loads(message)
            self._hear(event, time.monotonic())
            self._on_event(event)
        raise CallFailed("the node hung up")

    def _hear(self, event: dict[str, Any], now: float) -> None:
        turn = self._turn
        match event["type"]:
            case "session.updated":
                self._ready.set()
            case "conversation.item.input_audio_transcription.completed":
                turn.heard = f"{turn.heard} {event['transcript']}".strip()
            case "response.output_audio.delta":
                turn.playout.add(np.frombuffer(b64decode(event["delta"]), "<i2"), now)
            case "response.output_audio_transcript.delta":
                turn.answered += event["delta"]
            case "x_turn.timings":
                turn.stages_ms = event["stages_ms"]
            case "response.done" if event["response"]["status"] != "cancelled":
                turn.status = event["response"]["status"]
                turn.error = ((event["response"]["status_details"] or {}).get("error") or {}).get("message", "")
                self._turn_done.set()
            case "response.created":  # an answer that was cut off is asked for again
                turn.answered, turn.playout = "", Playout(WIRE_RATE)
            case "error":
                raise CallFailed(f"the node answered with an error: {event['error']['message']}")


@asynccontextmanager
async def call(
    url: str,
    key: str | None = None,
    *,
    session: dict[str, Any] | None = None,
    tls: ssl.SSLContext | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> AsyncIterator[Caller]:
    """Place a call to `url` (ws:// or wss://, with path). `session` holds further settings. Raises `CallFailed`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    settings = {
        "type": "realtime",
        "x_turn_timings": True,
        "audio": {
            "input": {"format": {"type": "audio/pcm", "rate": WIRE_RATE}, "transcription": {"model": "default"}},
            "output": {"format": {"type": "audio/pcm", "rate": WIRE_RATE}},
        },
    } | (session or {})
    async with await _connect(url, headers, tls) as connection:
        caller = Caller(connection, on_event)
        try:
            async with asyncio.TaskGroup() as tasks:
                line = tasks.create_task(caller.run(settings))
                yield caller
                line.cancel()
        except* CallFailed as group:
            raise group.exceptions[0] from None


async def _connect(url: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> ClientConnection:
    try:
        return await connect(url, additional_headers=headers, compression=None, ssl=tls, max_size=None)
    except InvalidStatus as error:
        body = (error.response.body or b"").decode(errors="replace").strip()
        raise CallFailed(f"{url} refused the call with HTTP {error.response.status_code}: {body}") from None
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        raise CallFailed(f"{url} can't be reached: {error}") from None


def at_wire_rate(samples: Samples, rate: int) -> Samples:
    """The samples at the rate at which a caller speaks."""
    resampler = Resampler(rate, WIRE_RATE)
    return np.concatenate((resampler.push(samples), resampler.flush()))
