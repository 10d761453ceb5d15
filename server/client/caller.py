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
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from websockets import InvalidHandshake, InvalidHeaderValue, InvalidStatus, InvalidURI
from websockets.asyncio.client import ClientConnection, connect

from server.audio import Samples
from server.audio.resampling import Resampler
from server.audio.wav import read_wav
from server.client.errors import CallFailed, CallRefused
from server.client.line import Line, when_there_is_room
from server.client.playout import Playout, first_audible, last_audible
from server.errors import first_of

WIRE_RATE = 24_000
FRAME_SECONDS = 0.02
# A machine that vanishes says nothing, and answers no ping. Who can go on elsewhere has to find out soon.
_PING_SECONDS, _RESUMING_PING_SECONDS = 20.0, 5.0
_FRAME_SAMPLES = round(WIRE_RATE * FRAME_SECONDS)


class Speech:
    """Something to say, cut into the messages that say it; made once, said by any number of callers."""

    def __init__(self, samples: Samples) -> None:
        """`samples` are at 24 kHz."""
        frames = math.ceil(len(samples) / _FRAME_SAMPLES)
        padded = np.concatenate((samples, np.zeros(frames * _FRAME_SAMPLES - len(samples), np.int16)))
        self.messages = [_append(frame) for frame in padded.reshape(frames, _FRAME_SAMPLES)]
        self.first_audible = first_audible(samples) / WIRE_RATE
        self.last_audible = last_audible(samples) / WIRE_RATE
        self.seconds = frames * FRAME_SECONDS


def _append(frame: Samples) -> str:
    return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(frame.tobytes()).decode()}"}}'


_SILENCE = _append(np.zeros(_FRAME_SAMPLES, np.int16))


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
        """Seconds from the last audible sample sent to the first audible one received; None without an answer."""
        first = self.playout.first_audible_at
        return None if first is None else first - self.speech_ended_at


class Caller:
    """An open call.

    `lateness` lists by how many seconds each frame left late: the caller's own scheduling lag. `silence` is how many
    seconds of it end a turn on this call, as the node says; None where turns are ended otherwise.
    """

    def __init__(self, line: Line, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._line = line
        self._on_event = on_event or (lambda _: None)
        self._speech: asyncio.Queue[tuple[Speech, asyncio.Future[float]]] = asyncio.Queue()
        self._turn = Turn()
        self._turn_done = asyncio.Event()
        self._ready = asyncio.Event()
        self.lateness = array("d")
        self.silence: float | None = None

    async def say(self, speech: Speech, timeout: float = 60.0) -> Turn:
        """Say `speech`, wait for the whole answer and until it has been played. Raises `CallFailed`."""
        await self._ready.wait()
        turn, done = self._turn, self._turn_done = Turn(), asyncio.Event()
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
        messages: Iterator[str] = iter(())
        while True:
            message = next(messages, None)
            if message is None and not self._speech.empty():
                speech, begun = self._speech.get_nowait()
                if not begun.cancelled():
                    begun.set_result(deadline)
                    messages = iter(speech.messages)
                continue
            deadline += FRAME_SECONDS
            # A frame can leave only once its last sample has been spoken.
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            self.lateness.append(time.monotonic() - deadline)
            await self._line.send(message or _SILENCE, FRAME_SECONDS)

    async def _listen(self) -> None:
        async for event in self._line.events():
            self._hear(event, time.monotonic())
            self._on_event(event)

    def _hear(self, event: dict[str, Any], now: float) -> None:
        turn = self._turn
        match event["type"]:
            case "session.updated":
                detection = event["session"]["audio"]["input"]["turn_detection"] or {}
                if "silence_duration_ms" in detection:
                    self.silence = detection["silence_duration_ms"] / 1000
                self._ready.set()
            case "conversation.item.input_audio_transcription.completed":
                turn.heard = f"{turn.heard} {event['transcript']}".strip()
            case "response.output_audio.delta":
                turn.playout.add(np.frombuffer(b64decode(event["delta"]), "<i2"), now)
            case "response.output_audio_transcript.delta":
                turn.answered += event["delta"]
            case "x_turn.timings":
                turn.stages_ms = event["stages_ms"]
            # An answer to the first half of what is being said will be followed by one to the whole.
            case "response.done" if event["response"]["status"] != "cancelled" and now > turn.speech_ended_at:
                turn.status = event["response"]["status"]
                turn.error = ((event["response"]["status_details"] or {}).get("error") or {}).get("message", "")
                self._turn_done.set()
            case "response.created":  # an answer that was cut off is asked for again
                turn.answered, turn.playout = "", Playout(WIRE_RATE)
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
    on_event: Callable[[dict[str, Any]], None] | None = None,
    resumes: bool = False,
) -> AsyncIterator[Caller]:
    """Place a call to `url` (ws:// or wss://, with path). Raises `CallFailed`.

    One that `resumes` calls again when the node is full, and goes on elsewhere when it loses its node.
    `session` holds further settings, `turn_detection` how turns are found, by default as the node does it unasked.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    settings = {
        "type": "realtime",
        "x_turn_timings": True,
        "x_resume": resumes,
        "audio": {
            "input": {"format": {"type": "audio/pcm", "rate": WIRE_RATE}, "transcription": {"model": "default"}}
            | ({"turn_detection": turn_detection} if turn_detection else {}),
            "output": {"format": {"type": "audio/pcm", "rate": WIRE_RATE}},
        },
    } | (session or {})
    again = partial(dial, url, headers, tls, _RESUMING_PING_SECONDS if resumes else _PING_SECONDS)
    line = Line(await (when_there_is_room(again) if resumes else again()), again, 2 * WIRE_RATE)
    caller = Caller(line, on_event)
    try:
        with first_of(CallFailed):
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(caller.run(settings))
                yield caller
                running.cancel()
    finally:
        await line.hang_up()


async def dial(url: str, headers: dict[str, str], tls: ssl.SSLContext | None, ping_seconds: float) -> ClientConnection:
    """A connection to `url`, pinged every `ping_seconds`. Raises `CallFailed`."""
    try:
        return await connect(
            url,
            additional_headers=headers,
            compression=None,
            ssl=tls,
            max_size=None,
            ping_interval=ping_seconds,
            ping_timeout=ping_seconds,
        )
    except InvalidStatus as error:
        body = (error.response.body or b"").decode(errors="replace").strip()
        status, retry_after = error.response.status_code, error.response.headers.get("Retry-After", "1")
        raise CallRefused(f"{url} refused the call with HTTP {status}: {body}", status, float(retry_after)) from None
    except InvalidHeaderValue:  # which quotes it
        raise CallFailed("the key holds characters that no header can hold") from None
    except (OSError, ValueError, InvalidHandshake, InvalidURI) as error:  # ValueError: an address that is none
        raise CallFailed(f"{url} can't be reached: {str(error) or type(error).__name__}") from None


def samples_from(path: Path, to_rate: int = WIRE_RATE) -> Samples:
    """A WAV file's samples at `to_rate` Hz. Raises `WavError`."""
    samples, rate = read_wav(path)
    resampler = Resampler(rate, to_rate)
    return np.concatenate((resampler.push(samples), resampler.flush()))


def speech_from(path: Path) -> Speech:
    """What is said in a WAV file. Raises `WavError`."""
    return Speech(samples_from(path))
