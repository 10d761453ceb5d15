"""A telephone call that reaches a node as Twilio brings it: over a bidirectional Media Stream.

What `voicefleet call --twilio` is made of. Like Twilio it sends 20 ms of mu-law every 20 ms, plays what it is sent in
real time, and sends marks back. It reads no words: a stream carries audio alone.
"""

import asyncio
import json
import secrets
import ssl
import time
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection

from server.audio import Samples, g711
from server.client.caller import FRAME_SECONDS, Turn
from server.client.dialing import dial
from server.client.errors import CallFailed
from server.client.playout import Playout, last_audible
from server.client.twilio_playout import TwilioPlayout
from server.errors import first_of

_FRAME_BYTES = round(g711.RATE * FRAME_SECONDS)
_SILENCE = b"\xff"
_PING_SECONDS = 20.0
_PATIENCE_SECONDS = 60.0
_QUIET_SECONDS = 1.5  # no pause within an answer lasts so long


class TwilioCaller:
    """An open call. `sent` is what the node sent, audio aside; `playout` is what Twilio has of it.

    `greeting` is the turn in which the caller has said nothing yet.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._account, self._call, self._stream = (f"{kind}{secrets.token_hex(16)}" for kind in ("AC", "CA", "MZ"))
        self._sequence = 0
        self._speech: deque[tuple[bytes, asyncio.Future[float]]] = deque()
        self._turn = self.greeting = Turn(Playout(g711.RATE), speech_ended_at=0.0)
        self.playout = TwilioPlayout()
        self._passing = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def say(self, samples: Samples) -> Turn:
        """Say `samples` (8 kHz) and listen until the answer is over; its words stay unknown. Raises `CallFailed`."""
        turn = await self.begin(samples)
        await self.listen(turn, len(samples) / g711.RATE + _PATIENCE_SECONDS)
        return turn

    async def listen(self, turn: Turn, timeout: float = _PATIENCE_SECONDS) -> None:
        """Listen until what is said in that turn is over. Raises `CallFailed`."""
        try:
            async with asyncio.timeout(timeout):
                await self.until(partial(self._is_over, turn))
        except TimeoutError:
            raise CallFailed(f"nothing is said within {timeout:g} s") from None

    async def begin(self, samples: Samples) -> Turn:
        """Begin to say `samples` (8 kHz) after all before them; what is heard after that is the turn's."""
        begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._speech.append((g711.encode_ulaw(samples), begun))
        turn = Turn(Playout(g711.RATE), speech_ended_at=await begun + last_audible(samples) / g711.RATE)
        self._turn = turn
        return turn

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened on the line."""
        while not happened():
            await self._passing.wait()

    async def press(self, keys: str) -> None:
        """Press keys of the telephone."""
        for key in keys:
            await self._send("dtmf", dtmf={"track": "inbound_track", "digit": key})

    async def run(self, parameters: Mapping[str, str]) -> None:
        """Keep the line open, with such `<Parameter>`s. Raises `CallFailed` when the node hangs up."""
        try:
            await self._connection.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
            await self._send("start", start=self._details(parameters))
            with first_of(ConnectionClosed):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen())
                    tasks.create_task(self._keep_pace())
        except ConnectionClosed as closed:
            raise CallFailed(f"the node hung up: {closed}") from None

    async def hang_up(self) -> None:
        """End the call."""
        try:
            await self._send("stop", stop={"accountSid": self._account, "callSid": self._call})
        except ConnectionClosed:
            return
        await self._connection.close()

    def _details(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        return {
            "streamSid": self._stream,
            "accountSid": self._account,
            "callSid": self._call,
            "tracks": ["inbound"],
            "customParameters": dict(parameters),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": g711.RATE, "channels": 1},
        }

    async def _send(self, event: str, **fields: Any) -> None:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), **fields, "streamSid": self._stream}
        await self._connection.send(json.dumps(message))

    async def _keep_pace(self) -> None:
        """A frame in and a frame out every 20 ms, on absolute deadlines: speech while there is some, else silence."""
        began = deadline = time.monotonic()
        speech, chunk = b"", 0
        while True:
            if not speech and self._speech:
                speech, begun = self._speech.popleft()
                begun.set_result(deadline)
            frame, speech = speech[:_FRAME_BYTES], speech[_FRAME_BYTES:]
            deadline += FRAME_SECONDS
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            chunk += 1
            media = {
                "track": "inbound",
                "chunk": str(chunk),
                "timestamp": str(round(1000 * (deadline - began))),
                "payload": b64encode(frame.ljust(_FRAME_BYTES, _SILENCE)).decode(),
            }
            await self._send("media", media=media)
            await self._play(time.monotonic())
            self._passing.set()
            self._passing.clear()

    async def _play(self, now: float) -> None:
        for played in self.playout.play(now):
            if isinstance(played, str):
                await self._send("mark", mark={"name": played})
            else:
                self._turn.playout.add(g711.decode_ulaw(played), now)

    async def _listen(self) -> None:
        while True:
            message = json.loads(await self._connection.recv())
            if message["event"] != "media":
                self.sent.append(message)
            for name in self.playout.take(message, time.monotonic()):
                await self._send("mark", mark={"name": name})

    def _is_over(self, turn: Turn) -> bool:
        first, ends_at = turn.playout.first_audible_at, turn.playout.ends_at
        heard = first is not None and self.playout.idle and ends_at > turn.speech_ended_at
        return heard and time.monotonic() - ends_at >= _QUIET_SECONDS


@asynccontextmanager
async def twilio_call(
    url: str,
    parameters: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[TwilioCaller]:
    """Place a call to `url` (ws:// or wss://, with path), with the `<Parameter>`s of its TwiML. Raises `CallFailed`.

    `headers` are further ones of the handshake, such as Twilio's signature.
    """
    caller = TwilioCaller(await dial(url, dict(headers or {}), tls, _PING_SECONDS))
    try:
        with first_of(CallFailed):
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(caller.run(parameters or {}))
                yield caller
                running.cancel()
    finally:
        await caller.hang_up()
