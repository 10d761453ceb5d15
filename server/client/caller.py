"""A caller: speaks into a node through its public WebSocket, paced in real time, and listens to the answers.

What `voicefleet demo`, `call` and `bench` are made of. It speaks the OpenAI Realtime dialect as any client would, and
asks for the node's own waterfall of each turn (`x_turn_timings`).
"""

import asyncio
import json
import math
import ssl
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from server.audio import Samples
from server.audio.formats import Encoder
from server.audio.resampling import Resampler
from server.audio.wav import read_wav
from server.client.dialing import open_line
from server.client.errors import CallFailed
from server.client.line import Change, Line
from server.client.playout import Playout, first_audible, last_audible
from server.client.wire import BASE64, Wire
from server.errors import first_of

WIRE_RATE = 24_000
FRAME_SECONDS = 0.02
_FRAME_SAMPLES = round(WIRE_RATE * FRAME_SECONDS)


class Speech:
    """Something to say, cut into the messages that say it: made once for each wire, said by any number of callers."""

    def __init__(self, samples: Samples) -> None:
        """`samples` are at 24 kHz."""
        frames = math.ceil(len(samples) / _FRAME_SAMPLES)
        self._samples = np.concatenate((samples, np.zeros(frames * _FRAME_SAMPLES - len(samples), np.int16)))
        self._messages: dict[Wire, list[str | bytes]] = {}
        self.first_audible = first_audible(samples) / WIRE_RATE
        self.last_audible = last_audible(samples) / WIRE_RATE
        self.seconds = frames * FRAME_SECONDS

    def messages(self, wire: Wire) -> list[str | bytes]:
        """20 ms each."""
        if wire not in self._messages:
            encoder = Encoder(wire.format, WIRE_RATE)
            audio = encoder.encode(self._samples.tobytes()) + encoder.flush()
            size = round(wire.format.bytes_per_second * FRAME_SECONDS)
            self._messages[wire] = [wire.message(audio[start : start + size]) for start in range(0, len(audio), size)]
        return self._messages[wire]


_SILENCE = Speech(np.zeros(_FRAME_SAMPLES, np.int16))


@dataclass(slots=True)
class Turn:
    """One turn of a conversation as the caller lived it. Times are monotonic seconds.

    `stages_ms` is the node's own waterfall, in ms from the end of speech as the node heard it. `answers` counts those
    that the node began: more than one where it took a pause for the end.
    """

    playout: Playout = field(default_factory=lambda: Playout(WIRE_RATE))
    heard: str = ""
    answered: str = ""
    status: str = ""
    error: str = ""
    answers: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    speech_ended_at: float = math.inf

    @property
    def voice_to_voice(self) -> float | None:
        """Seconds from the last audible sample sent to the first audible one received; None where one is not known."""
        first = self.playout.first_audible_at
        return None if first is None or math.isinf(self.speech_ended_at) else first - self.speech_ended_at

    def hear(self, event: dict[str, Any]) -> None:
        """Take what an event tells of what was said."""
        match event["type"]:
            case "conversation.item.input_audio_transcription.completed":
                self.heard = f"{self.heard} {event['transcript']}".strip()
            case "response.output_audio_transcript.delta":
                self.answered += event["delta"]
            case "x_turn.timings":
                self.stages_ms = event["stages_ms"]

    def end(self, response: dict[str, Any]) -> None:
        """The answer has ended, as the response object tells."""
        self.status = response["status"]
        self.error = ((response["status_details"] or {}).get("error") or {}).get("message", "")


class Caller:
    """An open call.

    `lateness` lists by how many seconds each frame left late: the caller's own scheduling lag. `silence` is how many
    seconds of it end a turn on this call, as the node says; None where turns are ended otherwise.
    """

    def __init__(self, line: Line, wire: Wire, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._line = line
        self._wire = wire
        self._on_event = on_event
        self._speech: asyncio.Queue[tuple[Speech, asyncio.Future[float]]] = asyncio.Queue()
        self._turn = Turn(Playout(wire.format.rate))
        self._turn_done = asyncio.Event()
        self._ready = asyncio.Event()
        self.lateness = array("d")
        self.silence: float | None = None

    async def say(self, speech: Speech, timeout: float = 60.0) -> Turn:
        """Say `speech`, wait for the whole answer and until it has been played. Raises `CallFailed`."""
        await self._ready.wait()
        turn, done = self._turn, self._turn_done = Turn(Playout(self._wire.format.rate)), asyncio.Event()
        turn.speech_ended_at = await self.begin(speech) + speech.last_audible
        try:
            async with asyncio.timeout(speech.seconds + timeout):
                await done.wait()
        except TimeoutError:
            raise CallFailed(f"no answer within {timeout:g} s") from None
        await asyncio.sleep(max(0.0, turn.playout.ends_at - time.monotonic()))
        return turn

    async def begin(self, speech: Speech) -> float:
        """Begin to say `speech` once all before it has been said; gives when, in monotonic seconds."""
        begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._speech.put_nowait((speech, begun))
        return await begun

    async def send(self, event: dict[str, Any]) -> None:
        """Send an event of the client's, such as `response.create`, once the session is set up."""
        await self._ready.wait()
        await self._line.send(json.dumps(event))

    async def run(self, session: dict[str, Any]) -> None:
        """Keep the line open: frames out, events in. Raises `CallFailed` when the node hangs up."""
        with first_of(CallFailed):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                await self._line.send(json.dumps({"type": "session.update", "session": session}))
                await self._ready.wait()
                tasks.create_task(self._speak())

    async def _speak(self) -> None:
        """A frame every 20 ms, on absolute deadlines: speech while there is some, silence otherwise."""
        deadline = time.monotonic()
        messages: Iterator[str | bytes] = iter(())
        [silence] = _SILENCE.messages(self._wire)
        while True:
            message = next(messages, None)
            if message is None and not self._speech.empty():
                speech, begun = self._speech.get_nowait()
                if not begun.cancelled():
                    begun.set_result(deadline)
                    messages = iter(speech.messages(self._wire))
                continue
            deadline += FRAME_SECONDS
            # A frame can leave only once its last sample has been spoken.
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            self.lateness.append(time.monotonic() - deadline)
            await self._line.send(message or silence, FRAME_SECONDS)

    async def _listen(self) -> None:
        async for event in self._line.events():
            self._hear(event, time.monotonic())
            self._on_event(event)

    def _hear(self, event: dict[str, Any], now: float) -> None:
        turn = self._turn
        turn.hear(event)
        match event["type"]:
            case "session.updated":
                detection = event["session"]["audio"]["input"]["turn_detection"] or {}
                if "silence_duration_ms" in detection:
                    self.silence = detection["silence_duration_ms"] / 1000
                self._ready.set()
            case "response.output_audio.delta":
                turn.playout.add(self._wire.samples(event["delta"]), now)
            # An answer to the first half of what is being said will be followed by one to the whole.
            case "response.done" if event["response"]["status"] != "cancelled" and now > turn.speech_ended_at:
                turn.end(event["response"])
                self._turn_done.set()
            case "response.created":  # an answer that was cut off is asked for again
                turn.answered, turn.playout = "", Playout(self._wire.format.rate)
                turn.answers += 1
            case "error":
                raise CallFailed(f"the node answered with an error: {event['error']['message']}")


@asynccontextmanager
async def call(
    url: str,
    key: str | None = None,
    *,
    session: dict[str, Any] | None = None,
    turn_detection: dict[str, Any] | None = None,
    tls: ssl.SSLContext | None = None,
    on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    on_change: Callable[[Change], None] = lambda _: None,
    resumes: bool = False,
    wire: Wire = BASE64,
) -> AsyncIterator[Caller]:
    """Place a call to `url` (ws:// or wss://, with path). Raises `CallFailed`.

    One that `resumes` calls again when the node is full, and goes on elsewhere when it loses its node; `on_change` is
    told. `on_event` gets each event; audio is bytes in it, however it came. `session` holds further settings,
    `turn_detection` how turns are found, by default as the node does it unasked.
    """
    async with open_line(url, key, tls, wire, resumes=resumes, on_change=on_change) as line:
        caller = Caller(line, wire, on_event)
        settings = session_settings(wire, resumes, turn_detection) | (session or {})
        with first_of(CallFailed):
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(caller.run(settings))
                yield caller
                running.cancel()


def session_settings(wire: Wire, resumes: bool, turn_detection: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a call asks of its session; `turn_detection` is the node's own by default."""
    detection = {"turn_detection": turn_detection} if turn_detection else {}
    audio = wire.audio
    return {
        "type": "realtime",
        "x_turn_timings": True,
        "x_resume": resumes,
        "audio": audio | {"input": {**audio["input"], "transcription": {"model": "default"}, **detection}},
    }


def samples_from(path: Path, to_rate: int = WIRE_RATE) -> Samples:
    """A WAV file's samples at `to_rate` Hz. Raises `WavError`."""
    samples, rate = read_wav(path)
    resampler = Resampler(rate, to_rate)
    return np.concatenate((resampler.push(samples), resampler.flush()))


def speech_from(path: Path) -> Speech:
    """What is said in a WAV file. Raises `WavError`."""
    return Speech(samples_from(path))
